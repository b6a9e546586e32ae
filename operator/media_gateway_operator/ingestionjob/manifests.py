"""The Job and the CronJob of an IngestionJob, as declared. Called by `reconciler`; pure.

Everything of a Job that can't be changed once it exists is its *frozen part*. Its digest stands in an annotation, so that
a newer operator, or a gateway with another address, is told from a change of the IngestionJob itself: the former must not
stop a run, the latter gives a Job of another name.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from media_gateway.core.domain.specs import IngestionJob, IngestionJobSpec
from media_gateway_operator.ingestionjob.outcome import CONTAINER
from media_gateway_operator.ingestionjob.pods import Basis, inside, pod_template
from media_gateway_operator.ingestionjob.schedule import DEFAULT_ZONE
from media_gateway_operator.kube.kinds import (
    API_VERSION,
    CRON_JOB,
    INGESTION_JOB,
    JOB,
    LABEL_COMPONENT,
    LABEL_INSTANCE,
    LABEL_JOB,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    LABEL_PART_OF,
    MANAGED_BY,
    STATE_PREFIX,
    Object,
)

TEMPLATE_HASH: Final = f"{STATE_PREFIX}template-hash"
"""On a Job: digest of its frozen part, as the operator that made it declared it."""
EARLIER_ATTEMPTS: Final = f"{STATE_PREFIX}earlier-attempts"
"""On a Job: attempts that Jobs before it have used up."""

COMPONENT: Final = "ingestion-job"
"""Label of the pods; not ``ingestion``, whose Service must not send requests to them."""

FATAL_EXITS: Final = list(range(64, 79))
"""Exit statuses (sysexits.h) after which the same pod would fail again."""

_OF_THE_CLUSTER: Final = {
    "gateway_ref", "schedule", "time_zone", "concurrency_policy", "starting_deadline_seconds",
    "successful_runs_history_limit", "failed_runs_history_limit", "suspend", "backoff_limit",
    "active_deadline_seconds", "pre_running_deadline_seconds", "ttl_seconds_after_finished", "template",
}  # fmt: skip
"""Fields that Kubernetes and the operator carry out and the pods are not told: the deadline among them, since that of the
Job begins anew when it is resumed."""

_OF_THE_CLUSTERS_JOBS: Final = {
    f"{prefix}{name}" for prefix in ("", "batch.kubernetes.io/") for name in ("controller-uid", "job-name")
}
"""Labels that the API server gives the pods of each Job."""

_FROZEN: Final = ("template", "podFailurePolicy", "podReplacementPolicy", "completions", "parallelism")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a job's pods are to do.

    Attributes
    ----------
    name, namespace : str
        Of the IngestionJob.
    document : str
        The manifest that the pods read, canonical JSON.
    digest : str
        8 hex digits; another one means that the pods have other work, or are other pods.
    """

    name: str
    namespace: str
    spec: IngestionJobSpec
    document: str
    digest: str

    @classmethod
    def of(cls, manifest: IngestionJob, namespace: str) -> "Work":
        """Compile a manifest for its pods. Defaults are left out, so that a new one does not change the digest."""
        spec = manifest.spec
        document = _canonical(
            {
                "apiVersion": API_VERSION,
                "kind": INGESTION_JOB.kind,
                "metadata": {"name": manifest.metadata.name},
                "spec": _plain(inside(spec), exclude=_OF_THE_CLUSTER),
            }
        )
        around = _canonical(_plain(spec, include={"gateway_ref", "template"}))
        return cls(
            name=manifest.metadata.name,
            namespace=namespace,
            spec=spec,
            document=document.decode(),
            digest=hashlib.sha256(document + around).hexdigest()[:8],
        )

    @property
    def job_name(self) -> str:
        """Name of the Job, where there is no schedule."""
        return f"{self.name}-{self.digest}"

    @property
    def size(self) -> int:
        """Bytes of annotations that the pods get."""
        given = self.spec.template.annotations.items()
        return len(self.document.encode()) + sum(len(f"{key}{value}".encode()) for key, value in given)


def labels(name: str) -> dict[str, str]:
    """Labels of everything that belongs to an IngestionJob."""
    return {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_PART_OF: "media-gateway",
        LABEL_INSTANCE: name,
        LABEL_NAME: COMPONENT,
        LABEL_COMPONENT: COMPONENT,
        LABEL_JOB: name,
    }


