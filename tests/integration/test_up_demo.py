"""The main job, end to end: `media-gateway up`, killed halfway, serves every film of the demo catalogue in the end."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import MediaGatewayError
from tests.support.processes import REPOSITORY, servers_below
from tests.support.transcript import commands, said, steady
from tests.support.up import Up, ready, started
from tests.support.waiting import eventually

DEMO_TOKEN_LINE = "A token of the demo user, good for an hour:"

FILMS = 17_472
WORKS = FILMS - 2
"""Two records repeat the IMDb id of another (a later cut of the same film)."""


@pytest.fixture
async def state_path(tmp_path: Path) -> AsyncIterator[Path]:
    yield tmp_path / "state"
    await eventually(lambda: not servers_below(tmp_path / "state"), timeout_s=20)


async def count(database: Database, table: str) -> int:
    try:
        async with database.transaction() as connection:
            return int(await connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0)
    except MediaGatewayError:
        return 0  # not migrated yet


async def ask(method: str, url: str, **options: Any) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.request(method, url, **options) as response:
        assert response.status == 200, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def token(up: Up) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "media_gateway.cli", "token", "--state-dir", str(up.state_path),
        stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY,
    )  # fmt: skip
    out, _ = await process.communicate()
    return out.decode().strip()


async def check_readme(up: Up) -> None:
    """What the README shows is what a reader gets."""
    search = f"{up.url('discovery')}/api/v1/search"

    async def is_whole() -> bool:
        return not (await ask("POST", search, json={"query": "alien"}))["degraded"]

    await eventually(is_whole, timeout_s=60)
    steps = commands(REPOSITORY / "README.md")
    assert steps
    for command, output in steps:
        # The last films of the load may still be on their way into the index.
        said_last = await until_steady(command, output, {"http://127.0.0.1:8080": up.url("gateway")})
        assert said_last == steady(output)


async def check_demo_user(up: Up) -> None:
    """The printed token is the demo user's, and signs a TV in whose own token the gateway takes."""
    await eventually(lambda: DEMO_TOKEN_LINE in up.said)
    await eventually(lambda: up.said[-1] != DEMO_TOKEN_LINE)
    demo = {"Authorization": f"Bearer {up.said[up.said.index(DEMO_TOKEN_LINE) + 1]}"}
    door = up.url("gateway")
    assert (await ask("GET", f"{door}/api/v1/users/me", headers=demo))[
        "email"
    ] == "demo@media-gateway.example"
    metadata = await ask("GET", f"{door}/.well-known/openid-configuration")
    assert metadata["issuer"] == door
    codes = await ask("POST", metadata["device_authorization_endpoint"], data={"client_id": "tv-app"})
    assert codes["verification_uri"] == f"{door}/device"
    decision = {"user_code": codes["user_code"]}
    await ask("POST", f"{door}/auth/device/approve", headers=demo, json=decision)
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": codes["device_code"],
        "client_id": "tv-app",
    }
    tokens = await ask("POST", metadata["token_endpoint"], data=form)
    tv = {"Authorization": f"Bearer {tokens['access_token']}"}
    await ask("POST", f"{door}/api/v1/search", headers=tv, json={"query": "alien"})
    assert (await ask("GET", metadata["userinfo_endpoint"], headers=tv))[
        "email"
    ] == "demo@media-gateway.example"


async def until_steady(command: str, output: str, addresses: dict[str, str]) -> str:
    """What the command says, asked again for a while until it is what is wanted."""
    answers = [""]

    async def as_wanted() -> bool:
        answers[0] = steady(await said(command, addresses))
        return answers[0] == steady(output)

    with suppress(AssertionError, TimeoutError):
        await eventually(as_wanted, timeout_s=20, interval_s=0.5)
    return answers[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_killed_while_loading_the_next_start_serves_every_film_once(
    state_path: Path, models_path: Path
) -> None:
    async with started(state_path) as up:
        await eventually(lambda: servers_below(state_path), timeout_s=60)
        async with EmbeddedPostgres(state_path) as url:
            database = Database(url)
            await eventually(lambda: count(database, "source_records"), timeout_s=90)
            await up.kill()
            await database.close()
    await eventually(lambda: not servers_below(state_path), timeout_s=30)

    with_model = {"MEDIA_GATEWAY_EMBEDDER_URL": "minilm:", "MEDIA_GATEWAY_MODEL_DIR": str(models_path)}
    async with ready(state_path, timeout_s=200, environment=with_model) as up:
        found = await ask("POST", f"{up.url('discovery')}/api/v1/search", json={"query": "the godfather"})
        assert found["results"][0]["content"]["title"] == "The Godfather"
        await check_readme(up)
        await check_demo_user(up)
        headers = {"Authorization": f"Bearer {await token(up)}"}
        jobs = await ask("GET", f"{up.url('ingestion')}/api/v1/ingestion/jobs", headers=headers)
        assert "Complete" in str(jobs)
        async with EmbeddedPostgres(state_path) as url:
            database = Database(url)
            assert await count(database, "source_records") == FILMS
            assert await count(database, "contents WHERE removed_at IS NULL") == WORKS
            await database.close()
        up.process.terminate()
        assert await up.ended() == 0
