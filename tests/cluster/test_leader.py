"""Two operators, one leader: whoever leads, the other follows soon, and never do both write."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from media_gateway_operator.kube.kinds import INGESTION_JOB
from tests.support.kube_api import Upstream
from tests.support.kube_exchange import Exchange
from tests.support.kube_faults import on_writes, slow
from tests.support.kube_proxy import FaultProxy
from tests.support.operator_process import SHORT_LEASE, OperatorProcess
from tests.support.operator_scenario import ingestion_job
from tests.support.operator_stage import Stage
from tests.support.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

DEFAULT_LEASE: dict[str, str] = {}

FAILOVER_S = 20.0


@dataclass
class Pair:
    """The leader, the one that waits, and each one's way to the API server."""

    stage: Stage
    leader: OperatorProcess
    standby: OperatorProcess
    ways: dict[str, FaultProxy]

    def writes(self, operator: OperatorProcess, since: int = 0) -> list[str]:
        """What an operator wrote, its Lease left out."""
        return [f"{one.verb} {one.path}" for one in self.ways[operator.identity].writes(since)]

    def seen(self, operator: OperatorProcess) -> int:
        """How many requests an operator has made."""
        return len(self.ways[operator.identity].seen)

    async def create(self, name: str) -> None:
        """A job for whoever leads."""
        await self.stage.api.create(ingestion_job(self.stage.namespace, name, suspend=True))

    async def answered(self, name: str, timeout_s: float = 60.0) -> float:
        """Wait until somebody has written the status of a job; gives the seconds that took."""
        began = time.monotonic()

        async def status() -> bool:
            found = await self.stage.api.get(INGESTION_JOB, self.stage.namespace, name)
            return bool(found and found.get("status", {}).get("conditions"))

        await eventually(status, timeout_s=timeout_s, interval_s=0.05)
        return time.monotonic() - began


@asynccontextmanager
async def two_operators(stage: Stage, lease: dict[str, str]) -> AsyncIterator[Pair]:
    stage.settings = {"backoff_base_s": "0.1", "backoff_max_s": "1", **lease}
    async with AsyncExitStack() as stack:
        ways, operators = {}, []
        for identity in ("operator-a", "operator-b"):
            way = await stack.enter_async_context(FaultProxy(Upstream.of(stage.api.kubeconfig)))
            ways[identity] = way
            operators.append(await stack.enter_async_context(stage.operator(identity, proxy=way)))
            if len(operators) == 1:

                async def leads() -> bool:
                    return await operators[0].leads(stage.api)

                await eventually(leads, timeout_s=30)
        pair = Pair(stage, operators[0], operators[1], ways)
        await pair.create("first")
        await pair.answered("first")
        yield pair


async def test_the_standby_is_ready_and_writes_nothing(own_stage: Stage):
    async with two_operators(own_stage, DEFAULT_LEASE) as pair:
        assert await pair.standby.status_of("/readyz") == 200
        assert await pair.standby.status_of("/healthz") == 200
        assert pair.writes(pair.standby) == []
        assert pair.writes(pair.leader) != []
        assert (await pair.leader.metrics())["mgw_operator_lease_held"] == 1
        assert (await pair.standby.metrics())["mgw_operator_lease_held"] == 0


async def test_the_standby_knows_everything_before_it_leads(own_stage: Stage):
    async with two_operators(own_stage, DEFAULT_LEASE) as pair:
        way = pair.ways[pair.standby.identity]
        # One watch for each kind, and what it lists then has come.
        await eventually(lambda: len(way.watches) == len(pair.ways[pair.leader.identity].watches))
        await eventually(
            lambda: any("synced" in line for line in pair.standby.log_file.read_text().splitlines())
        )
        number = pair.seen(pair.standby)
        await pair.leader.end()
        await pair.create("second")
        await pair.answered("second")
        lists = [one.path for one in way.seen[number:] if one.verb == "GET" and "limit=" in one.query]
        assert lists == []