def frozen_part(work: Work, basis: Basis) -> Object:
    """What of a Job's spec can't be changed once it exists."""
    url = basis.progress_url(work.namespace, work.name)
    return {
        "completions": 1,
        "parallelism": 1,
        # A retry begins when the pod before it has stopped: the cursor has one owner.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": FATAL_EXITS},
                },
            ]
        },
        "template": pod_template(work.spec, work.document, labels(work.name), basis, url),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a child is made from.

    Attributes
    ----------
    frozen : Object | None
        Frozen part as it would be declared today; None if that can't be told, then the child must be there.
    suspend : bool
        Whether pods must not run.
    """

    work: Work
    frozen: Object | None
    suspend: bool

    def job(self, live: Object | None, earlier_attempts: int) -> Object:
        """The Job. The frozen part of one that is there stays, even if it would be another one today."""
        known = annotations_of(live)
        frozen, digest = self.frozen, digest_of(self.frozen)
        if live is not None and (frozen is None or known.get(TEMPLATE_HASH) != digest):
            frozen, digest = _frozen_of(live), known.get(TEMPLATE_HASH, "")
        assert frozen is not None
        metadata = self._metadata(self.work.job_name)
        metadata["annotations"] = {
            TEMPLATE_HASH: digest,
            EARLIER_ATTEMPTS: known.get(EARLIER_ATTEMPTS, str(earlier_attempts)),
        }
        return {
            "apiVersion": JOB.api_version,
            "kind": JOB.kind,
            "metadata": metadata,
            "spec": {**frozen, **self._limits(), "suspend": self.suspend},
        }

    def cron_job(self, live: Object | None) -> Object:
        """The CronJob. What it has of a Job may be changed: the next run takes it."""
        spec = self.work.spec
        if self.frozen is not None:
            metadata = {"labels": labels(self.work.name)}
            template: Object = {"metadata": metadata, "spec": {**self.frozen, **self._limits()}}
        else:
            assert live is not None
            template = live["spec"]["jobTemplate"]
        return {
            "apiVersion": CRON_JOB.api_version,
            "kind": CRON_JOB.kind,
            "metadata": self._metadata(self.work.name),
            "spec": {
                "schedule": spec.schedule,
                "timeZone": spec.time_zone or DEFAULT_ZONE,
                "concurrencyPolicy": spec.concurrency_policy or "Forbid",
                "startingDeadlineSeconds": spec.starting_deadline_seconds,
                "successfulJobsHistoryLimit": spec.successful_runs_history_limit,
                "failedJobsHistoryLimit": spec.failed_runs_history_limit,
                "suspend": self.suspend,
                "jobTemplate": template,
            },
        }

    def stale(self, live: Object) -> bool:
        """Whether the frozen part of a Job is not what it would be today."""
        return self.frozen is not None and annotations_of(live).get(TEMPLATE_HASH) != digest_of(self.frozen)

    def _metadata(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self.work.namespace, "labels": labels(self.work.name)}

    def _limits(self) -> Object:
        spec = self.work.spec
        limits: Object = {"backoffLimit": spec.backoff_limit}
        if spec.active_deadline_seconds is not None:
            limits["activeDeadlineSeconds"] = spec.active_deadline_seconds
        return limits


def annotations_of(live: Object | None) -> Mapping[str, str]:
    """Annotations of an object that may be absent."""
    found: Mapping[str, str] = (live["metadata"].get("annotations") if live else None) or {}
    return found


def earlier_attempts(live: Object | None) -> int:
    """Attempts that were used up before a Job."""
    value = annotations_of(live).get(EARLIER_ATTEMPTS, "0")
    return int(value) if value.isdecimal() else 0


def digest_of(part: Object | None) -> str:
    """16 hex digits that tell one part of a manifest from another."""
    return hashlib.sha256(_canonical(part)).hexdigest()[:16]


def _frozen_of(live: Object) -> Object:
    frozen = {key: live["spec"][key] for key in _FROZEN if key in live["spec"]}
    template = frozen["template"]
    metadata = template.get("metadata", {})
    # Declared once, they would be taken away by the next declaration without them, which the API server refuses.
    kept = {
        key: value for key, value in metadata.get("labels", {}).items() if key not in _OF_THE_CLUSTERS_JOBS
    }
    return {**frozen, "template": {**template, "metadata": {**metadata, "labels": kept}}}


def _plain(spec: IngestionJobSpec, **which: Any) -> Object:
    dumped: Object = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, **which)
    return dumped


def _canonical(value: Object | None) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
