"""The status of an IngestionJob, put together from verdicts. Called by `single` and `recurring`; pure.

Only what differs from before makes a write, so nothing here depends on the time of day: messages say since when, never for
how long.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from media_gateway_operator.engine.plan import Snapshot, condition, with_times
from media_gateway_operator.ingestionjob import reasons
from media_gateway_operator.ingestionjob.outcome import JobState, format_time, parse_time
from media_gateway_operator.kube.kinds import Object

OF_PROGRESS: Final = frozenset({"progress", "cursor"})
"""Fields that the other field manager writes."""

_NOT_FINAL: Final = {reasons.LAST_RUN_COMPLETE, reasons.LAST_RUN_FAILED}

Phase = Literal["Pending", "Waiting", "Scheduled", "Running", "Suspended", "Stalled", "Complete", "Failed"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something holds, and why."""

    holds: bool
    reason: str
    message: str = ""


NOT_FINISHED: Final = Verdict(holds=False, reason=reasons.NOT_FINISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All that a status says.

    Attributes
    ----------
    fields : Mapping
        The other fields, by their names in the resource; None and empty ones are left out.
    """

    phase: Phase
    accepted: Verdict
    running: Verdict
    suspended: Verdict
    stalled: Verdict
    complete: Verdict = NOT_FINISHED
    failed: Verdict = NOT_FINISHED
    fields: Mapping[str, Any]


def compose(snapshot: Snapshot, picture: Picture) -> Object:
    """The status, without what the progress manager writes."""
    generation = snapshot.resource["metadata"].get("generation", 1)
    verdicts = {
        "Accepted": picture.accepted,
        "Running": picture.running,
        "Suspended": picture.suspended,
        "Complete": picture.complete,
        "Failed": picture.failed,
        "Stalled": picture.stalled,
    }
    conditions = [
        condition(name, "True" if one.holds else "False", one.reason, one.message, generation=generation)
        for name, one in verdicts.items()
    ]
    deciding = _deciding(picture)
    return {
        "observedGeneration": generation,
        "phase": picture.phase,
        "reason": deciding.reason,
        **({"message": deciding.message[:1024]} if deciding.message else {}),
        "conditions": with_times(conditions, before(snapshot).get("conditions") or (), snapshot.now),
        **{name: value for name, value in picture.fields.items() if value not in (None, [], {}, "")},
    }


def _deciding(picture: Picture) -> Verdict:
    """The verdict that the phase comes from, for ``kubectl get -o wide``."""
    by_phase = {
        "Complete": picture.complete,
        "Failed": picture.failed,
        "Stalled": picture.stalled,
        "Suspended": picture.suspended,
    }
    return by_phase.get(picture.phase) or (picture.running if picture.accepted.holds else picture.accepted)


def before(snapshot: Snapshot) -> Object:
    """The status as it is stored; empty at first sight."""
    found: Object = snapshot.resource.get("status") or {}
    return found


def own(status: Object) -> Object:
    """A status without what the progress manager writes."""
    return {name: value for name, value in status.items() if name not in OF_PROGRESS}


def condition_of(status: Object, name: str) -> Object:
    """A condition of a status; empty if it isn't there."""
    return next((one for one in status.get("conditions") or () if one["type"] == name), {})


def is_true(status: Object, name: str) -> bool:
    """Whether a condition holds."""
    return bool(condition_of(status, name).get("status") == "True")


def final(status: Object) -> str | None:
    """``Complete`` or ``Failed`` if the job is finished for good, whatever has become of its children."""
    for name in ("Complete", "Failed"):
        one = condition_of(status, name)
        if one.get("status") == "True" and one.get("reason") not in _NOT_FINAL:
            return name
    return None


def stalled(snapshot: Snapshot, running: Verdict, after_s: int) -> tuple[Verdict, float | None]:
    """Whether a running job makes no progress, and after how many seconds that must be looked at again."""
    if not running.holds:
        return Verdict(holds=False, reason=reasons.NOT_RUNNING), None
    known = before(snapshot)
    since = snapshot.now
    if is_true(known, "Running"):
        since = parse_time(condition_of(known, "Running").get("lastTransitionTime")) or since
    reported = parse_time((known.get("progress") or {}).get("lastUpdateTime"))
    since = max(since, reported) if reported else since
    left_s = (since + timedelta(seconds=after_s) - snapshot.now).total_seconds()
    if left_s > 0:
        return Verdict(holds=False, reason=reasons.PROGRESSING), left_s
    message = f"nothing was read or written since {format_time(since)}"
    return Verdict(holds=True, reason=reasons.NO_PROGRESS, message=message), None


def start_time(snapshot: Snapshot, job: JobState | None) -> str | None:
    """When the pods of a Job first ran since it was last started; until they have, what was known before.

    It is also the memory that they ran: kube-controller-manager's counts forget it between two pods.
    """
    known: str | None = before(snapshot).get("startTime")
    if job is None or job.started is None or has_run(snapshot, job, counts=False):
        return known
    if job.ready:
        return format_time(max(snapshot.now, job.started))
    return format_time(job.started) if job.has_run else known


def has_run(snapshot: Snapshot, job: JobState, *, counts: bool = True) -> bool:
    """Whether a pod of a Job ran since the Job was last started."""
    known = parse_time(before(snapshot).get("startTime"))
    if known is not None and job.started is not None and known >= job.started:
        return True
    return counts and job.has_run


def active(jobs: list[JobState]) -> list[Object]:
    """Unfinished runs, oldest first, as ``status.active`` has them."""
    going = sorted((job for job in jobs if job.running), key=lambda job: (job.created, job.name))
    return [{"name": job.name, "uid": job.uid} for job in going[:10]]


def remaining_s(snapshot: Snapshot, since: datetime, limit_s: float) -> float:
    """Seconds until a limit that began to count at a time is over; below zero if it is."""
    return (since + timedelta(seconds=limit_s) - snapshot.now).total_seconds()
