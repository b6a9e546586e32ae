"""Auth as it is deployed, on the tests' Postgres and Redis, with people whose passwords are known."""

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

import aiohttp
import sqlalchemy as sa
from pydantic import SecretStr

from media_gateway.auth.app import COMPONENT
from media_gateway.auth.clients import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN
from media_gateway.auth.keys import make_keys_if_absent
from media_gateway.auth.passwords import Passwords
from media_gateway.auth.settings import Settings
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.web import RunningComponent, start_component

SECRET = "a secret of the tests, at least thirty-two bytes long"
PASSWORD = "correct horse 7 Battery"
CLIENT_SECRET = "secret/of the firm: 100 %+"
CALLBACK = "https://app.example/callback"
VERIFIER = "v" * 43

CLIENTS = {
    "clients": [
        {
            "client_id": "web",
            "name": "Web player",
            "redirect_uris": [CALLBACK, "http://127.0.0.1/callback", "com.example.tv:/done"],
            "grant_types": [AUTHORIZATION_CODE, REFRESH_TOKEN],
            "scopes": ["openid", "profile", "email", "read:content", "write:watchlist"],
        },
        {
            "client_id": "lenient",
            "name": "Player with a leeway",
            "redirect_uris": [CALLBACK],
            "grant_types": [AUTHORIZATION_CODE, REFRESH_TOKEN],
            "scopes": ["openid", "read:content"],
            "refresh_leeway_s": 15,
        },
        {
            "client_id": "tv",
            "name": "Living-room TV",
            "grant_types": [DEVICE_CODE, REFRESH_TOKEN],
            "scopes": ["read:content", "openid"],
        },
        {
            "client_id": "firm",
            "name": "Firm",
            "grant_types": [CLIENT_CREDENTIALS, AUTHORIZATION_CODE],
            "redirect_uris": [CALLBACK],
            "scopes": ["read:content", "ingestion:write"],
            "secret_sha256": sha256(CLIENT_SECRET.encode()).hexdigest(),
        },
    ]
}

UNLIMITED = {
    f"rate_limit_{name}": 1_000_000
    for name in ("token", "device", "authorize", "revoke", "register", "login", "poll")
}


def challenge_of(verifier: str) -> str:
    """By RFC 7636 section 4.2."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass(slots=True)
class Answer:
    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

    @property
    def error(self) -> str | None:
        return self.body.get("error")

    @property
    def returned(self) -> dict[str, str]:
        """What the redirect brings back to the program; every parameter once."""
        query = parse_qs(urlsplit(self.headers["Location"]).query, keep_blank_values=True)
        assert all(len(values) == 1 for values in query.values()), query
        return {name: values[0] for name, values in query.items()}


@dataclass(slots=True)
class Browser:
    """Somebody at the pages, who keeps cookies and follows nothing by itself."""

    url: str
    http: aiohttp.ClientSession

    async def get(self, path: str) -> Answer:
        async with self.http.get(self.url + path, allow_redirects=False) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)

    async def post(self, path: str, form: Mapping[str, str]) -> Answer:
        async with self.http.post(self.url + path, data=form, allow_redirects=False) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)

    async def sign_in(self, email: str, return_to: str = "/device") -> Answer:
        page = await self.get(f"/auth/sign-in?{urlencode({'return_to': return_to})}")
        secret = hidden(page.text, "form_secret")
        form = {"form_secret": secret, "return_to": return_to, "email": email, "password": PASSWORD}
        return await self.post("/auth/sign-in", form)

    async def agree(self, query: str, action: str = "approve") -> Answer:
        """See the consent page of a request, and decide."""
        page = await self.get(f"/auth/authorize?{query}")
        assert page.status == 200, (page.status, page.headers.get("Location"), page.text)
        form = {name: hidden(page.text, name) for name in ("form_secret", "request")}
        return await self.post("/auth/authorize", {**form, "action": action})


def hidden(html: str, name: str) -> str:
    """Value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    assert found, html
    return found[1].replace("&amp;", "&").replace("&#39;", "'").replace("&#34;", '"')


def request_of(client_id: str = "web", **changes: str | None) -> str:
    """Query of a good authorization request; None leaves a parameter out."""
    fields: dict[str, str | None] = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": CALLBACK,
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
        "state": "the state",
        **changes,
    }
    return urlencode({name: value for name, value in fields.items() if value is not None})


