"""What the benchmark of the operator measures with: a control plane, a bare client, and clocks on statuses.

The bare client makes the very writes that a user and the operator make together for one IngestionJob, with nothing of the
operator's in the way: that is the floor.
"""

import asyncio
import copy
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from media_gateway_operator.kube.kinds import INGESTION_JOB, JOB, MANAGER, MEDIA_GATEWAY, Object
from tests.support.fake_workloads import FakeWorkloads
from tests.support.kube_api import NAMESPACE, ApiError, KubeApi
from tests.support.operator_scenario import (
    condition_of,
    gateway,
    ingestion_job,
    namespace_named,
    servers_secret,
)
from tests.support.waiting import eventually

IN_FLIGHT = 32

_WRITES = re.compile(
    r'^apiserver_request_total\{[^}]*resource="(?:ingestionjobs|mediagateways|jobs|cronjobs|deployments|services|events|'
    r'networkpolicies|poddisruptionbudgets|statefulsets)"[^}]*verb="(?:POST|PUT|PATCH|APPLY|DELETE|DELETECOLLECTION)"'
    r"[^}]*\} ([0-9.e+]+)",
    re.MULTILINE,
)

Key = tuple[str, str]


async def writes_so_far(api: KubeApi) -> float:
    """Writes of the operator's kinds, Leases not among them, as the API server counts them."""
    return sum(float(value) for value in _WRITES.findall(await api.metrics()))


async def in_flight(work: Iterable[Callable[[], Awaitable[object]]], limit: int = IN_FLIGHT) -> None:
    """Run pieces of work, so many at once."""
    pieces = iter(work)

    async def worker() -> None:
        for piece in pieces:
            await piece()

    await asyncio.gather(*(worker() for _ in range(limit)))


async def prepare(api: KubeApi, namespaces: Sequence[str]) -> None:
    """Namespaces, each with a gateway that is ready; the operator must be running."""

    async def one(name: str) -> None:
        await api.create(namespace_named(name))
        await api.create(servers_secret(name))
        await api.create(gateway(name))
        async with FakeWorkloads(api, name):

            async def ready() -> bool:
                return condition_of(await api.get(MEDIA_GATEWAY, name, "main"), "Ready") == "True"

            await eventually(ready, timeout_s=60, interval_s=0.2)

    await asyncio.gather(*map(one, namespaces))


async def create_jobs(api: KubeApi, namespace: str, count: int, prefix: str = "job") -> None:
    """Suspended IngestionJobs, 32 requests in flight."""
    await in_flight(
        lambda n=n: api.create(ingestion_job(namespace, f"{prefix}-{n:05}", suspend=True))  # type: ignore[misc]
        for n in range(count)
    )


async def remove(api: KubeApi, namespace: str) -> None:
    """Delete a namespace and wait until it is gone."""
    await api.delete(NAMESPACE, None, namespace)

    async def gone() -> bool:
        return await api.get(NAMESPACE, None, namespace) is None

    await eventually(gone, timeout_s=180, interval_s=0.5)


@dataclass
class Pattern:
    """The writes for one IngestionJob, copied from what the operator made of a first one."""

    child: Object
    status: Object
    name: str

    @classmethod
    async def of(cls, api: KubeApi, namespace: str, name: str) -> "Pattern":
        """Copy the child and the status of a job that the operator has accepted."""
        resource = await api.get(INGESTION_JOB, namespace, name)
        (child,) = [
            one for one in await api.list(JOB, namespace) if one["metadata"]["name"].startswith(f"{name}-")
        ]
        assert resource is not None
        mine = next(
            one["fieldsV1"] for one in child["metadata"]["managedFields"] if one["manager"] == MANAGER
        )
        copied = _owned(child, mine)
        copied["metadata"]["name"] = child["metadata"]["name"]
        return cls(copied, resource["status"], name)

    def child_for(self, resource: Object) -> Object:
        """The child of another IngestionJob."""
        child = copy.deepcopy(self.child)
        meta = resource["metadata"]
        child["metadata"] |= {
            "name": child["metadata"]["name"].replace(self.name, meta["name"], 1),
            "namespace": meta["namespace"],
        }
        (owner,) = child["metadata"]["ownerReferences"]
        owner |= {"name": meta["name"], "uid": meta["uid"]}
        return child

    def status_for(self, resource: Object) -> Object:
        """Its status."""
        meta = resource["metadata"]
        return {
            "apiVersion": resource["apiVersion"],
            "kind": resource["kind"],
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "status": self.status,
        }