async def test_a_killed_leader_is_followed_with_default_durations(own_stage: Stage, record_property):
    async with two_operators(own_stage, DEFAULT_LEASE) as pair:
        await pair.leader.kill()
        await pair.create("second")
        took = await pair.answered("second")
        record_property("killed leader → the other acts", f"{took:.1f} s")
        assert took <= FAILOVER_S
        assert pair.writes(pair.standby) != []


async def test_a_frozen_leader_is_followed_and_writes_nothing_when_it_wakes_up(
    own_stage: Stage, record_property
):
    async with two_operators(own_stage, DEFAULT_LEASE) as pair:
        pair.leader.freeze()
        await pair.create("second")
        took = await pair.answered("second")
        record_property("frozen leader → the other acts", f"{took:.1f} s")
        assert took <= FAILOVER_S
        number = pair.seen(pair.leader)
        pair.leader.thaw()
        assert await pair.leader.exited(timeout_s=15) != 0
        assert pair.ways[pair.leader.identity].writes(number) == []


@pytest.mark.parametrize("nth", range(4))
async def test_a_leader_frozen_amid_its_writes_makes_no_more_of_them(own_stage: Stage, nth: int):
    """Frozen while an answer is under way: when it wakes up it knows how to go on, and may not."""
    async with two_operators(own_stage, dict(SHORT_LEASE)) as pair:
        way = pair.ways[pair.leader.identity]
        frozen = asyncio.Event()

        async def freeze(exchange: Exchange):
            pair.leader.freeze()
            frozen.set()
            return await exchange.forward()

        way.inject(on_writes(freeze, r"/(jobs|ingestionjobs)/", skip=nth, times=1))
        way.inject(on_writes(slow(0.3)))  # so that many are under way at that moment
        for n in range(30):
            await pair.create(f"burst-{n}")
        await asyncio.wait_for(frozen.wait(), 20)
        for n in range(30):
            await pair.answered(f"burst-{n}", timeout_s=20)
        number = pair.seen(pair.leader)
        pair.leader.thaw()
        assert await pair.leader.exited(timeout_s=15) != 0
        assert [f"{one.verb} {one.path}" for one in way.seen[number:] if one.write] == []


async def test_a_leader_that_loses_touch_with_the_api_server_stops_before_the_other_starts(own_stage: Stage):
    async with two_operators(own_stage, dict(SHORT_LEASE)) as pair:
        async with pair.ways[pair.leader.identity].outage():
            await pair.create("second")
            assert await pair.leader.exited(timeout_s=10) != 0
            ended = time.monotonic()
            await pair.answered("second", timeout_s=20)
        first = pair.ways[pair.standby.identity].writes()[0]
        # The process must be gone, not only promise to write nothing; the lease is longer than its deadline for that.
        assert first.at > ended - 0.2


async def test_a_restart_hands_the_lease_over_at_once(own_stage: Stage, record_property):
    async with two_operators(own_stage, DEFAULT_LEASE) as pair:
        pair.leader.process.terminate()
        await pair.create("second")
        took = await pair.answered("second")
        assert await pair.leader.exited(timeout_s=10) == 0
        record_property("ended leader → the other acts", f"{took:.1f} s")
        # One retry of the other, its first list, and room for a slow machine; far from the lease's fifteen seconds.
        assert took <= 6


async def test_writes_go_on_in_order_after_a_rolling_restart(own_stage: Stage):
    async with two_operators(own_stage, DEFAULT_LEASE) as pair:
        number = pair.seen(pair.leader)
        assert await pair.leader.end(timeout_s=10) == 0
        await pair.create("second")
        await pair.answered("second")
        last = max((one.at for one in pair.ways[pair.leader.identity].writes(number)), default=0.0)
        first = min(one.at for one in pair.ways[pair.standby.identity].writes())
        assert last < first
