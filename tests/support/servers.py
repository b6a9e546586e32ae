"""The one warm Postgres and Redis of a test run, shared by all its xdist workers."""

import asyncio
import shutil
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.postgres import driver_url

TEMPLATE = "mgw_template"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the servers of the run are."""

    postgres: str
    redis: str


class WarmServers:
    """Started by the process that leads the run, stopped at its end (or by the kernel when it is killed)."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mgw-tests-"))
        self._postgres = EmbeddedPostgres(self._folder, durable=False)
        self._redis = EmbeddedRedis(self._folder, durable=False)

    def start(self) -> Urls:
        """Start both and migrate the template database."""
        return run_here(self._start())

    def stop(self) -> None:
        """Stop both and remove their folder."""
        run_here(self._stop())
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _start(self) -> Urls:
        urls = Urls(await self._postgres.start(), await self._redis.start())
        await execute(urls.postgres, f"CREATE DATABASE {TEMPLATE}")
        await _migrate(database_named(urls.postgres, TEMPLATE))
        return urls

    async def _stop(self) -> None:
        await self._postgres.stop()
        await self._redis.stop()


async def _migrate(url: str) -> None:
    from media_gateway.core.migrations import migrate

    await migrate(url)


async def execute(url: str, statement: str) -> None:
    """Run one statement outside a transaction."""
    engine = create_async_engine(
        driver_url(url),
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
    )
    try:
        async with engine.connect() as connection:
            await connection.execute(sa.text(statement))
    finally:
        await engine.dispose()


@asynccontextmanager
async def fresh_database(server_url: str) -> AsyncIterator[str]:
    """URL of a fresh, migrated database, dropped afterwards even if connections to it were left open."""
    name = f"test_{uuid.uuid4().hex}"
    await execute(server_url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    try:
        yield database_named(server_url, name)
    finally:
        await execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def database_named(server_url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)


def run_here(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to completion in a loop of its own, leaving the current loop of the thread alone."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def unused_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
