"""What is known of an IngestionJob before anything is decided: its spec, its gateway, its Jobs, and pods where needed.

Called by `reconciler`; reads, and judges only what doesn't depend on how far the job is: whether it can be carried out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Final

import orjson
from pydantic import ValidationError

from media_gateway.core.domain.specs import IngestionJobSpec, parse_manifest
from media_gateway.core.errors import InvalidInputError
from media_gateway_operator.crds.gateway import MediaGatewaySpec
from media_gateway_operator.engine.plan import Cluster, SecretKeys, Snapshot
from media_gateway_operator.ingestionjob import reasons, schedule
from media_gateway_operator.ingestionjob.manifests import Work, annotations_of, earlier_attempts
from media_gateway_operator.ingestionjob.outcome import JobState
from media_gateway_operator.ingestionjob.pods import Basis, secret_refs
from media_gateway_operator.ingestionjob.status import (
    before,
    final,
    has_run,
    is_true,
    remaining_s,
)
from media_gateway_operator.kube.kinds import (
    API_VERSION,
    CRON_JOB,
    INGESTION_JOB,
    JOB,
    LABEL_JOB,
    MEDIA_GATEWAY,
    PAUSED,
    Object,
)
from media_gateway_operator.kube.store import controller_of
from media_gateway_operator.mediagateway.environment import Release

MANIFEST_LIMIT_BYTES: Final = 200 * 1024
"""Most that a pod's annotations may be together; Kubernetes refuses 256 KiB."""

ASK_FOR_PODS_AFTER_S: Final = 10
"""How long a started Job's pods may take before it is asked what they wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the process decides for all jobs.

    Attributes
    ----------
    progress_address : str | None
        Where pods report to; None: they don't.
    stalled_after_s : int
        How long a running job may report nothing new.
    """

    release: Release
    progress_address: str | None = None
    stalled_after_s: int = 300


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a job can't be carried out as it is."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Run:
    """A Job: as it is stored, and what matters of it."""

    live: Object
    state: JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Input of the decision.

    Attributes
    ----------
    work : Work | None
        None if the spec can't be read; ``refusal`` says why.
    basis : Basis | None
        What the gateway gives; None with a refusal.
    migrated : bool
        Whether the gateway's database has the schema of its release.
    own : Sequence[Run]
        Jobs that the IngestionJob owns.
    cron : Object | None
        Its CronJob.
    runs : Sequence[Run]
        Jobs of the CronJob.
    pods : Sequence[Object]
        Pods of the job, where they had to be asked.
    """

    snapshot: Snapshot
    settings: Settings
    work: Work | None = None
    refusal: Refusal | None = None
    basis: Basis | None = None
    migrated: bool = False
    own: Sequence[Run] = ()
    cron: Object | None = None
    runs: Sequence[Run] = ()
    pods: Sequence[Object] = field(default=(), repr=False)

    @property
    def spec(self) -> IngestionJobSpec:
        """The spec; only with ``work``."""
        assert self.work is not None
        return self.work.spec

    @property
    def current(self) -> Run | None:
        """The Job of a job without schedule: that of the present spec, or the newest if the spec can't be read."""
        if self.work is not None:
            return next((run for run in self.own if run.state.name == self.work.job_name), None)
        return max(self.own, key=lambda run: run.state.created, default=None)

    @property
    def paused(self) -> bool:
        """Whether a person keeps the operator from changing anything."""
        return annotations_of(self.snapshot.resource).get(PAUSED) == "true"

    @property
    def attempts_known(self) -> int:
        """Attempts that the status already tells of."""
        return int(before(self.snapshot).get("attempt") or 0)


async def observe(snapshot: Snapshot, cluster: Cluster, settings: Settings) -> Observed:
    """Gather what the decision needs."""
    own, cron, runs = _family(snapshot)
    seen = Observed(snapshot=snapshot, settings=settings, own=own, cron=cron, runs=runs)
    if final(before(snapshot)) or "deletionTimestamp" in snapshot.resource["metadata"]:
        return seen
    try:
        seen = replace(seen, work=work_of(snapshot.resource))
    except InvalidInputError as error:
        seen = replace(seen, refusal=Refusal(reasons.INVALID_SPEC, error.message))
    else:
        seen = await _with_references(seen, cluster)
    selector = _pods_wanted(seen)
    if selector is None:
        return seen
    return replace(seen, pods=await cluster.pods(snapshot.resource["metadata"]["namespace"], selector))


def work_of(resource: Object) -> Work:
    """What a resource's pods are to do.

    Raises
    ------
    InvalidInputError
        The spec can't be carried out; each line names a field.
    """
    metadata = resource["metadata"]
    head = {"apiVersion": API_VERSION, "kind": INGESTION_JOB.kind, "metadata": {"name": metadata["name"]}}
    work = Work.of(parse_manifest({**head, "spec": resource["spec"]}), metadata["namespace"])
    if work.spec.schedule is not None:
        try:
            schedule.check(work.spec.schedule, work.spec.time_zone or schedule.DEFAULT_ZONE)
        except schedule.ScheduleError as error:
            raise InvalidInputError(str(error)) from None
    file = work.spec.source.file
    if file is not None and file.pvc is None:
        raise InvalidInputError("spec.source.file.pvc: name the volume claim that holds the files")
    if file is not None and ".." in PurePosixPath(file.path).parts:
        raise InvalidInputError("spec.source.file.path: must stay inside of the volume, without '..'")
    return work


def _family(snapshot: Snapshot) -> tuple[Sequence[Run], Object | None, Sequence[Run]]:
    uid = snapshot.resource["metadata"]["uid"]
    own: list[Run] = []
    runs: list[Run] = []
    cron: Object | None = None
    for child in snapshot.children:
        direct = (controller_of(child) or {}).get("uid") == uid
        if child["kind"] == CRON_JOB.kind:
            cron = child
        elif child["kind"] == JOB.kind:
            (own if direct else runs).append(Run(child, JobState.of(child)))
    return own, cron, runs


