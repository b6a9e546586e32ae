"""Auth with its credentials on real Postgres and Redis, and the smallest issuer of tokens to go with it."""

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import aiohttp
import sqlalchemy as sa
from pydantic import SecretStr

from media_gateway.auth.actors import API_KEY_CLIENT
from media_gateway.auth.credentials import CREDENTIAL_ROUTES, CredentialNeeds, wire_credentials
from media_gateway.auth.granting import Grant, TokenPair
from media_gateway.auth.second_factor_routes import FACTORS
from media_gateway.auth.settings import Settings
from media_gateway.auth.store.accounts import AccountSubjects
from media_gateway.auth.store.audit import PostgresAuditLog
from media_gateway.auth.totp import STEP_S, code_at
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.tokens import mint_token
from media_gateway.core.web import Component, Context, RunningComponent, start_component

SECRET = "a secret of the tests, at least thirty-two bytes long"
SCOPES = frozenset({"read:content", "read:watchlist", "write:watchlist", "playback:control"})


class Issuer:
    """Signs access tokens, and ends grants in the table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def issue(self, grant: Grant) -> TokenPair:
        return await self.access(grant, life_s=3_600)

    async def access(self, grant: Grant, *, life_s: int) -> TokenPair:
        more = {"sid": str(grant.grant_id)} | (
            {"via": "api_key"} if grant.client_id == API_KEY_CLIENT else {}
        )
        subject = grant.subject
        token = mint_token(
            SECRET, str(subject.user_id), scopes=grant.scopes, tier=subject.tier, ttl_s=life_s, more=more
        )
        scope = " ".join(sorted(grant.scopes))
        return TokenPair(access_token=token, refresh_token=None, expires_in=life_s, scope=scope)

    async def revoke(self, grant_id: UUID, *, reason: str) -> None:
        statement = "UPDATE oauth_grants SET revoked_at = now(), revoked_reason = :reason WHERE id = :id"
        await run(self._database, statement, id=grant_id, reason=reason)

    async def revoke_all(self, user_id: UUID, *, reason: str) -> None:
        raise NotImplementedError(user_id, reason)


async def run(database: Database, statement: str, **parameters: Any) -> Sequence[Any]:
    async with database.transaction() as connection:
        answer = await connection.execute(sa.text(statement), parameters)
        return answer.all() if answer.returns_rows else ()


async def add_person(database: Database, name: str = "ann", *, roles: Sequence[str] = ("user",)) -> UUID:
    user_id = uuid7()
    statement = "INSERT INTO users (id, email, email_verified_at, roles) VALUES (:id, :email, now(), :roles)"
    await run(database, statement, id=user_id, email=f"{name}@tv.example", roles=list(roles))
    return user_id


async def audited(database: Database) -> list[str]:
    return [row.action for row in await run(database, "SELECT action FROM audit_logs ORDER BY id")]


@asynccontextmanager
async def _wire(context: Context[Settings]) -> AsyncIterator[None]:
    database = context.backends.database
    wire_credentials(
        context,
        CredentialNeeds(
            issuer=Issuer(database), subjects=AccountSubjects(database), audit=PostgresAuditLog(database)
        ),
    )
    yield


async def serve(database_url: str, redis_url: str, **settings: Any) -> RunningComponent:
    component = Component(
        name="auth",
        port=0,
        settings=Settings,
        needs=frozenset({"database", "redis"}),
        routes=CREDENTIAL_ROUTES,
        wire=_wire,
    )
    values = {
        "service_port": 0,
        "database_url": SecretStr(database_url),
        "redis_url": SecretStr(redis_url),
        "auth_secret": SecretStr(SECRET),
        "drain_delay_s": 0,
    }
    return await start_component(component, Settings(**{**values, **settings}))


@dataclass(slots=True)
class Answer:
    status: int
    body: Any
    headers: Any


class Door:
    """Requests to servers of the same database, in turns."""

    def __init__(self, http: aiohttp.ClientSession, *servers: str) -> None:
        self._http = http
        self._servers = servers
        self._turn = 0

    async def send(self, method: str, path: str, token: str | None = None, **options: Any) -> Answer:
        self._turn += 1
        url = self._servers[self._turn % len(self._servers)] + path
        headers = options.pop("headers", {})
        if token is not None:
            headers = {**headers, "Authorization": f"Bearer {token}"}
        async with self._http.request(method, url, headers=headers, **options) as answer:
            body = await answer.json(content_type=None) if answer.status != 204 else None
            return Answer(answer.status, body, answer.headers)


class Clock:
    """The time that servers read codes by; moved on a step for each code, since a code is good once."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def open_door(
    database_url: str, redis_url: str, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[Door]:
    """Two servers."""
    servers = [await serve(database_url, redis_url, **settings) for _ in range(2)]
    for server in servers:
        server.app[FACTORS]._clock = clock or time.time
    try:
        async with aiohttp.ClientSession() as http:
            yield Door(http, *(server.url for server in servers))
    finally:
        await asyncio.gather(*(server.drain() for server in servers))


class App:
    """An authenticator app."""

    def __init__(self, uri: str, clock: Clock) -> None:
        parts = urlsplit(uri)
        assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
        text = parse_qs(parts.query)["secret"][0]
        assert re.fullmatch("[A-Z2-7]{32}", text)
        self.secret = base64.b32decode(text)
        self._clock = clock

    def code(self) -> str:
        """A code that was not used yet."""
        self._clock.now += STEP_S
        return self.shown()

    def shown(self) -> str:
        """What it shows now."""
        return code_at(self.secret, int(self._clock.now // STEP_S))

    def wrong(self) -> str:
        good = {code_at(self.secret, int(self._clock.now // STEP_S) + step) for step in range(-3, 4)}
        return next(code for n in range(10) if (code := f"{n:06d}") not in good)
