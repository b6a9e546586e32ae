"""``python -m media_gateway.core.migrations``: which status it ends with and what it says last."""

import asyncio
import json
import os
import signal
from typing import Any

import pytest
from structlog.testing import capture_logs

from media_gateway.core import migrations
from media_gateway.core.migrations import __main__ as program
from tests.support.processes import REPOSITORY, module
from tests.support.servers import database_named, execute

pytestmark = pytest.mark.timeout(300)


async def started(database_url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *module("media_gateway.core.migrations"),
        stderr=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env={
            **os.environ,
            "MEDIA_GATEWAY_DATABASE_URL": database_url,
            "MEDIA_GATEWAY_LOG_FORMAT": "json",
        },
    )


async def test_two_at_once_bring_an_empty_database_to_this_release(
    postgres_server_url: str, request: pytest.FixtureRequest
) -> None:
    name = f"migration_process_{os.getpid()}"
    await execute(postgres_server_url, f"CREATE DATABASE {name}")
    url = database_named(postgres_server_url, name)
    try:
        processes = [await started(url) for _ in range(2)]
        logs = [(await process.communicate())[1].decode() for process in processes]

        assert [process.returncode for process in processes] == [0, 0], logs
        assert await migrations.current(url) == migrations.head()
        assert all(json.loads(log.splitlines()[-1])["revision"] == migrations.head() for log in logs)
    finally:
        await execute(postgres_server_url, f"DROP DATABASE {name} WITH (FORCE)")


async def test_sigterm_ends_it_while_it_waits_so_that_it_may_be_tried_again(free_port: int) -> None:
    process = await started(f"postgresql://nobody@127.0.0.1:{free_port}/none")
    assert process.stderr is not None
    # The first failed try is the first thing it says.
    await asyncio.wait_for(process.stderr.readline(), 120)
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("DATABASE_URL", "mysql://h/d"), ("LOG_LEVEL", "loud")],
)
def test_wrong_setting_is_named_and_ends_it_with_78(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(f"MEDIA_GATEWAY_{name}", value)
    assert program.main() == 78
    assert f"MEDIA_GATEWAY_{name}" in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs it in this process, with little patience; gives the status and the last log entry."""
    monkeypatch.setattr(program, "PATIENCE_S", 1)
    monkeypatch.setattr(program, "configure_logging", lambda *_, **__: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(url: str) -> tuple[int, dict[str, Any]]:
        monkeypatch.setenv("MEDIA_GATEWAY_DATABASE_URL", url)
        with capture_logs() as logs:
            status = program.main()
        return status, dict(logs[-1])

    return run


def test_database_that_stays_away_is_worth_another_try(said: Any, free_port: int) -> None:
    status, last = said(f"postgresql://nobody@127.0.0.1:{free_port}/none")
    assert (status, last["exit_code"], last["log_level"]) == (1, 1, "error")


def test_there_is_no_private_database_to_migrate(said: Any) -> None:
    status, last = said("embedded:")
    assert (status, last["exit_code"]) == (78, 78)
    assert "MEDIA_GATEWAY_DATABASE_URL" in last["event"]


def test_schema_of_this_release_is_left_as_it_is(said: Any, database_url: str) -> None:
    status, last = said(database_url)
    assert (status, last["before"], last["revision"]) == (0, migrations.head(), migrations.head())