async def _with_references(seen: Observed, cluster: Cluster) -> Observed:
    """The gateway, and what is wrong with what the job refers to."""
    namespace = seen.snapshot.resource["metadata"]["namespace"]
    found = _gateway(seen.spec, cluster.list(MEDIA_GATEWAY, namespace))
    if isinstance(found, Refusal):
        return replace(seen, refusal=found)
    assert seen.work is not None
    if seen.work.size > MANIFEST_LIMIT_BYTES:
        message = (
            f"spec: the manifest and spec.template.annotations are {seen.work.size} bytes together, more than "
            f"{MANIFEST_LIMIT_BYTES}; shorten spec.mapping"
        )
        return replace(seen, refusal=Refusal(reasons.MANIFEST_TOO_LARGE, message))
    current = seen.current
    # A pod that runs has its secrets; they are asked for again when one is to start.
    if seen.spec.schedule is not None or current is None or not current.state.running:
        for name, keys in secret_refs(seen.spec).items():
            if refusal := _wrong(name, keys, await cluster.secret_keys(namespace, name)):
                return replace(seen, refusal=refusal)
    name = found["metadata"]["name"]
    try:
        spec = _gateway_spec(orjson.dumps(found["spec"]))
    except ValidationError:
        message = f"spec.gatewayRef: MediaGateway {name} has fields that this operator can't read; see its conditions"
        return replace(seen, refusal=Refusal(reasons.INVALID_REFERENCE, message))
    settings = seen.settings
    basis = Basis(
        gateway=name, spec=spec, release=settings.release, progress_address=settings.progress_address
    )
    return replace(seen, basis=basis, migrated=is_true(found.get("status") or {}, "Migrated"))


@lru_cache(maxsize=64)
def _gateway_spec(body: bytes) -> MediaGatewaySpec:
    # Read once for all jobs of a gateway; half of the time of a look at a job went here.
    return MediaGatewaySpec.model_validate_json(body)


def _gateway(spec: IngestionJobSpec, there: Sequence[Object]) -> Object | Refusal:
    names = sorted(one["metadata"]["name"] for one in there)
    if spec.gateway_ref is not None:
        wanted = spec.gateway_ref.name
        for one in there:
            if one["metadata"]["name"] == wanted:
                return one
        message = f"spec.gatewayRef.name: there is no MediaGateway {wanted} in this namespace"
        return Refusal(reasons.INVALID_REFERENCE, message)
    if len(there) == 1:
        return there[0]
    if not names:
        message = "spec.gatewayRef: there is no MediaGateway in this namespace; create one"
    else:
        shown = ", ".join(names[:5])
        message = f"spec.gatewayRef: the namespace has {len(names)} MediaGateways ({shown}); name one"
    return Refusal(reasons.INVALID_REFERENCE, message)


def _wrong(name: str, keys: Sequence[str], there: SecretKeys | None) -> Refusal | None:
    if there is None:
        return Refusal(reasons.INVALID_REFERENCE, f"spec.source: there is no Secret {name} in this namespace")
    missing = [key for key in keys if key not in there.digests]
    if not missing:
        return None
    message = f"spec.source: the Secret {name} has no key {', '.join(missing)}"
    return Refusal(reasons.INVALID_REFERENCE, message)


def _pods_wanted(seen: Observed) -> str | None:
    """Selector of the pods that must be asked, if any: nothing is asked while all goes well."""
    name = seen.snapshot.resource["metadata"]["name"]
    if seen.work is not None and seen.spec.schedule is not None:
        newest = max(seen.runs, key=lambda run: (run.state.created, run.state.name), default=None)
        run = newest.state if newest else None
        told = (before(seen.snapshot).get("lastRun") or {}).get("name")
        wanted = run is not None and ((run.result == "Failed" and told != run.name) or waits(seen, run))
        return f"batch.kubernetes.io/job-name={run.name}" if wanted and run is not None else None
    current = seen.current
    state = current.state if current else None
    wanted = state is not None and (
        state.result == "Failed" or failed_anew(seen, state) or waits(seen, state)
    )
    return f"{LABEL_JOB}={name}" if wanted or _may_follow(seen, state) else None


def failed_anew(seen: Observed, job: JobState) -> bool:
    """Whether a Job has a failure that the status does not tell of yet."""
    return job.failed > 0 and attempt_of(seen, job) > seen.attempts_known


def attempt_of(seen: Observed, job: JobState) -> int:
    """Number of a Job's attempt, those of Jobs before it included."""
    live = next((run.live for run in seen.own if run.state.uid == job.uid), None)
    limit = seen.spec.backoff_limit if seen.work is not None else job.failed
    if job.result == "Failed" or job.stopping:
        number = max(job.failed, 1)
    elif job.started is None and not job.result:
        number = job.failed
    else:
        number = min(job.failed, limit) + 1
    return max(earlier_attempts(live) + number, seen.attempts_known)


def waits(seen: Observed, job: JobState) -> bool:
    """Whether no pod of a started Job got ready for so long that it must be asked why."""
    if job.started is None or not job.running or has_run(seen.snapshot, job):
        return False
    return remaining_s(seen.snapshot, job.started, ASK_FOR_PODS_AFTER_S) <= 0


def _may_follow(seen: Observed, job: JobState | None) -> bool:
    """Whether a Job is about to start of which pods of an earlier attempt may still run."""
    if seen.work is None or seen.spec.suspend or (job is not None and not job.suspended):
        return False
    return seen.attempts_known > 0 or any(run.state is not job for run in seen.own)
