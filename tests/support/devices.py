"""Auth with its device grant on real Redis, and the smallest programs, people and tokens to go with it."""

import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from aiohttp import web
from pydantic import SecretStr

from media_gateway.auth.clients import DEVICE_CODE as GRANT_TYPE
from media_gateway.auth.device_ports import ClientProof
from media_gateway.auth.device_routes import answer_poll
from media_gateway.auth.device_schemas import PollForm
from media_gateway.auth.device_wiring import DEVICE_ROUTES, DeviceNeeds, wire_device
from media_gateway.auth.granting import Grant, TokenPair
from media_gateway.auth.oauth_answers import oauth_answer
from media_gateway.auth.oauth_errors import InvalidClientError
from media_gateway.auth.settings import Settings
from media_gateway.auth.subjects import Subject
from media_gateway.core.tokens import mint_token
from media_gateway.core.web import Auth, Component, Context, RouteTable, RunningComponent, start_component

SECRET = "a secret of the tests, at least thirty-two bytes long"
PASSWORD = "correct horse 7 Battery"

token_routes = RouteTable(tag="tokens")


@token_routes.post("/auth/token", form=PollForm, auth=Auth.NONE, answer_error=oauth_answer)
async def token(request: web.Request, form: PollForm) -> web.Response:
    return await answer_poll(request, form)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    client_id: str
    name: str
    scopes: frozenset[str] = frozenset({"read:content", "write:watchlist"})
    grant_types: frozenset[str] = frozenset({GRANT_TYPE})
    enabled: bool = True
    secret: str | None = None


def person(name: str, **changes: Any) -> Subject:
    subject = Subject(
        user_id=uuid4(),
        email=f"{name}@example.com",
        email_verified=True,
        display_name=name.title(),
        tier="free",
        roles=("free_user",),
        scopes=frozenset({"read:content", "write:watchlist", "profile"}),
        content_rating_limit=None,
        blocked_genres=(),
        enabled=True,
    )
    return replace(subject, **changes)


@dataclass(slots=True)
class Result:
    user_id: UUID
    needs_second_factor: bool


@dataclass
class World:
    """Programs, people and tokens that all servers of a test share."""

    programs: dict[str, Program] = field(default_factory=dict)
    people: dict[UUID, Subject] = field(default_factory=dict)
    issued: list[Grant] = field(default_factory=list)
    revoked: list[UUID] = field(default_factory=list)
    issue_error: Exception | None = None
    second_factor: str | None = None

    def add(self, *subjects: Subject) -> None:
        self.people.update((subject.user_id, subject) for subject in subjects)


class Programs:
    def __init__(self, world: World) -> None:
        self._world = world

    async def find(self, client_id: str) -> Program | None:
        return self._world.programs.get(client_id)

    async def authenticate(self, proof: ClientProof) -> Program:
        name, secret = proof.client_id, proof.client_secret
        if proof.authorization:
            name, _, secret = base64.b64decode(proof.authorization[6:]).decode().partition(":")
        program = self._world.programs.get(name or "")
        if program is None or program.secret != secret:
            raise InvalidClientError
        return program


class People:
    def __init__(self, world: World) -> None:
        self._world = world

    async def find(self, user_id: UUID) -> Subject | None:
        return self._world.people.get(user_id)


class Issuer:
    def __init__(self, world: World) -> None:
        self._world = world

    async def issue(self, grant: Grant) -> TokenPair:
        if self._world.issue_error is not None:
            raise self._world.issue_error
        self._world.issued.append(grant)
        scope = " ".join(sorted(grant.scopes))
        return TokenPair(
            access_token=bearer(grant.subject), refresh_token="refresh", expires_in=3600, scope=scope
        )

    async def access(self, grant: Grant, *, life_s: int) -> TokenPair:
        raise NotImplementedError(grant, life_s)

    async def revoke(self, grant_id: UUID, *, reason: str) -> None:
        assert reason
        self._world.revoked.append(grant_id)

    async def revoke_all(self, user_id: UUID, *, reason: str) -> None:
        raise NotImplementedError(user_id, reason)


class Passwords:
    def __init__(self, world: World) -> None:
        self._world = world

    async def check(self, email: str, password: str, *, source: str) -> Result | None:
        found = [subject for subject in self._world.people.values() if subject.email == email]
        if not found or password != PASSWORD:
            return None
        return Result(found[0].user_id, self._world.second_factor is not None)

    async def check_second_factor(self, user_id: UUID, code: str) -> bool:
        return code == self._world.second_factor


def bearer(subject: Subject) -> str:
    return mint_token(SECRET, str(subject.user_id), scopes=subject.scopes)


@asynccontextmanager
async def _wire(world: World, context: Context[Settings]) -> AsyncIterator[None]:
    needs = DeviceNeeds(
        clients=Programs(world), subjects=People(world), issuer=Issuer(world), login=Passwords(world)
    )
    wire_device(context, needs)
    yield


async def serve(world: World, redis_url: str, **settings: Any) -> RunningComponent:
    """An auth server; give several the same world and Redis."""
    component = Component(
        name="auth",
        port=0,
        settings=Settings,
        needs=frozenset({"redis"}),
        critical=frozenset({"redis"}),
        routes=(*DEVICE_ROUTES, token_routes),
        wire=partial(_wire, world),
    )
    values = {"service_port": 0, "redis_url": SecretStr(redis_url), "auth_secret": SecretStr(SECRET)}
    return await start_component(component, Settings(**{**values, **settings}))


@dataclass(slots=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: Any

    @property
    def error(self) -> str | None:
        return self.body.get("error")


class Door:
    """Requests to servers, in turns."""

    def __init__(self, http: aiohttp.ClientSession, *servers: str) -> None:
        self._http = http
        self._servers = servers
        self._turn = 0

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        self._turn += 1
        url = self._servers[self._turn % len(self._servers)] + path
        async with self._http.request(method, url, **options) as answer:
            return Answer(answer.status, await answer.json(), answer.headers)

    async def begin(self, client_id: str = "tv", **more: str) -> Answer:
        return await self.send("POST", "/auth/device", data={"client_id": client_id, **more})

    async def poll(self, device_code: str, client_id: str = "tv") -> Answer:
        form = {"grant_type": GRANT_TYPE, "device_code": device_code, "client_id": client_id}
        return await self.send("POST", "/auth/token", data=form)

    async def decide(self, subject: Subject, user_code: str, **more: str) -> Answer:
        headers = {"Authorization": f"Bearer {bearer(subject)}"}
        body = {"user_code": user_code, **more}
        return await self.send("POST", "/auth/device/approve", json=body, headers=headers)

    async def look(self, subject: Subject, user_code: str) -> Answer:
        headers = {"Authorization": f"Bearer {bearer(subject)}"}
        return await self.send("GET", "/auth/device/verify", params={"user_code": user_code}, headers=headers)


async def until_no_longer_pending(door: Door, device_code: str, *, within_s: float = 10.0) -> Answer:
    ends_at = time.monotonic() + within_s
    while True:
        answer = await door.poll(device_code)
        if answer.error not in {"authorization_pending", "slow_down"} or time.monotonic() > ends_at:
            return answer
