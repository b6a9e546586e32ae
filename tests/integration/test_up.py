"""`media-gateway up` as a real process: starts, serves, stops in good order, recovers from any death."""

import asyncio
import json
import os
import pwd
import shutil
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import psutil
import pytest
import sqlalchemy as sa

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.postgres import Database
from tests.support.accounts import packages, python_of_others, running_as_root
from tests.support.processes import REPOSITORY, servers_below
from tests.support.up import Up, free_offset, ready, started
from tests.support.waiting import eventually

BARE = ("--no-demo", "--components", "discovery")


@pytest.fixture
async def state_path(tmp_path: Path) -> AsyncIterator[Path]:
    state = tmp_path / "closed" / "state"
    state.parent.mkdir(mode=0o700)
    yield state
    await eventually(lambda: not servers_below(state), timeout_s=20)


async def status_of(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status


async def discovery_is_ready(up: Up) -> None:
    """Wait for it: `up` goes on at the first answer, readiness waits for the whole index."""

    async def is_ready() -> bool:
        return await status_of(f"{up.url('discovery')}/health/ready") == 200

    await eventually(is_ready)


async def command(up: Up, *arguments: str) -> tuple[int, str]:
    """Another command of the same state folder: its exit status and output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "media_gateway.cli", *arguments, "--state-dir", str(up.state_path),
        stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def run_sql(state_path: Path, statement: str) -> list[str]:
    async with EmbeddedPostgres(state_path) as url:
        database = Database(url)
        try:
            async with database.transaction() as connection:
                result = await connection.execute(sa.text(statement))
                return [str(row[0]) for row in result] if result.returns_rows else []
        finally:
            await database.close()


async def test_up_serves_and_stops_in_good_order_on_ctrl_c(state_path: Path) -> None:
    async with ready(state_path, *BARE) as up:
        await discovery_is_ready(up)
        assert await status_of(up.ready["metrics_url"]) == 200
        assert up.ready["pid"] == up.process.pid
        assert any("curl -s" in line for line in up.said)
        code, shown = await command(up, "status", "--json")
        assert (code, list(json.loads(shown))) == (0, ["discovery"])
        up.process.send_signal(signal.SIGINT)
        assert await up.ended() == 0
        assert servers_below(state_path) == []
    assert not (state_path / "run" / "up.json").exists()


async def test_kill_9_leaves_no_orphans_and_the_next_start_has_everything(state_path: Path) -> None:
    async with ready(state_path, *BARE) as up:
        await run_sql(state_path, "CREATE TABLE answered_as_done AS SELECT 'yes' AS word")
        assert servers_below(state_path)
        await up.kill()
        await eventually(lambda: not servers_below(state_path), timeout_s=20)
    async with ready(state_path, *BARE) as up:
        assert await run_sql(state_path, "SELECT word FROM answered_as_done") == ["yes"]
        await discovery_is_ready(up)
        up.process.terminate()
        assert await up.ended() == 0


async def test_a_taken_port_is_named_before_any_server_starts(state_path: Path) -> None:
    offset = free_offset()
    blocker = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 8081 + offset)
    try:
        async with started(state_path, *BARE, offset=offset) as up:
            assert await up.ended() == 78
        assert any(
            f"port {8081 + offset} (discovery)" in line and "--port-offset" in line for line in up.said
        )
        assert not (state_path / "postgres").exists()
    finally:
        blocker.close()
        await blocker.wait_closed()


async def test_a_second_up_on_the_same_folder_is_refused(state_path: Path) -> None:
    async with ready(state_path, *BARE) as up:
        async with started(state_path, *BARE) as second:
            assert await second.ended() == 78
        assert any(f"pid {up.process.pid}" in line for line in second.said)
        assert await status_of(f"{up.url('discovery')}/health/live") == 200


async def test_a_signal_while_starting_stops_cleanly(state_path: Path) -> None:
    async with started(state_path, *BARE) as up:
        await eventually(lambda: servers_below(state_path), timeout_s=30)
        assert json.loads((state_path / "run" / "up.json").read_text())["pid"] == up.process.pid
        up.process.terminate()
        assert await up.ended() == 0


async def test_a_second_signal_ends_at_once_and_still_orphans_nothing(state_path: Path) -> None:
    slow = {"MEDIA_GATEWAY_DRAIN_DELAY_S": "50", "MEDIA_GATEWAY_DRAIN_TIMEOUT_S": "200"}
    async with ready(state_path, *BARE, environment=slow) as up:
        up.process.terminate()
        await eventually(lambda: any("Stopping" in line for line in up.said))
        up.process.terminate()
        assert await up.ended(timeout_s=10) == 128 + signal.SIGTERM
        await eventually(lambda: not servers_below(state_path), timeout_s=20)


async def test_with_processes_a_killed_component_comes_back(state_path: Path) -> None:
    async with ready(state_path, *BARE, "--processes") as up:
        url = f"{up.url('discovery')}/health/live"
        assert await status_of(url) == 200
        (before,) = components_of(up)
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: components_of(up) not in ([], [before]), timeout_s=20)
        await eventually(lambda: answers(url), timeout_s=30)
        processes = [psutil.Process(pid) for pid in components_of(up)]
        await up.kill()
        await eventually(lambda: not any(p.is_running() for p in processes), timeout_s=40)
        await eventually(lambda: not servers_below(state_path), timeout_s=20)


def components_of(up: Up) -> list[int]:
    found = []
    for process in psutil.Process(up.process.pid).children():
        with suppress(psutil.Error):  # it may end while we look
            if "serve" in process.cmdline():
                found.append(process.pid)
    return found


async def answers(url: str) -> bool:
    try:
        return await status_of(url) == 200
    except aiohttp.ClientError:
        return False


async def test_generated_files_are_closed_to_others(state_path: Path) -> None:
    async with ready(state_path, *BARE) as up:
        assert stat.S_IMODE((state_path / "secrets" / "auth").stat().st_mode) == 0o600
        for listener in psutil.Process(up.process.pid).net_connections("inet"):
            if listener.status == psutil.CONN_LISTEN:
                assert listener.laddr.ip == "127.0.0.1"


@running_as_root
async def test_an_ordinary_user_runs_everything(tmp_path: Path) -> None:
    python = python_of_others("nobody")
    if python is None:
        pytest.skip("no Python here that another user can run")
    entry = pwd.getpwnam("nobody")
    home = Path("/tmp") / f"mgw-up-{os.getpid()}"
    home.mkdir(mode=0o700)
    os.chown(home, entry.pw_uid, entry.pw_gid)
    become = ("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", python)
    try:
        async with ready(
            home / "state", *BARE, program=become, environment={**packages(), "HOME": str(home)}
        ) as up:
            await discovery_is_ready(up)
            assert (home / "state" / "postgres").stat().st_uid == entry.pw_uid
            up.process.terminate()
            assert await up.ended() == 0
        assert servers_below(home) == []
    finally:
        shutil.rmtree(home)
