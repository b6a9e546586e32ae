"""Half an hour of churn: what the operator keeps in memory, in sockets and in its queues must not grow with it.

``MEDIA_GATEWAY_TEST_SOAK_MINUTES`` makes it shorter or longer.
"""

import asyncio
import itertools
import os
import random
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
import pytest

from media_gateway_operator.kube.kinds import INGESTION_JOB, JOB
from tests.support.control_plane import ControlPlane
from tests.support.kube_api import ApiError
from tests.support.operator_process import OperatorProcess
from tests.support.operator_scenario import condition_of, gateway, ingestion_job, servers_secret
from tests.support.operator_stage import Stage
from tests.support.waiting import eventually

MINUTES = float(os.environ.get("MEDIA_GATEWAY_TEST_SOAK_MINUTES", "30"))
PER_SECOND = 20
KEPT = 400
"""Jobs alive at a time; each change creates, edits or deletes one."""
SAMPLE_S = 5.0
GROWTH_PERCENT = 5.0
"""Of memory, from the second third's median to the last's."""

pytestmark = [pytest.mark.cluster, pytest.mark.soak, pytest.mark.timeout(int(MINUTES * 60) + 300)]


@dataclass
class Churn:
    """Twenty changes a second, chosen by chance, the same in every run."""

    stage: Stage
    names: list[str] = field(default_factory=list)
    made: int = 0
    failed: int = 0
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _chance: random.Random = field(default_factory=lambda: random.Random(0))

    async def run(self) -> None:
        """Until cancelled."""
        began = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
            try:
                await self._change()
            except (ApiError, aiohttp.ClientError, OSError, TimeoutError):
                self.failed += (
                    1  # the API server is being restarted, or a creation before was refused for that
                )
            else:
                self.made += 1

    async def _change(self) -> None:
        api, namespace = self.stage.api, self.stage.namespace
        if len(self.names) < KEPT // 2 or (len(self.names) < KEPT and self._chance.random() < 0.4):
            # A lost answer leaves it open whether the job is there: it stays on the list until a deletion has succeeded.
            self.names.append(f"churn-{next(self._numbers)}")
            await api.create(ingestion_job(namespace, self.names[-1], suspend=True))
            return
        name = self._chance.choice(self.names)
        if self._chance.random() < 0.5:
            await api.delete(INGESTION_JOB, namespace, name)
            self.names.remove(name)
        else:
            spec = {"spec": {"backoffLimit": self._chance.randrange(20)}}
            await api.patch(INGESTION_JOB, namespace, name, spec)


@dataclass
class Readings:
    """What the operator holds, every few seconds."""

    operator: OperatorProcess
    resident_mb: list[float] = field(default_factory=list)
    sockets: list[int] = field(default_factory=list)
    inner: list[dict[str, float]] = field(default_factory=list)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_S)
            with suppress(aiohttp.ClientError, OSError):
                metrics = await self.operator.metrics()
                self.resident_mb.append(self.operator.resident_mb())
                self.sockets.append(self.operator.sockets())
                self.inner.append(
                    {
                        name: value
                        for name, value in metrics.items()
                        if name.endswith(SIZES) and "{" not in name
                    }
                )

    def growth_percent(self) -> float:
        """Of memory between the second and the last third: the first lists after restarts leave their marks in the first."""
        third = len(self.resident_mb) // 3
        early, late = self.resident_mb[third : 2 * third], self.resident_mb[-third:]
        return (statistics.median(late) / statistics.median(early) - 1) * 100


SIZES = ("_queue_length", "_store_objects", "_remembered_keys")


@asynccontextmanager
async def beside(*work) -> AsyncIterator[None]:
    """Run things beside the block; what one of them raises is raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def test_nothing_grows_with_churn(own_stage: Stage, control_plane: ControlPlane, record_property):
    # A lease that outlives the restarts of the API server; what is tested here is the process that stays.
    own_stage.settings = {"lease_duration_s": "60", "lease_renew_deadline_s": "50", "lease_retry_s": "2"}
    chance = random.Random(1)

    async def restart_at_random() -> None:
        while True:
            await asyncio.sleep(chance.uniform(60, 240) * min(1.0, MINUTES / 30))
            await control_plane.restart_api_server()

    async with own_stage.operator() as operator:
        operator_pid = operator.process.pid
        await own_stage.api.create(servers_secret(own_stage.namespace))
        await own_stage.api.create(gateway(own_stage.namespace))
        churn, readings = Churn(own_stage), Readings(operator)
        async with beside(churn.run(), readings.run(), restart_at_random()):
            began = time.monotonic()
            while time.monotonic() - began < MINUTES * 60:
                await asyncio.sleep(1)
                assert operator.running, operator.log()[-3000:]
                own_stage.proxy.seen.clear()
        await _consistent(own_stage, churn)
        record_property("soak: changes", churn.made)
        record_property(
            "soak: resident MB", f"{min(readings.resident_mb):.0f} to {max(readings.resident_mb):.0f}"
        )
        record_property("soak: growth of memory", f"{readings.growth_percent():.1f} %")
        record_property("soak: sockets", f"{min(readings.sockets)} to {max(readings.sockets)}")
        assert operator.process.pid == operator_pid
        assert operator.complaints() == []
        assert readings.growth_percent() < GROWTH_PERCENT, [round(one) for one in readings.resident_mb]
        assert max(readings.sockets[-10:]) <= max(readings.sockets[: len(readings.sockets) // 2]) + 5
        for resource in list(churn.names):
            await own_stage.api.delete(INGESTION_JOB, own_stage.namespace, resource)
        await _forgotten(operator)


async def _consistent(stage: Stage, churn: Churn) -> None:
    """Every job that is left is answered for its last spec, and has exactly one child."""

    async def consistent() -> bool:
        resources = await stage.api.list(INGESTION_JOB, stage.namespace)
        assert {one["metadata"]["name"] for one in resources} <= set(churn.names)
        late = [one["metadata"]["name"] for one in resources if condition_of(one, "Accepted") != "True"]
        assert late == []
        owners = [
            job["metadata"]["ownerReferences"][0]["uid"]
            for job in await stage.api.list(JOB, stage.namespace)
            if job["metadata"]["ownerReferences"][0]["kind"] == "IngestionJob"
        ]
        assert sorted(owners) == sorted(one["metadata"]["uid"] for one in resources)
        return True

    await eventually(consistent, timeout_s=60, interval_s=0.5)


async def _forgotten(operator: OperatorProcess) -> None:
    """What was kept of deleted jobs is gone: the gateway and its children are left."""

    async def forgotten() -> bool:
        metrics = await operator.metrics()
        assert metrics["mgw_operator_store_objects"] < 40, metrics["mgw_operator_store_objects"]
        assert metrics["mgw_operator_remembered_keys"] < 5, metrics["mgw_operator_remembered_keys"]
        return True

    await eventually(forgotten, timeout_s=60, interval_s=0.5)
