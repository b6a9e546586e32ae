"""The Job that brings the database's schema to the release, before any component runs it.

Pure functions. A finished Job is the record that its release's schema is there, so it stays until the next one has
succeeded. Jobs can't be changed: one is declared until it exists and then left alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from media_gateway_operator.kube.kinds import JOB, LABEL_NAME, RECONCILE_AT, STATE_PREFIX, Object, Ref
from media_gateway_operator.mediagateway.environment import (
    child_name,
    environment,
    image_of,
    references,
)
from media_gateway_operator.mediagateway.pods import container, digest_of, labels_of, pod_spec
from media_gateway_operator.mediagateway.workloads import Owner

PART: Final = "migrate"

ATTEMPT: Final = f"{STATE_PREFIX}attempt"
"""On the Job: which state of the resource it was made for. A failed one is made anew when that changes."""

RETRIES: Final = 3
EXIT_CONFIG: Final = 78
"""Trying again changes nothing: the settings are wrong."""
TAIL_BYTES: Final = 600

State = Literal["Missing", "Running", "Complete", "Failed"]


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failed migration's last container left.

    Attributes
    ----------
    log_tail : str
        End of its output.
    """

    exit_code: int | None
    log_tail: str


def job_name(owner: Owner) -> str:
    """Name of the Job for the resource's release and database: equal names, equal work."""
    variables = environment(owner.name, owner.spec, frozenset({"database"}))
    about = [image_of(owner.spec, PART, owner.release), owner.secrets_hash(references(variables)), owner.data]
    return child_name(owner.name, f"{PART}-{digest_of(about)}")


def attempt_of(resource: Object) -> str:
    """What makes a failed migration be tried again: a changed spec, or the annotation that asks for it."""
    metadata = resource["metadata"]
    again = metadata.get("annotations", {}).get(RECONCILE_AT, "")
    return digest_of([metadata.get("generation", 0), again])


def state_of(job: Object | None) -> State:
    """How far a Job is."""
    if job is None:
        return "Missing"
    for one in job.get("status", {}).get("conditions", ()):
        if one.get("status") == "True" and one["type"] in {"Complete", "Failed"}:
            return "Complete" if one["type"] == "Complete" else "Failed"
    return "Running"


def job(owner: Owner, attempt: str) -> Object:
    """The Job."""
    variables = environment(owner.name, owner.spec, frozenset({"database"}))
    labels = labels_of(owner.name, PART)
    only = container(
        PART,
        image_of(owner.spec, PART, owner.release),
        owner.spec,
        {
            "env": variables,
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        },
    )
    wrong_settings = {
        "action": "FailJob",
        "onExitCodes": {"containerName": PART, "operator": "In", "values": [EXIT_CONFIG]},
    }
    evicted = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(owner),
            "namespace": owner.namespace,
            "labels": labels,
            "annotations": {ATTEMPT: attempt},
        },
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": owner.spec.rollout.migration_timeout_seconds,
            "podFailurePolicy": {"rules": [wrong_settings, evicted]},
            "template": {
                "metadata": {"labels": labels},
                "spec": pod_spec(only, owner.spec, {"restartPolicy": "Never"}),
            },
        },
    }


def is_migration(manifest: Object) -> bool:
    """Whether a child is a migration Job."""
    labels = manifest["metadata"].get("labels", {})
    return bool(manifest["kind"] == JOB.kind and labels.get(LABEL_NAME) == PART)


def outdated(jobs: Sequence[Object], current: str) -> list[Ref]:
    """Jobs of earlier releases, to be deleted once the current one is complete."""
    return [Ref.of(one) for one in jobs if is_migration(one) and one["metadata"]["name"] != current]


def failure_of(pods: Sequence[Object]) -> Failure | None:
    """What the last of a Job's pods says about why it failed."""
    ended = [
        state
        for pod in pods
        for status in pod.get("status", {}).get("containerStatuses", ())
        if (state := status.get("state", {}).get("terminated")) is not None and state.get("exitCode") != 0
    ]
    if not ended:
        return None
    last = max(ended, key=lambda state: str(state.get("finishedAt", "")))
    return Failure(last.get("exitCode"), str(last.get("message", "")).strip()[-TAIL_BYTES:])


def explain(job: Object, failure: Failure | None) -> str:
    """Why a Job failed, in a sentence."""
    found: Object = next(
        (one for one in job["status"]["conditions"] if one["type"] == "Failed" and one["status"] == "True"),
        {},
    )
    said = f"migration Job {job['metadata']['name']} failed ({found.get('reason', 'unknown')})"
    if failure is not None:
        said += f", exit code {failure.exit_code}"
        if failure.log_tail:
            said += f": {failure.log_tail}"
    return said
