"""Every operation of every component, as its own OpenAPI document lists them, against input nobody should send."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
import schemathesis
import sqlalchemy as sa
from aiohttp import ClientSession
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.config import SchemathesisConfig
from yarl import URL

from media_gateway.auth.app import COMPONENT as AUTH
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.tokens import mint_token
from media_gateway.core.web import Component, start_component
from media_gateway.discovery.app import COMPONENT as DISCOVERY
from media_gateway.ingestion.app import COMPONENT as INGESTION
from tests.support.signing_in import UNLIMITED

SECRET = "a secret of the tests, at least thirty-two bytes long"
SCOPES = frozenset({"account", "admin", "ingestion:write"})
COMPONENTS: dict[str, Component[Any]] = {"auth": AUTH, "discovery": DISCOVERY, "ingestion": INGESTION}

MALFORMED = {
    "nothing": b"",
    "half an object": b'{"query": "x"',
    "two documents": b"{} {}",
    "an array": b"[]",
    "null": b"null",
    "text": b'"x"',
    "no UTF-8": b'{"query": "\xff\xfe"}',
    "UTF-16": '{"query": "x"}'.encode("utf-16"),
    "a lone surrogate": b'{"query": "\\ud800"}',
    "an unknown field": b'{"\\u0001": 1}',
    "deep nesting": b'{"query":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "no number": b'{"page": NaN}',
}
WRONG_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    0.5,
    10**9,
    10**30,
    1e308,
    "",
    " ",
    "a\x00b",
    "\x1b[2J",
    "x" * 20_000,
    "\u202eabc",
    "' OR 1=1; --",
    "0000-00-00",
    [],
    ["\x00"],
    [None],
    [[]],
    list(range(1_000)),
    {},
    {"": 1},
    {"a": {"b": {"c": []}}},
)
WRONG_TEXTS = (
    "",
    "0",
    "-1",
    "1e9",
    "9" * 40,
    "nan",
    "%00",
    "%FF",
    "%0A",
    "x" * 5_000,
    "%F0%9F%8E%AC",
    "..%2F..",
    "'%20OR%201",
)


@dataclass(frozen=True)
class Operation:
    """One operation of a document."""

    method: str
    path: str
    body: dict[str, Any] | None
    query: tuple[str, ...]
    variables: tuple[str, ...]
    takes_body: bool

    def at(self, value: str = "") -> str:
        """The address with every variable replaced."""
        path = self.path
        for name in self.variables:
            # A letter first: then it is a name, too.
            path = path.replace(f"{{{name}}}", value or f"a{str(uuid4())[1:]}")
        return path


@dataclass(frozen=True)
class Service:
    """A running component with a caller who may do everything."""

    url: str
    session: ClientSession
    operations: tuple[Operation, ...]

    async def send(self, method: str, target: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        target_url = URL(self.url + target, encoded=True)
        async with self.session.request(method, target_url, data=body, headers=headers) as response:
            document = await response.json(content_type=None)
            if response.status >= 400:
                assert response.content_type == "application/problem+json", (method, target)
                assert {"type", "title", "status", "detail", "code"} <= document.keys()
            return response.status, document


async def added(database: Database) -> UUID:
    """Somebody whose account can be worked on."""
    user_id = uuid4()
    async with database.transaction() as connection:
        await connection.execute(
            sa.text("INSERT INTO users (id, email, roles) VALUES (:id, :email, '{user,admin}')"),
            {"id": user_id, "email": f"{user_id}@tv.example"},
        )
    return user_id


@pytest.fixture(params=sorted(COMPONENTS))
async def service(request, database, database_url, redis_url, tmp_path) -> AsyncIterator[Service]:
    component = COMPONENTS[request.param]
    values: dict[str, Any] = {
        "auth_secret": SECRET,
        "state_dir": tmp_path,
        "drain_timeout_s": 5.0,
        "ingestion_workers": 0,
        # Bad input is to be refused as such, not because there is so much of it.
        **UNLIMITED,
    }
    configured = component.settings(database_url=database_url, redis_url=redis_url, **values)
    running = await start_component(component, configured, port=0)
    person = await added(database)
    token = mint_token(SECRET, str(person), scopes=SCOPES, roles=frozenset({"admin"}))
    try:
        async with ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            async with session.get(f"{running.url}/openapi.json") as response:
                document = await response.json()
            operations = tuple(_operations(document))
            assert len(operations) >= 4
            yield Service(running.url, session, operations)
    finally:
        await running.drain()


def _operations(document: dict[str, Any]) -> Iterator[Operation]:
    schemas = document.get("components", {}).get("schemas", {})
    for path, methods in document["paths"].items():
        if not path.startswith("/api/"):
            continue
        for method, operation in methods.items():
            parameters = [p for p in operation.get("parameters", ()) if isinstance(p, dict)]
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            body = _resolved(content.get("schema", {}), schemas)
            yield Operation(
                method.upper(),
                path,
                body if body.get("properties") else None,
                tuple(p["name"] for p in parameters if p["in"] == "query"),
                tuple(p["name"] for p in parameters if p["in"] == "path"),
                "requestBody" in operation,
            )


def _resolved(schema: dict[str, Any], schemas: dict[str, Any], depth: int = 2) -> dict[str, Any]:
    """The schema with references followed, two levels down."""
    schema = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
    if not depth or "properties" not in schema:
        return schema
    properties = {name: _resolved(part, schemas, depth - 1) for name, part in schema["properties"].items()}
    return {**schema, "properties": properties}


async def test_malformed_bodies_are_refused(service):
    for operation in service.operations:
        if not operation.takes_body:
            continue
        for kind, body in MALFORMED.items():
            status, problem = await service.send(operation.method, operation.at(), body)
            assert 400 <= status < 500, (operation, kind, problem)
        status, problem = await service.send(operation.method, operation.at(), b" " * 10_000_000)
        assert status in {400, 401, 404, 413}, (operation, problem)


async def test_wrong_values_are_refused_by_the_name_of_their_field(service):
    for operation in service.operations:
        for where, body in _spoiled(operation.body or {}):
            status, problem = await service.send(operation.method, operation.at(), json.dumps(body).encode())
            assert status < 500, (operation, where, problem)
            assert status != 400 or problem["errors"], (operation, where, problem)
        if operation.body:
            body = _example(operation.body) | {"bogus": 1}
            status, problem = await service.send(operation.method, operation.at(), json.dumps(body).encode())
            assert status == 400
            assert "bogus" in [error["field"] for error in problem["errors"]]


def _example(schema: dict[str, Any]) -> dict[str, Any]:
    """What the document gives as examples: accepted, or nearly."""
    found = {
        name: part.get("examples", [part.get("const")])[0] for name, part in schema["properties"].items()
    }
    return {name: value for name, value in found.items() if value is not None}


def _spoiled(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The example with one wrong value, in each field and each field of a field."""
    for name, part in schema.get("properties", {}).items():
        good = _example(schema)
        for value in WRONG_VALUES:
            yield name, good | {name: value}
        for inner in part.get("properties", ()):
            for value in WRONG_VALUES:
                yield f"{name}.{inner}", good | {name: {inner: value}}


