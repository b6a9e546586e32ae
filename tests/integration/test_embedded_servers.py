"""The private Postgres and Redis: durable, private, recovered after any death, never orphaned."""

import asyncio
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.errors import MediaGatewayError, NotConfiguredError, UnavailableError
from tests.support.processes import module, servers_below, spoken
from tests.support.waiting import eventually

OWNER = "tests.support.embedded_owner"


@pytest.fixture
def state_path(tmp_path: Path) -> Iterator[Path]:
    # Below a folder that nobody else may enter, as a home folder is.
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    state = closed / "state"
    yield state
    assert servers_below(state) == [], "a server outlived its test"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def owner(path: Path) -> int:
    return path.stat().st_uid


async def write_row(url: str, word: str) -> None:
    database = Database(url)
    try:
        async with database.transaction() as connection:
            await connection.execute(sa.text("CREATE TABLE IF NOT EXISTS words (word text)"))
            await connection.execute(sa.text("INSERT INTO words VALUES (:word)"), {"word": word})
    finally:
        await database.close()


async def rows(url: str) -> list[str]:
    database = Database(url)
    try:
        async with database.transaction() as connection:
            return list((await connection.scalars(sa.text("SELECT word FROM words ORDER BY word"))).all())
    finally:
        await database.close()


async def rows_when_up(url: str) -> list[str]:
    try:
        return await rows(url)
    except UnavailableError:
        return []


async def test_data_and_address_stay_the_same_over_restarts(state_path: Path) -> None:
    async with EmbeddedPostgres(state_path) as first_url, EmbeddedRedis(state_path) as first_redis:
        await write_row(first_url, "kept")
        redis = RedisHandle(first_redis)
        await redis.client.set("kept", "too")
        await redis.close()
    async with EmbeddedPostgres(state_path) as second_url, EmbeddedRedis(state_path) as second_redis:
        assert (second_url, second_redis) == (first_url, first_redis)
        assert await rows(second_url) == ["kept"]
        redis = RedisHandle(second_redis)
        assert await redis.client.get("kept") == b"too"
        await redis.close()


async def test_nothing_answered_as_done_is_lost_by_kill_9_and_no_server_is_orphaned(state_path: Path) -> None:
    async with spoken(*module(OWNER, str(state_path))) as other:
        await write_row(other.said["postgres_url"], "committed")
        redis = RedisHandle(other.said["redis_url"])
        await redis.client.xadd("stream", {"n": 1})
        await redis.close()
        assert len(servers_below(state_path)) >= 2
        await other.kill()
    await eventually(lambda: not servers_below(state_path), timeout_s=15)
    async with EmbeddedPostgres(state_path) as url, EmbeddedRedis(state_path) as redis_url:
        assert await rows(url) == ["committed"]
        redis = RedisHandle(redis_url)
        assert await redis.client.xlen("stream") == 1
        await redis.close()


async def test_a_second_process_joins_and_takes_over_at_the_same_address(state_path: Path) -> None:
    async with spoken(*module(OWNER, str(state_path))) as other:
        postgres = EmbeddedPostgres(state_path)
        async with postgres as url:
            assert url == other.said["postgres_url"]
            assert not postgres.owned
            await write_row(url, "before")
            await other.kill()
            assert await eventually(lambda: rows_when_up(url), timeout_s=20) == ["before"]
            assert postgres.owned


async def test_leaving_a_joined_server_does_not_stop_it(state_path: Path) -> None:
    async with EmbeddedPostgres(state_path) as url:
        async with EmbeddedPostgres(state_path) as joined_url:
            assert joined_url == url
        await write_row(url, "still up")


async def test_many_processes_starting_at_once_share_one_server(state_path: Path) -> None:
    servers = [EmbeddedRedis(state_path) for _ in range(5)]
    try:
        urls = await asyncio.gather(*(server.start() for server in servers))
        assert len(set(urls)) == 1
        assert sum(server.owned for server in servers) == 1
    finally:
        await asyncio.gather(*(server.stop() for server in servers))


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedRedis])
async def test_a_killed_server_comes_back_at_the_same_address(
    state_path: Path, kind: type[EmbeddedPostgres | EmbeddedRedis]
) -> None:
    server = kind(state_path)
    async with server as url:
        before = server.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: server.pid not in (None, before), timeout_s=20)
        await eventually(server.is_ready, timeout_s=20)
        assert server.url == url


