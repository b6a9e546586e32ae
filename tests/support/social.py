"""Auth with its pages, credentials and social login, and a browser to go there with."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import yaml
from pydantic import SecretStr
from yarl import URL

from media_gateway.auth.credentials import CREDENTIAL_ROUTES, CredentialNeeds, wire_credentials
from media_gateway.auth.device_wiring import DEVICE_ROUTES, DeviceNeeds, wire_device
from media_gateway.auth.second_factor import SecondFactors
from media_gateway.auth.settings import Settings
from media_gateway.auth.social_login import SOCIAL_ROUTES, SocialNeeds, wire_social
from media_gateway.auth.store.accounts import AccountSubjects
from media_gateway.auth.store.audit import PostgresAuditLog
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.web import Component, Context, RunningComponent, start_component
from tests.support.credentials import SECRET, Issuer, run
from tests.support.devices import PASSWORD, Programs, Result, World
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider
from tests.support.servers import unused_port


class Login:
    """One password for everybody who has one."""

    def __init__(self, database: Database, factors: SecondFactors) -> None:
        self._database = database
        self._factors = factors

    async def check(self, email: str, password: str, *, source: str) -> Result | None:
        rows = await run(self._database, "SELECT id FROM users WHERE email = :email", email=email)
        if not rows or password != PASSWORD:
            return None
        return Result(rows[0].id, await self._factors.is_needed(rows[0].id))

    async def check_second_factor(self, user_id: UUID, code: str) -> bool:
        return await self._factors.check(user_id, code)


@asynccontextmanager
async def _wire(context: Context[Settings]) -> AsyncIterator[None]:
    database = context.backends.database
    subjects, audit, issuer = AccountSubjects(database), PostgresAuditLog(database), Issuer(database)
    factors = wire_credentials(context, CredentialNeeds(issuer=issuer, subjects=subjects, audit=audit))
    needs = DeviceNeeds(
        clients=Programs(World()), subjects=subjects, issuer=issuer, login=Login(database, factors)
    )
    wire_device(context, needs)
    async with wire_social(context, SocialNeeds(subjects=subjects, audit=audit, factors=factors)):
        yield


def provider_entry(provider: Provider, name: str = "work", **more: Any) -> dict[str, Any]:
    entry = {
        "name": name,
        "title": "Work",
        "issuer": provider.url,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    return {key: value for key, value in {**entry, **more}.items() if value is not None}


async def serve_social(
    database_url: str, redis_url: str, folder: Path, entries: Sequence[dict[str, Any]], **settings: Any
) -> RunningComponent:
    path = folder / f"providers-{unused_port()}.yaml"
    path.write_text(yaml.safe_dump({"providers": list(entries)}))
    component = Component(
        name="auth",
        port=0,
        settings=Settings,
        needs=frozenset({"database", "redis"}),
        routes=(*DEVICE_ROUTES, *CREDENTIAL_ROUTES, *SOCIAL_ROUTES),
        wire=_wire,
    )
    port = unused_port()
    values = {
        "service_port": port,
        "public_url": f"http://127.0.0.1:{port}",
        "database_url": SecretStr(database_url),
        "redis_url": SecretStr(redis_url),
        "auth_secret": SecretStr(SECRET),
        "social_providers_path": path,
        "drain_delay_s": 0,
    }
    return await start_component(component, Settings(**{**values, **settings}))


@dataclass(slots=True)
class Page:
    status: int
    url: str
    text: str
    headers: Any

    @property
    def location(self) -> str:
        return str(self.headers["Location"])

    def field(self, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        assert found is not None, self.text
        return found[1]


class Browser:
    """Keeps cookies as browsers do, and follows nothing by itself."""

    def __init__(self, site: str) -> None:
        self.site = site
        self._http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def get(self, address: str) -> Page:
        return await self._send("GET", address)

    async def post(self, address: str, **fields: str) -> Page:
        return await self._send("POST", address, data=fields)

    async def close(self) -> None:
        await self._http.close()

    async def to_provider(self, name: str = "work", query: str = "") -> str:
        """Where the provider is asked."""
        page = await self.get(f"/auth/oauth/{name}/authorize{query}")
        assert page.status == 303, page.text
        return page.location

    async def back_from(self, address: str) -> str:
        """Where the provider sends the browser."""
        page = await self.get(address)
        assert page.status == 302, page.text
        return page.location

    async def sign_in(self, name: str = "work", query: str = "") -> Page:
        """The whole way; the page that the callback answers."""
        return await self.get(await self.back_from(await self.to_provider(name, query)))

    def copy_cookie(self, name: str, to: str) -> None:
        jar = self._http.cookie_jar
        value = next(cookie.value for cookie in jar if cookie.key == name)
        jar.update_cookies({to: value}, URL(self.site))

    async def sign_in_by_password(self, email: str, return_to: str = "/device") -> Page:
        page = await self.get(f"/auth/sign-in?return_to={return_to}")
        fields = {name: page.field(name) for name in ("form_secret", "return_to")}
        return await self.post("/auth/sign-in", email=email, password=PASSWORD, **fields)

    async def account(self) -> str | None:
        """Who the pages say is signed in."""
        page = await self.get("/device")
        if page.status == 303:
            return None
        found = re.search(r"Signed in as <strong>([^<]*)</strong>", page.text)
        assert found is not None
        return found[1]

    async def _send(self, method: str, address: str, **options: Any) -> Page:
        url = address if urlsplit(address).netloc else self.site + address
        async with self._http.request(method, url, allow_redirects=False, **options) as answer:
            return Page(answer.status, url, await answer.text(), answer.headers)
