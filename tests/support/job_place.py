"""A namespace of a real API server in which a test plays the kubelet: it says when a job's pod gets ready and how it ends."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from media_gateway_operator.kube.kinds import (
    CRON_JOB,
    EVENT,
    INGESTION_JOB,
    JOB,
    LABEL_JOB,
    MEDIA_GATEWAY,
    POD,
    Object,
)
from tests.support.kube_api import KubeApi
from tests.support.operator_process import OperatorProcess
from tests.support.operator_scenario import ingestion_job
from tests.support.waiting import eventually


@dataclass
class Place:
    """A namespace, an operator that works in it, and the hands of a kubelet."""

    api: KubeApi
    name: str
    operator: OperatorProcess

    async def submit(self, name: str, **spec: Any) -> None:
        await self.api.create(ingestion_job(self.name, name, **spec))

    async def change(self, name: str, **spec: Any) -> None:
        await self.api.patch(INGESTION_JOB, self.name, name, {"spec": spec})

    async def status(self, name: str) -> Object:
        found = await self.api.get(INGESTION_JOB, self.name, name)
        return (found or {}).get("status") or {}

    async def until(self, name: str, condition: str, status: str, reason: str | None = None) -> Object:
        """Wait for a condition; gives it."""

        async def holds() -> Object | None:
            known = (await self.status(name)).get("conditions") or ()
            one: Object = next((one for one in known if one["type"] == condition), {})
            assert (one.get("status"), reason and one.get("reason")) == (status, reason), known
            return one

        found = await eventually(holds, timeout_s=40, interval_s=0.05)
        assert found is not None
        return found

    async def jobs(self, name: str) -> list[Object]:
        return await self.api.list(JOB, self.name, selector=f"{LABEL_JOB}={name}")

    async def job(self, name: str) -> Object:
        """The only Job, once it is there."""

        async def only() -> Object | None:
            found = await self.jobs(name)
            return found[0] if len(found) == 1 else None

        found = await eventually(only, timeout_s=40)
        assert found is not None
        return found

    async def pod(self, name: str, phase: str = "Pending") -> Object:
        """The pod of a job that is in a phase and not being deleted, once it is there."""

        async def there() -> Object | None:
            for pod in await self.api.list(POD, self.name, selector=f"{LABEL_JOB}={name}"):
                if pod["status"]["phase"] == phase and "deletionTimestamp" not in pod["metadata"]:
                    return pod
            return None

        found = await eventually(there, timeout_s=40)
        assert found is not None
        return found

    async def set_pod(self, pod: Object, **status: Any) -> None:
        await self.api.patch(
            POD, self.name, pod["metadata"]["name"], {"status": status}, subresource="status"
        )

    async def starts(self, name: str) -> Object:
        """Let the pending pod be ready."""
        pod = await self.pod(name)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod["metadata"]["name"]},
            "target": {"kind": "Node", "name": "somewhere"},
        }
        path = f"/api/v1/namespaces/{self.name}/pods/{pod['metadata']['name']}"
        await self.api.request("POST", f"{path}/binding", binding)
        await self.set_pod(pod, phase="Running", conditions=[{"type": "Ready", "status": "True"}])
        return pod

    async def ends(self, name: str, code: int, log: str = "") -> None:
        """Let the running pod end."""
        pod = await self.pod(name, "Running")
        ended = {
            "exitCode": code,
            "message": log,
            "reason": "Error" if code else "Completed",
            "finishedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        container = {
            "name": "ingestion", "image": "x", "imageID": "x", "ready": False, "restartCount": 0,
            "state": {"terminated": ended},
        }  # fmt: skip
        await self.set_pod(
            pod,
            phase="Failed" if code else "Succeeded",
            conditions=[{"type": "Ready", "status": "False"}],
            containerStatuses=[container],
        )

    async def gone(self, pod: Object) -> None:
        """Let a pod that was told to stop be gone."""
        name = pod["metadata"]["name"]

        async def told() -> bool:
            found = await self.api.get(POD, self.name, name)
            return found is None or "deletionTimestamp" in found["metadata"]

        await eventually(told, timeout_s=40)
        await self.api.request(
            "DELETE", f"/api/v1/namespaces/{self.name}/pods/{name}", {"gracePeriodSeconds": 0}
        )

    async def runs_now(self, name: str, run: str) -> None:
        """Start a run as the controller would at its time, so that nobody waits for it."""
        cron = await self.api.get(CRON_JOB, self.name, name)
        assert cron is not None
        template = cron["spec"]["jobTemplate"]
        uid = cron["metadata"]["uid"]
        owner = {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "name": name,
            "uid": uid,
            "controller": True,
        }
        metadata = {
            **template["metadata"],
            "name": run,
            "namespace": self.name,
            "ownerReferences": [owner],
        }
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}
        await self.api.create(job)

    async def events(self, name: str) -> set[str]:
        found = await self.api.list(EVENT, self.name)
        return {one["reason"] for one in found if one["involvedObject"]["name"] == name}

    async def migrated(self) -> None:
        """Let the gateway's migration succeed, and wait until that is known."""

        async def pending() -> Object | None:
            found = [
                pod
                for pod in await self.api.list(POD, self.name)
                if LABEL_JOB not in pod["metadata"]["labels"]
            ]
            return found[0] if found else None

        pod = await eventually(pending, timeout_s=40)
        assert pod is not None
        await self.set_pod(pod, phase="Succeeded")

        async def known() -> bool:
            found = await self.api.get(MEDIA_GATEWAY, self.name, "main")
            conditions = ((found or {}).get("status") or {}).get("conditions") or ()
            return any(one["type"] == "Migrated" and one["status"] == "True" for one in conditions)

        await eventually(known, timeout_s=40)