@dataclass(slots=True)
class Stand:
    """Running servers and the way to them."""

    servers: list[RunningComponent]
    database: Database
    http: aiohttp.ClientSession
    turn: int = 0
    people: dict[str, UUID] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.servers[0].url

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        """A request to the servers in turns."""
        self.turn += 1
        url = self.servers[self.turn % len(self.servers)].url
        async with self.http.request(method, url + path, allow_redirects=False, **options) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)

    async def token(self, **form: str) -> Answer:
        return await self.send("POST", "/auth/token", data=form)

    async def token_of_firm(self, secret: str = CLIENT_SECRET, **form: str) -> Answer:
        return await self.send("POST", "/auth/token", data=form, headers=basic("firm", secret))

    async def redeem(self, code: str, client_id: str = "web", **changes: str) -> Answer:
        form = {
            "grant_type": AUTHORIZATION_CODE,
            "code": code,
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
            **changes,
        }
        return await self.token(**form)

    async def refresh(self, token: str, client_id: str = "web", **more: str) -> Answer:
        return await self.token(grant_type=REFRESH_TOKEN, refresh_token=token, client_id=client_id, **more)

    async def signed_in(self, client_id: str = "web", **changes: str | None) -> dict[str, Any]:
        """Tokens of Anna for a program."""
        async with self.browser() as browser:
            assert (await browser.sign_in("anna@tv.example")).status == 303
            back = await browser.agree(request_of(client_id, **changes))
        answer = await self.redeem(back.returned["code"], client_id)
        assert answer.status == 200, answer.text
        return answer.body

    async def is_active(self, token: str) -> bool:
        """Whether introspection says so."""
        headers = basic("firm", CLIENT_SECRET)
        answer = await self.send("POST", "/auth/introspect", data={"token": token}, headers=headers)
        assert answer.status == 200, answer.text
        active: bool = answer.body["active"]
        return active

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[Browser]:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            yield Browser(self.url, http)

    async def add(self, name: str, **columns: Any) -> UUID:
        """A person with `PASSWORD`."""
        passwords, user_id = Passwords(threads=1), uuid7()
        values = {
            "id": user_id,
            "email": f"{name}@tv.example",
            "password_hash": await passwords.hashed(PASSWORD),
            "display_name": name.title(),
            **columns,
        }
        passwords.close()
        names = ", ".join(values)
        marks = ", ".join(f":{column}" for column in values)
        await self.run(f"INSERT INTO users ({names}, email_verified_at) VALUES ({marks}, now())", **values)
        self.people[name] = user_id
        return user_id

    async def run(self, statement: str, **parameters: Any) -> list[Any]:
        async with self.database.transaction() as connection:
            found = await connection.execute(sa.text(statement), parameters)
            return list(found) if found.returns_rows else []


def quoted(secret: str) -> str:
    """As RFC 6749 section 2.3.1 wants a secret before it goes into HTTP Basic."""
    return urlencode({"": secret})[1:]


def basic(client_id: str, secret: str) -> dict[str, str]:
    """The header of a confidential client."""
    pair = f"{quoted(client_id)}:{quoted(secret)}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


@asynccontextmanager
async def auth_stand(
    folder: Path, database_url: str, redis_url: str, database: Database, *, replicas: int = 1, **settings: Any
) -> AsyncIterator[Stand]:
    """Servers that share keys, clients, Postgres and Redis, with Anna and Ben."""
    keys, clients = folder / "keys.json", folder / "clients.json"
    make_keys_if_absent(keys, "RS256")
    clients.write_text(json.dumps(CLIENTS))
    values: dict[str, Any] = {
        "service_port": 0,
        "database_url": SecretStr(database_url),
        "redis_url": SecretStr(redis_url),
        "auth_secret": SecretStr(SECRET),
        "state_dir": folder,
        "signing_keys_path": keys,
        "clients_path": clients,
        "auth_jwks_issuer": "http://auth.example",
        "public_url": "http://auth.example",
        "drain_delay_s": 0,
        **UNLIMITED,
        **settings,
    }
    servers: list[RunningComponent] = []
    async with aiohttp.ClientSession() as http:
        try:
            servers = [await start_component(COMPONENT, Settings(**values)) for _ in range(replicas)]
            stand = Stand(servers, database, http)
            await stand.add("anna")
            await stand.add("ben")
            yield stand
        finally:
            for server in servers:
                await server.drain()
