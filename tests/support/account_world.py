"""Auth's accounts on real Postgres and Redis, mails in a folder, and the smallest issuer of tokens."""

import email
import email.policy
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import sqlalchemy as sa
from pydantic import SecretStr

from media_gateway.auth.accounts import ACCOUNT_ROUTES, AccountNeeds, wire_accounts
from media_gateway.auth.device_wiring import DEVICE_ROUTES, DeviceNeeds, wire_device
from media_gateway.auth.granting import Grant, TokenPair
from media_gateway.auth.passwords import Passwords
from media_gateway.auth.settings import Settings
from media_gateway.auth.store.audit import PostgresAuditLog
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.errors import UnavailableError
from media_gateway.core.tokens import mint_token
from media_gateway.core.web import Component, Context, RunningComponent, start_component
from tests.support.devices import Programs, World
from tests.support.waiting import eventually

SECRET = "a secret of the tests, at least thirty-two bytes long"
PASSWORD = "Correct-Horse-1"
ANN = "ann@tv.example"


class CountingPasswords(Passwords):
    """Passwords that count how often they work."""

    def __init__(self) -> None:
        super().__init__()
        self.work: Counter[str] = Counter()

    async def hashed(self, password: str) -> str:
        self.work["hashed"] += 1
        return await super().hashed(password)

    async def matches(self, password: str, kept: str | None) -> bool:
        self.work["matched"] += 1
        return await super().matches(password, kept)


@dataclass
class Issuer:
    issued: list[Grant] = field(default_factory=list)
    revoked: list[UUID] = field(default_factory=list)
    signed_out: list[UUID] = field(default_factory=list)
    away: bool = False

    async def issue(self, grant: Grant) -> TokenPair:
        self.issued.append(grant)
        subject = grant.subject
        token = mint_token(SECRET, str(subject.user_id), scopes=grant.scopes, roles=frozenset(subject.roles))
        return TokenPair(
            access_token=token,
            refresh_token=f"refresh-{grant.grant_id}",
            expires_in=3600,
            scope=" ".join(sorted(grant.scopes)),
        )

    async def access(self, grant: Grant, *, life_s: int) -> TokenPair:
        raise NotImplementedError(grant, life_s)

    async def revoke(self, grant_id: UUID, *, reason: str) -> None:
        self.revoked.append(grant_id)

    async def revoke_all(self, user_id: UUID, *, reason: str) -> None:
        if self.away:
            raise UnavailableError("the tokens are away")
        self.signed_out.append(user_id)


@dataclass
class SecondFactors:
    code: str | None = None

    async def is_needed(self, user_id: UUID) -> bool:
        return self.code is not None

    async def check(self, user_id: UUID, code: str) -> bool:
        return code == self.code


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any
    raw: bytes

    @property
    def fields(self) -> list[str]:
        return [error["field"] for error in self.body.get("errors", [])]


@dataclass
class AccountWorld:
    """A served auth with what stands around it."""

    folder: Path
    database: Database
    redis: RedisHandle
    http: aiohttp.ClientSession
    issuer: Issuer = field(default_factory=Issuer)
    second_factors: SecondFactors = field(default_factory=SecondFactors)
    passwords: CountingPasswords = field(default_factory=CountingPasswords)
    url: str = ""

    async def send(self, method: str, path: str, body: Any = None, token: str | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.request(method, self.url + path, json=body, headers=headers) as answer:
            raw = await answer.read()
            is_json = answer.content_type.endswith("json")
            return Answer(answer.status, await answer.json(content_type=None) if is_json else None, answer.headers, raw)  # fmt: skip

    async def post(self, path: str, **body: Any) -> Answer:
        return await self.send("POST", path, body)

    async def register(self, address: str = ANN, password: str = PASSWORD, **more: Any) -> Answer:
        return await self.post("/api/v1/auth/register", email=address, password=password, **more)

    async def login(self, address: str = ANN, password: str = PASSWORD, **more: Any) -> Answer:
        return await self.post("/api/v1/auth/login", email=address, password=password, **more)

    async def token(self, address: str = ANN, password: str = PASSWORD) -> str:
        return str((await self.login(address, password)).body["access_token"])

    def mails(self, recipient: str = ANN) -> list[tuple[str, str]]:
        """Subjects and texts of the mails to somebody, oldest first."""
        found = []
        for path in sorted(self.folder.glob("*.eml")):
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            if message["To"] == recipient:
                found.append((message["Subject"], message.get_content()))
        return found

    async def mailed(self, subject: str, recipient: str = ANN) -> str:
        """Text of the newest mail of a subject, once there is one."""

        def look() -> str | None:
            texts = [text for found, text in self.mails(recipient) if found == subject]
            return texts[-1] if texts else None

        return str(await eventually(look))

    async def code(self, subject: str, recipient: str = ANN) -> str:
        """The token of the link in such a mail."""
        found = re.search(r"token=(\S+)", await self.mailed(subject, recipient))
        assert found
        return found[1]

    async def all_sent(self) -> None:
        async def none_waits() -> bool:
            return not await self.rows("SELECT 1 FROM mails")

        await eventually(none_waits)

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        async with self.database.transaction() as connection:
            result = await connection.execute(sa.text(statement), values)
            return list(result.all()) if result.returns_rows else []


@asynccontextmanager
async def _wire(world: AccountWorld, context: Context[Settings]) -> AsyncIterator[None]:
    accounts = wire_accounts(
        context,
        AccountNeeds(
            issuer=world.issuer,
            second_factors=world.second_factors,
            audit=PostgresAuditLog(context.backends.database),
            passwords=world.passwords,
        ),
    )
    needs = DeviceNeeds(
        clients=Programs(World()),
        subjects=accounts.subjects,
        issuer=world.issuer,
        login=accounts.login,
    )
    wire_device(context, needs)
    yield


async def serve(world: AccountWorld, database_url: str, redis_url: str, **settings: Any) -> RunningComponent:
    component = Component(
        name="auth",
        port=0,
        settings=Settings,
        needs=frozenset({"database", "redis"}),
        routes=(*DEVICE_ROUTES, *ACCOUNT_ROUTES),
        wire=partial(_wire, world),
    )
    values: dict[str, Any] = {
        "service_port": 0,
        "database_url": SecretStr(database_url),
        "redis_url": SecretStr(redis_url),
        "auth_secret": SecretStr(SECRET),
        "mail_url": SecretStr(f"folder:{world.folder}"),
    }
    running = await start_component(component, Settings(**{**values, **settings}))
    world.url = running.url
    return running


@asynccontextmanager
async def account_world(
    database_url: str, redis_url: str, folder: Path, **settings: Any
) -> AsyncIterator[AccountWorld]:
    database, redis = Database(database_url), RedisHandle(redis_url)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        world = AccountWorld(folder, database, redis, http)
        running = await serve(world, database_url, redis_url, **settings)
        try:
            yield world
        finally:
            await running.drain()
            world.passwords.close()
            await database.close()
            await redis.close()