def _owned(value: Any, fields: Object) -> Any:
    """The part of an object that one manager's ``fieldsV1`` names."""
    if not isinstance(value, dict):
        return value
    kept: Object = {key: value[key] for key in ("apiVersion", "kind") if key in value}
    for path, inner in fields.items():
        name = path.removeprefix("f:")
        if path.startswith("f:") and name in value:
            part = value[name]
            kept[name] = part if isinstance(part, list) or not inner else _owned(part, inner)
    return kept


async def floor(api: KubeApi, namespace: str, count: int, pattern: Pattern) -> float:
    """Seconds for the bare writes: create the resource, apply its child, apply its status."""
    await api.create(namespace_named(namespace))

    async def one(number: int) -> None:
        resource = await api.create(ingestion_job(namespace, f"job-{number:05}", suspend=True))
        await api.apply(pattern.child_for(resource), manager=MANAGER)
        await api.apply(pattern.status_for(resource), subresource="status", manager=MANAGER)

    began = time.perf_counter()
    await in_flight(lambda n=n: one(n) for n in range(count))  # type: ignore[misc]
    return time.perf_counter() - began


@dataclass
class Clocks:
    """When IngestionJobs got their first status, and which have a child, seen by two watches."""

    api: KubeApi
    answered: dict[Key, float] = field(default_factory=dict)
    accepted: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    children: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @classmethod
    @asynccontextmanager
    async def watching(cls, api: KubeApi) -> AsyncIterator["Clocks"]:
        """Watch until the block ends."""
        clocks = cls(api)
        tasks = [asyncio.create_task(clocks._resources()), asyncio.create_task(clocks._jobs())]
        try:
            yield clocks
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    async def all_accepted(self, namespace: str, count: int, timeout_s: float = 300) -> None:
        """Wait until so many of a namespace are accepted and have a child."""

        def done() -> bool:
            return min(len(self.accepted[namespace]), len(self.children[namespace])) >= count

        await self._until(done, timeout_s)

    async def first_status(self, namespace: str, name: str, timeout_s: float = 60) -> float:
        """Wait for the first status of a job; gives when it came."""
        await self._until(lambda: (namespace, name) in self.answered, timeout_s)
        return self.answered[namespace, name]

    async def _until(self, done: Callable[[], bool], timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(done)

    async def _resources(self) -> None:
        async for _, resource in self._events(INGESTION_JOB):
            namespace, name = resource["metadata"]["namespace"], resource["metadata"]["name"]
            if resource.get("status", {}).get("conditions"):
                self.answered.setdefault((namespace, name), time.perf_counter())
            if condition_of(resource, "Accepted") == "True":
                self.accepted[namespace].add(name)
            async with self._changed:
                self._changed.notify_all()

    async def _jobs(self) -> None:
        async for _, job in self._events(JOB):
            if any(
                owner["kind"] == INGESTION_JOB.kind for owner in job["metadata"].get("ownerReferences", ())
            ):
                self.children[job["metadata"]["namespace"]].add(job["metadata"]["name"])
            async with self._changed:
                self._changed.notify_all()

    async def _events(self, kind: Any) -> AsyncIterator[tuple[str, Object]]:
        while True:
            # The server ends each watch after a while, and refuses one while it gets to know a new kind. Seeing
            # everything again does no harm here.
            with suppress(ApiError, aiohttp.ClientError):
                async for event in self.api.watch(kind):
                    yield event
            await asyncio.sleep(0.2)
