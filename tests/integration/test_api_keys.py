"""API keys through two listening servers on one Postgres, and the exchange that the gateway asks."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from structlog.testing import capture_logs

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.service_tokens import HEADER, mint_internal
from media_gateway.core.tokens import mint_token
from tests.support.credentials import SCOPES, SECRET, Answer, Door, add_person, audited, open_door, run

KEYS = "/api/v1/api-keys"


@pytest.fixture
async def door(database_url: str, redis_url: str) -> AsyncIterator[Door]:
    async with open_door(database_url, redis_url) as door:
        yield door


@dataclass
class Owner:
    """Somebody with a token."""

    door: Door
    user_id: UUID
    token: str

    async def make(self, **wish: Any) -> Answer:
        return await self.door.send("POST", KEYS, self.token, json={"name": "script", **wish})

    async def key(self, **wish: Any) -> str:
        answer = await self.make(**wish)
        assert answer.status == 201, answer.body
        return str(answer.body["key"])

    async def listed(self) -> list[dict[str, Any]]:
        answer = await self.door.send("GET", KEYS, self.token)
        assert answer.status == 200
        return list(answer.body["items"])

    async def delete(self, key_id: object) -> int:
        return (await self.door.send("DELETE", f"{KEYS}/{key_id}", self.token)).status


async def owner(door: Door, database: Database, name: str, *scopes: str) -> Owner:
    user_id = await add_person(database, name)
    return Owner(door, user_id, mint_token(SECRET, str(user_id), scopes=frozenset(scopes) or SCOPES))


@pytest.fixture
async def ann(door: Door, database: Database) -> Owner:
    return await owner(door, database, "ann")


async def exchange(door: Door, key: Any, proof: str | None = None) -> Answer:
    headers = {HEADER: mint_internal(SECRET, "gateway") if proof is None else proof}
    return await door.send("POST", "/auth/api-keys/exchange", json={"key": key}, headers=headers)


async def test_a_key_is_told_once(ann: Owner, database: Database):
    answer = await ann.make(scopes=["read:content"], expires_in_days=30)
    assert answer.status == 201
    assert "no-store" in answer.headers["Cache-Control"]
    key = answer.body["key"]
    assert re.fullmatch(r"mg_live_[A-Za-z0-9]{32}", key)
    (listed,) = await ann.listed()
    assert listed["prefix"] == key[:12]
    assert (listed["name"], listed["scopes"], listed["last_used_at"]) == ("script", ["read:content"], None)
    assert listed["expires_at"] > listed["created_at"]
    assert key not in json.dumps(listed)
    rows = await run(database, "SELECT CAST(api_keys AS text) FROM api_keys")
    assert key[12:] not in str(rows)
    assert await audited(database) == ["api_key.created"]


async def test_no_two_keys_are_the_same(ann: Owner):
    keys = await asyncio.gather(*(ann.key() for _ in range(10)))
    assert len(set(keys)) == 10


async def test_a_key_gets_a_token_of_its_owner(ann: Owner):
    key = await ann.key(scopes=["read:content", "read:watchlist"])
    answer = await exchange(ann.door, key)
    assert answer.status == 200
    claims = jwt.decode(answer.body["access_token"], options={"verify_signature": False})
    assert claims["sub"] == str(ann.user_id)
    assert claims["scope"] == "read:content read:watchlist"
    assert claims["via"] == "api_key"
    assert answer.body["expires_in"] == 300
    assert claims["exp"] - claims["iat"] <= 300
    (listed,) = await ann.listed()
    assert claims["sid"] == listed["id"]


async def test_without_scopes_a_key_may_what_its_maker_may(door: Door, database: Database):
    ben = await owner(door, database, "ben", "read:content", "nonsense")
    (await ben.key())
    (listed,) = await ben.listed()
    assert listed["scopes"] == ["read:content"]


@pytest.mark.parametrize("scopes", [["admin"], ["read:content", "internal"], ["read:watchlist"]])
async def test_a_key_may_not_do_more_than_its_maker(door: Door, database: Database, scopes: list[str]):
    ben = await owner(door, database, "ben", "read:content")
    answer = await ben.make(scopes=scopes)
    assert answer.status == 403
    assert answer.body["errors"][0]["field"] == "scopes"
    assert await ben.listed() == []


async def test_a_key_loses_what_its_owner_loses(door: Door, database: Database):
    user_id = await add_person(database, "root", roles=("user", "admin"))
    root = Owner(door, user_id, mint_token(SECRET, str(user_id), scopes=SCOPES | {"admin"}))
    key = await root.key(scopes=["admin", "read:content"])
    before = jwt.decode((await exchange(door, key)).body["access_token"], options={"verify_signature": False})
    assert before["scope"] == "admin read:content"
    await run(database, "UPDATE users SET roles = '{user}'")
    after = jwt.decode((await exchange(door, key)).body["access_token"], options={"verify_signature": False})
    assert after["scope"] == "read:content"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET locked_at = now()",
        "UPDATE users SET deleted_at = now(), email = NULL",
        "UPDATE api_keys SET expires_at = now() - interval '1 second'",
        "UPDATE api_keys SET revoked_at = now()",
        "DELETE FROM users",
    ],
)
async def test_a_key_that_is_over_gets_nothing(ann: Owner, database: Database, change: str):
    key = await ann.key()
    assert (await exchange(ann.door, key)).status == 200
    await run(database, change)
    answer = await exchange(ann.door, key)
    assert answer.status == 401
    assert answer.body["error"] == "invalid_token"


async def test_a_token_does_not_outlive_its_key(ann: Owner, database: Database):
    key = await ann.key(expires_in_days=1)
    await run(database, "UPDATE api_keys SET expires_at = now() + interval '100 seconds'")
    assert 90 <= (await exchange(ann.door, key)).body["expires_in"] <= 100


async def test_a_deleted_key_is_over(ann: Owner, database: Database):
    key = await ann.key()
    (listed,) = await ann.listed()
    assert await ann.delete(listed["id"]) == 204
    assert await ann.listed() == []
    assert (await exchange(ann.door, key)).status == 401
    assert await ann.delete(listed["id"]) == 404
    assert await audited(database) == ["api_key.created", "api_key.revoked"]


async def test_a_strangers_key_is_not_found(ann: Owner, database: Database):
    key = await ann.key()
    (listed,) = await ann.listed()
    ben = await owner(ann.door, database, "ben")
    assert await ben.delete(listed["id"]) == 404
    assert await ben.delete(uuid4()) == 404
    assert await ben.listed() == []
    assert (await exchange(ann.door, key)).status == 200


async def test_a_person_has_at_most_25_live_keys_also_at_once(ann: Owner, database: Database):
    answers = await asyncio.gather(*(ann.make() for _ in range(32)))
    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (25, 7)
    assert await ann.delete((await ann.listed())[0]["id"]) == 204
    await run(
        database,
        "UPDATE api_keys SET expires_at = now() WHERE id = (SELECT max(id::text)::uuid FROM api_keys)",
    )
    assert (await ann.make()).status == 201
    assert (await ann.make()).status == 201
    assert (await ann.make()).status == 409
    ben = await owner(ann.door, database, "ben")
    assert (await ben.make()).status == 201


@pytest.mark.parametrize("address", [KEYS, "/api/v1/auth/api-keys"])
async def test_both_addresses_do_the_same(ann: Owner, address: str):
    answer = await ann.door.send("POST", address, ann.token, json={"name": "script"})
    assert answer.status == 201
    listed = await ann.door.send("GET", address, ann.token)
    assert [one["id"] for one in listed.body["items"]] == [answer.body["id"]]
    assert (await ann.door.send("DELETE", f"{address}/{answer.body['id']}", ann.token)).status == 204


async def test_a_key_makes_no_keys(ann: Owner):
    token = (await exchange(ann.door, await ann.key())).body["access_token"]
    (listed,) = await ann.listed()
    for method, path, body in (
        ("POST", KEYS, {"name": "child"}),
        ("GET", KEYS, None),
        ("DELETE", f"{KEYS}/{listed['id']}", None),
    ):
        answer = await ann.door.send(method, path, token, json=body)
        assert (answer.status, answer.body["code"]) == (403, "permission_denied")
    assert len(await ann.listed()) == 1


async def test_use_is_noted_once_a_minute(ann: Owner, database: Database):
    key = await ann.key()
    await exchange(ann.door, key)
    (first,) = await ann.listed()
    assert first["last_used_at"] is not None
    await asyncio.gather(*(exchange(ann.door, key) for _ in range(5)))
    assert (await ann.listed())[0]["last_used_at"] == first["last_used_at"]
    await run(database, "UPDATE api_keys SET last_used_at = now() - interval '61 seconds'")
    await asyncio.gather(*(exchange(ann.door, key) for _ in range(5)))
    assert (await ann.listed())[0]["last_used_at"] > first["last_used_at"]


@pytest.mark.parametrize(
    "proof", ["", "nonsense", mint_internal("x" * 32, "gateway"), mint_token(SECRET, "gateway")]
)
async def test_only_services_may_exchange(ann: Owner, proof: str):
    key = await ann.key()
    answer = await exchange(ann.door, key, proof)
    assert answer.status == 403
    assert answer.body["error"] == "access_denied"
    bare = await ann.door.send("POST", "/auth/api-keys/exchange", json={"key": key})
    assert bare.status == 403


@pytest.mark.parametrize("key", ["mg_live_" + "a" * 32, "x", "mg_live_", "mg_test_" + "a" * 32, "é" * 40])
async def test_what_is_no_key_gets_nothing(door: Door, key: str):
    assert (await exchange(door, key)).status == 401


@pytest.mark.parametrize("key", ["", None, 7, ["x"], "x" * 257, "a\x00b"])
async def test_a_broken_exchange_is_named(door: Door, key: Any):
    assert (await exchange(door, key)).status == 400


@pytest.mark.parametrize(
    "wish",
    [
        {"name": ""},
        {"name": "   "},
        {"name": "x" * 101},
        {"name": None},
        {"name": "a\x00b"},
        {"scopes": []},
        {"scopes": "read:content"},
        {"scopes": ["two words"]},
        {"scopes": [""]},
        {"scopes": ["x" * 101]},
        {"scopes": ["a"] * 51},
        {"scopes": [None]},
        {"expires_in_days": 0},
        {"expires_in_days": -1},
        {"expires_in_days": 3_651},
        {"expires_in_days": 1.5},
        {"expires_in_days": "30"},
        {"expires_in_days": 10**30},
        {"user_id": "x"},
    ],
)
async def test_bad_wishes_are_named(ann: Owner, wish: dict[str, Any]):
    answer = await ann.make(**wish)
    assert answer.status == 400
    assert answer.body["errors"]
    assert await ann.listed() == []


@pytest.mark.parametrize("key_id", ["x", "0", "%00", "00000000-0000-0000-0000-00000000000g"])
async def test_a_broken_id_is_named(ann: Owner, key_id: str):
    assert await ann.delete(key_id) in {400, 404}


async def test_without_a_token_nothing_is_told(door: Door):
    assert (await door.send("GET", KEYS)).status == 401
    assert (await door.send("POST", KEYS, json={"name": "x"})).status == 401
    assert (await door.send("DELETE", f"{KEYS}/{uuid4()}")).status == 401


async def test_no_key_is_in_the_logs(ann: Owner, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with capture_logs() as lines:
        key = await ann.key()
        token = (await exchange(ann.door, key)).body["access_token"]
        await exchange(ann.door, key[:-1] + "%")
        await ann.door.send("GET", KEYS, key)  # sent where only tokens are known
    assert lines
    text = f"{lines} {caplog.text}"
    assert key[12:39] not in text
    assert token not in text
