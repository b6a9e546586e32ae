"""The ingestion service in the test's process, on the test's servers, with a caller for it."""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from pydantic import SecretStr

from media_gateway.core.tokens import mint_token
from media_gateway.core.web import start_component
from media_gateway.ingestion.app import COMPONENT
from media_gateway.ingestion.settings import Settings

AUTH_SECRET = "a secret of the tests, at least thirty-two bytes long"
WEBHOOK_SECRET = "the platform's own secret"


def service_settings(database_url: str, redis_url: str, folder: Path, **more: Any) -> Settings:
    """Settings of a service on the test's servers."""
    values: dict[str, Any] = {
        "database_url": SecretStr(database_url),
        "redis_url": SecretStr(redis_url),
        "state_dir": folder,
        "auth_secret": SecretStr(AUTH_SECRET),
        "ingestion_file_dir": folder,
        "ingestion_lease_s": 1.0,
        "webhook_secrets": {"streamflix": SecretStr(WEBHOOK_SECRET)},
        **more,
    }
    return Settings(**values)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    document: Any
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Api:
    """Calls the service as somebody who may."""

    session: ClientSession
    url: str
    token: str

    async def call(
        self, method: str, path: str, *, body: Any = None, data: bytes | None = None, **headers: str
    ) -> Answer:
        """One request; ``body`` is sent as JSON, ``data`` as it is."""
        sent = {
            "Authorization": f"Bearer {self.token}",
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(method, self.url + path, data=data, headers=sent) as response:
            raw = await response.read()
            return Answer(response.status, json.loads(raw) if raw else None, dict(response.headers))

    async def deliver(self, body: bytes, *, platform: str = "streamflix", **headers: str) -> Answer:
        """A signed webhook delivery."""
        sent = {"X_Webhook_Signature": sign(body), **headers}
        return await self.call("POST", f"/api/v1/webhooks/{platform}", data=body, **sent)


def sign(body: bytes, *, at: int | str | None = None, secret: str = WEBHOOK_SECRET) -> str:
    """Signature of a delivery."""
    signed = body if at is None else f"{at}.".encode() + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def now() -> int:
    """Unix time."""
    return int(time.time())


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Api]:
    """The service while the block runs."""
    component = await start_component(COMPONENT, settings, port=0)
    token = mint_token(AUTH_SECRET, "somebody", scopes=frozenset({"ingestion:write"}))
    try:
        async with ClientSession() as session:
            yield Api(session, component.url, token)
    finally:
        await component.drain()