async def test_wrong_addresses_are_refused(service):
    for operation in service.operations:
        for text in (*WRONG_TEXTS, "not-an-id", str(uuid4())):
            if operation.variables and text:
                status, problem = await service.send(operation.method, operation.at(text), b"{}")
                assert 400 <= status < 500, (operation, text, problem)
        if operation.method != "GET":
            continue
        for name in operation.query:
            for text in WRONG_TEXTS:
                status, problem = await service.send("GET", f"{operation.at()}?{name}={text}")
                assert status < 500, (operation, name, text, problem)
            status, problem = await service.send("GET", f"{operation.at()}?{name}=1&{name}=2")
            assert 400 <= status < 500, (operation, name, problem)
        if operation.query:
            status, problem = await service.send("GET", f"{operation.at()}?bogus=1")
            assert status == 400
            assert "bogus" in [error["field"] for error in problem["errors"]]


async def test_no_request_the_document_allows_makes_a_server_error(service):
    headers = dict(service.session.headers)

    def fuzz() -> None:
        document = schemathesis.openapi.from_url(f"{service.url}/openapi.json", config=SchemathesisConfig())
        for operation in service.operations:
            for mode in schemathesis.GenerationMode:
                found = document[operation.path][operation.method]

                @settings(
                    max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck)
                )
                @given(case=found.as_strategy(generation_mode=mode))
                def check(case: schemathesis.Case[Any]) -> None:
                    response = case.call(headers=headers)
                    assert response.status_code < 500, (case, response.text)

                try:
                    check()
                except Unsatisfiable:
                    continue

    await asyncio.to_thread(fuzz)