async def test_a_server_left_behind_by_its_owner_is_stopped_first(state_path: Path) -> None:
    lost = EmbeddedPostgres(state_path)
    await lost.start()
    lost._lock.release()  # as if the owner had gone and the tie had failed
    async with EmbeddedPostgres(state_path) as url:
        await write_row(url, "fine")
        assert lost._child is not None
        assert lost._child.exit_code is not None
    await lost.stop()


async def test_a_stale_pid_file_never_gets_a_stranger_signalled(state_path: Path) -> None:
    async with EmbeddedPostgres(state_path):
        pass
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        pid_file = state_path / "postgres" / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{state_path / 'postgres'}\n1\n5432\n\n127.0.0.1\n0 0\nready\n")
        endpoint = state_path / "run" / "postgres.json"
        started = psutil.Process(stranger.pid).create_time()
        endpoint.write_text(f'{{"port": 5432, "pid": {stranger.pid}, "started_s": {started}, "ready": true}}')
        async with EmbeddedPostgres(state_path) as url:
            await write_row(url, "fine")
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


async def test_a_taken_port_moves_the_server_to_another(state_path: Path) -> None:
    async with EmbeddedRedis(state_path) as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
    blocker = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", port)
    try:
        async with EmbeddedRedis(state_path) as moved_url:
            assert moved_url != url
    finally:
        blocker.close()
        await blocker.wait_closed()


async def test_servers_refuse_callers_without_the_password(state_path: Path) -> None:
    async with EmbeddedPostgres(state_path) as url, EmbeddedRedis(state_path) as redis_url:
        database = Database(sa.make_url(url).set(password="guess").render_as_string(hide_password=False))
        with pytest.raises(MediaGatewayError):
            await database.ping()
        await database.close()
        redis = RedisHandle(f"redis://127.0.0.1:{redis_url.rpartition(':')[2]}")
        with pytest.raises(MediaGatewayError):
            await redis.ping()
        await redis.close()


async def test_only_our_own_folders_are_owned_and_they_are_closed(state_path: Path) -> None:
    before = state_path.parent.stat()
    async with EmbeddedPostgres(state_path), EmbeddedRedis(state_path):
        pass
    after = state_path.parent.stat()
    assert (before.st_mode, before.st_uid) == (after.st_mode, after.st_uid)
    assert (mode(state_path), owner(state_path)) == (0o700, os.geteuid())
    for secret in (state_path / "secrets").iterdir():
        assert mode(secret) == 0o600
    for name in ("postgres", "redis"):
        assert mode(state_path / name) == 0o700
        if os.geteuid() == 0:
            assert owner(state_path / name) != 0


async def test_passwords_are_in_no_command_line(state_path: Path) -> None:
    async with EmbeddedPostgres(state_path) as url, EmbeddedRedis(state_path) as redis_url:
        secrets = [sa.make_url(u).password for u in (url, redis_url)]
        lines = [" ".join(psutil.Process(pid).cmdline()) for pid in servers_below(state_path)]
        assert len(lines) >= 2
        assert not any(secret and secret in line for secret in secrets for line in lines)


def test_a_state_folder_of_a_newer_release_is_refused(state_path: Path) -> None:
    state_path.mkdir()
    (state_path / "version.json").write_text('{"format": 99}')
    with pytest.raises(NotConfiguredError, match="newer release"):
        EmbeddedPostgres(state_path)


async def test_data_of_another_postgres_are_refused_untouched(state_path: Path) -> None:
    async with EmbeddedPostgres(state_path):
        pass
    (state_path / "postgres" / "PG_VERSION").write_text("19\n")
    with pytest.raises(NotConfiguredError, match="PostgreSQL 19"):
        await EmbeddedPostgres(state_path).start()


async def test_a_server_that_cannot_start_says_why(state_path: Path) -> None:
    async with EmbeddedPostgres(state_path):
        pass
    (state_path / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(UnavailableError, match="pg_control"):
        await EmbeddedPostgres(state_path).start()


async def test_an_interrupted_initialisation_is_begun_again(state_path: Path) -> None:
    (state_path / "postgres.new" / "base").mkdir(parents=True)
    async with EmbeddedPostgres(state_path) as url:
        await write_row(url, "fine")
