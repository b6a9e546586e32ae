"""The device grant's scripts on a Redis Cluster: of one server, which refuses keys of several slots as many do."""

import asyncio
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from media_gateway.auth.store.device import Asking, DeviceRules, DeviceStore, Waiting
from media_gateway.auth.store.device_hints import RedisHints
from media_gateway.auth.store.second_step import SecondSteps
from media_gateway.core.adapters.embedded.redis import installed_binary
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.errors import UnavailableError
from tests.support.servers import unused_port
from tests.support.waiting import eventually

SLOTS = 16_384


@pytest.fixture
async def cluster(tmp_path):
    # A cluster also listens 10,000 ports higher.
    port = next(port for port in iter(unused_port, None) if port <= 55_535)
    options = {"port": port, "cluster-enabled": "yes", "dir": tmp_path, "bind": "127.0.0.1"}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    process = await asyncio.create_subprocess_exec(
        str(installed_binary()), *arguments, "--save", "", stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await _assign_slots(port)
        handle = RedisHandle(f"redis+cluster://127.0.0.1:{port}")
        yield handle
        await handle.close()
    finally:
        process.kill()
        await process.wait()


async def _assign_slots(port: int) -> None:
    plain = RedisHandle(f"redis://127.0.0.1:{port}/0")
    client: Any = plain.client

    async def answers() -> bool:
        with suppress(UnavailableError):
            await plain.ping()
            return True
        return False

    async def serves() -> bool:
        return b"cluster_state:ok" in await client.execute_command("CLUSTER", "INFO")

    await eventually(answers, timeout_s=30)
    await client.execute_command("CLUSTER", "ADDSLOTS", *range(SLOTS))
    await eventually(serves, timeout_s=30)
    await plain.close()


async def test_a_grant_goes_its_whole_way_on_a_cluster(cluster):
    store = DeviceStore(cluster, key=b"k", rules=DeviceRules())
    codes = await store.create(client_id="tv", scopes=frozenset({"read"}), source="here")
    assert (await store.poll(codes.device_code, client_id="tv")).state == "pending"
    asking = Asking(
        user_code=codes.user_code,
        user_id=uuid4(),
        source="there",
        action="approve",
        grant_id=uuid4(),
        scopes=frozenset({"read"}),
    )
    waiting = await store.ask(asking)
    assert isinstance(waiting, Waiting)
    await RedisHints(cluster).decided(waiting.device_hash)
    granted = await store.poll(codes.device_code, client_id="tv")
    assert (granted.state, set(granted.scopes)) == ("granted", {"read"})
    assert granted.grant_id is not None
    assert granted.grant_id == asking.grant_id
    await store.settle(codes.device_code, granted.grant_id, issued=True)
    spent = await store.poll(codes.device_code, client_id="tv")
    assert (spent.state, spent.issued) == ("spent", True)
    assert await store.client_of(codes.device_code) == "tv"


async def test_second_steps_work_on_a_cluster(cluster):
    steps, user_id = SecondSteps(cluster), uuid4()
    step = await steps.start(user_id, browser="b")
    assert await steps.try_once(step, browser="another") is None
    assert await steps.try_once(step, browser="b") == user_id
    await steps.end(step, browser="b")
    assert await steps.try_once(step, browser="b") is None
