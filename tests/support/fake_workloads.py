"""Jobs and Deployments that get on without a kubelet: their status is written as the controllers would write it.

For API servers without those controllers, where a test wants to say which Job is done and when.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp

from media_gateway_operator.kube.kinds import DEPLOYMENT, JOB, LABEL_JOB, Object, ResourceKind
from tests.support.kube_api import ApiError, KubeApi


class FakeWorkloads:
    """A task that looks at one namespace ten times a second; an asynchronous context manager.

    Jobs of IngestionJobs run until `finish` names them; every other Job (migrations) is complete at once; Deployments
    have all their pods ready at once.
    """

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._finished: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def finish(self, ingestion_job: str) -> None:
        """Let the Job of an IngestionJob be complete."""
        self._finished.add(ingestion_job)

    async def _run(self) -> None:
        while True:
            # A server that is away for a moment, or an object that changed meanwhile: the next round is soon enough.
            with suppress(aiohttp.ClientError, ApiError, OSError, TimeoutError):
                for job in await self._api.list(JOB, self._namespace):
                    await self._settle(JOB, job, self._job(job))
                for deployment in await self._api.list(DEPLOYMENT, self._namespace):
                    await self._settle(DEPLOYMENT, deployment, _deployment(deployment))
            await asyncio.sleep(0.1)

    async def _settle(self, kind: ResourceKind, found: Object, status: Object | None) -> None:
        if status is None:
            return
        name = found["metadata"]["name"]
        body = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "status": status}
        await self._api.patch(kind, self._namespace, name, body, subresource="status", manager="controllers")

    def _job(self, job: Object) -> Object | None:
        status = job.get("status", {})
        types = {one["type"]: one["status"] for one in status.get("conditions", ())}
        if types.get("Complete") == "True" or types.get("Failed") == "True":
            return None
        if job["spec"].get("suspend"):
            return None if types.get("Suspended") == "True" else _suspended()
        owner = job["metadata"].get("labels", {}).get(LABEL_JOB)
        if owner is None or owner in self._finished:
            return _complete(status)
        if status.get("active"):
            return None
        return {
            "startTime": _now(),
            "active": 1,
            "ready": 1,
            "conditions": [_condition("Suspended", "False")],
        }


def _suspended() -> Object:
    # A Job that is suspended has no start time; null takes it away in a merge patch.
    return {"active": 0, "ready": 0, "startTime": None, "conditions": [_condition("Suspended", "True")]}


def _complete(status: Object) -> Object:
    return {
        "startTime": status.get("startTime") or _now(),
        "completionTime": _now(),
        "active": 0,
        "ready": 0,
        "succeeded": 1,
        "conditions": [_condition("SuccessCriteriaMet", "True"), _condition("Complete", "True")],
    }


def _deployment(deployment: Object) -> Object | None:
    generation, replicas = deployment["metadata"]["generation"], deployment["spec"]["replicas"]
    status = deployment.get("status", {})
    if status.get("observedGeneration") == generation and status.get("readyReplicas", 0) == replicas:
        return None
    return {
        "observedGeneration": generation,
        **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas),
        "conditions": [
            _condition("Available", "True", "MinimumReplicasAvailable"),
            _condition("Progressing", "True", "NewReplicaSetAvailable"),
        ],
    }


def _condition(type_: str, status: str, reason: str = "Test") -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": "",
        "lastTransitionTime": _now(),
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
