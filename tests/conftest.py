"""Fixtures every suite may use: real servers, a fresh database a test, a free port.

Under xdist the controller starts the servers before the workers and hands them the addresses; without it they start
when a test first asks.
"""

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from tests.support.servers import Urls, WarmServers, fresh_database, unused_port

# The machine is shared: how long one example takes says nothing about the code.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")

pytest_plugins = ["tests.support.models", "tests.support.operator_fixtures"]

URLS = pytest.StashKey[Urls]()
SERVERS = pytest.StashKey[WarmServers]()


@pytest.fixture(autouse=True)
def logging_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test logs to a stream that an earlier one configured and that is closed by now."""
    configure = structlog.configure
    # A cached logger would keep its stream for the life of the process.
    monkeypatch.setattr(
        structlog, "configure", lambda **options: configure(**{**options, "cache_logger_on_first_use": False})
    )
    # Standard output belongs to whoever captures it at the moment, and may be closed under a test's feet.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


def pytest_configure(config: pytest.Config) -> None:
    ours = [name for name in os.environ if name.startswith("MEDIA_GATEWAY_")]
    for name in ours:
        if "_TEST_" not in name and "_CLUSTER_" not in name:
            del os.environ[name]  # a developer's own settings must not change what is tested
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:
        config.stash[URLS] = Urls(worker_input["postgres_url"], worker_input["redis_url"])
    elif getattr(config.option, "numprocesses", None) and not config.option.collectonly:
        _warm(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    urls = node.config.stash[URLS]
    node.workerinput["postgres_url"] = urls.postgres
    node.workerinput["redis_url"] = urls.redis


def pytest_unconfigure(config: pytest.Config) -> None:
    if SERVERS in config.stash:
        config.stash[SERVERS].stop()
        del config.stash[SERVERS]


def _warm(config: pytest.Config) -> Urls:
    if URLS not in config.stash:
        servers = config.stash[SERVERS] = WarmServers()
        config.stash[URLS] = servers.start()
    return config.stash[URLS]


@pytest.fixture(scope="session")
def warm_servers(request: pytest.FixtureRequest) -> Urls:
    return _warm(request.config)


@pytest.fixture(scope="session")
def postgres_server_url(warm_servers: Urls) -> str:
    """Superuser URL of the run's Postgres."""
    return warm_servers.postgres


@pytest.fixture
async def database_url(postgres_server_url: str) -> AsyncIterator[str]:
    """URL of a fresh, migrated database."""
    async with fresh_database(postgres_server_url) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on the fresh database."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def redis_url(warm_servers: Urls) -> str:
    """URL of a logical Redis database that is empty and that no other running test uses."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    url = f"{warm_servers.redis.rpartition('/')[0]}/{int(worker) % 64}"
    handle = RedisHandle(url)
    await handle.client.flushdb()
    await handle.close()
    return url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisHandle]:
    """A client on the empty logical database."""
    handle = RedisHandle(redis_url)
    yield handle
    await handle.close()


@pytest.fixture
def free_port() -> int:
    """A loopback port nobody listens on."""
    return unused_port()
