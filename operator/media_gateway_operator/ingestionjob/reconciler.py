"""IngestionJob: from what is observed to a plan. Called by the engine's controller of the kind.

A job that has ended is left alone, whatever becomes of its children; everything else is in `single` and `recurring`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from media_gateway_operator.engine.plan import Cluster, Plan, Snapshot
from media_gateway_operator.ingestionjob import recurring, single
from media_gateway_operator.ingestionjob.notes import notes
from media_gateway_operator.ingestionjob.observed import Observed, Settings, observe
from media_gateway_operator.ingestionjob.outcome import parse_time
from media_gateway_operator.ingestionjob.status import before, final, is_true, own, remaining_s
from media_gateway_operator.kube.kinds import INGESTION_JOB, MEDIA_GATEWAY, Object, Ref


class IngestionJobReconciler:
    """What an IngestionJob means."""

    kind = INGESTION_JOB

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._gateways: dict[Ref, tuple[Any, ...]] = {}
        """What jobs depend on of each gateway, so that its other changes don't mean reading all of them."""

    async def observe(self, snapshot: Snapshot, cluster: Cluster) -> Observed:
        """Read its gateway, its Secrets' keys, its Jobs and, where something is wrong, its pods."""
        return await observe(snapshot, cluster, self._settings)

    def desired(self, observed: Observed) -> Plan:
        """The plan; pure."""
        known = own(before(observed.snapshot))
        if "deletionTimestamp" in observed.snapshot.resource["metadata"]:
            return Plan(status=known)
        if final(known):
            plan = _finished(observed)
        elif observed.work is not None and observed.spec.schedule is not None:
            plan = recurring.plan(observed)
        else:
            plan = single.plan(observed)
        if observed.paused:
            plan = replace(plan, objects=(), delete=())
        return replace(plan, notes=notes(known, plan.status))

    def interested(self, changed: Object, cluster: Cluster) -> Sequence[Ref]:
        """Jobs of a MediaGateway that wait for it, or whose next run starts with what it gives."""
        if changed["kind"] != MEDIA_GATEWAY.kind or not self._matters(changed, cluster):
            return ()
        metadata = changed["metadata"]
        return [
            Ref.of(job)
            for job in cluster.list(INGESTION_JOB, metadata["namespace"])
            if _depends(job, metadata["name"])
        ]

    def _matters(self, gateway: Object, cluster: Cluster) -> bool:
        ref = Ref.of(gateway)
        known = self._gateways.pop(ref, None)
        if cluster.find(ref) is None:
            return True
        metadata, migrated = gateway["metadata"], is_true(gateway.get("status") or {}, "Migrated")
        self._gateways[ref] = (metadata["uid"], metadata.get("generation"), migrated)
        return self._gateways[ref] != known


def _depends(job: Object, gateway: str) -> bool:
    status = job.get("status") or {}
    named = (job["spec"].get("gatewayRef") or {}).get("name", gateway)
    if named != gateway or final(status):
        return False
    return "schedule" in job["spec"] or not is_true(status, "Running")


def _finished(seen: Observed) -> Plan:
    """What is left of a job that has ended: its status, and the time after which it is deleted."""
    known = own(before(seen.snapshot))
    generation = seen.snapshot.resource["metadata"].get("generation", 1)
    # An end holds for every later spec; kubectl wait passes over a condition that speaks of an earlier one.
    conditions = [{**one, "observedGeneration": generation} for one in known.get("conditions", ())]
    status = {**known, "observedGeneration": generation, "conditions": conditions}
    delete = single.remains(seen)
    ttl_s = seen.snapshot.resource["spec"].get("ttlSecondsAfterFinished")
    ended = parse_time(known.get("completionTime"))
    if ttl_s is None or ended is None:
        return Plan(delete=delete, status=status)
    left_s = remaining_s(seen.snapshot, ended, ttl_s)
    if left_s > 0:
        return Plan(delete=delete, status=status, requeue_after_s=left_s)
    return Plan(delete=[*delete, Ref.of(seen.snapshot.resource)], status=status)
