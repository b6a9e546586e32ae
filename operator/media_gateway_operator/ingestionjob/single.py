"""The plan of an IngestionJob without a schedule: one Job, run to its end once. Called by `reconciler`; pure.

The end is written before anything is cleaned up, and is read from the status alone from then on: so a finished job stays
finished, whatever becomes of its children, and a crash between two writes changes nothing.
"""

from collections.abc import Sequence
from typing import Final

from media_gateway_operator.engine.plan import Plan
from media_gateway_operator.ingestionjob import reasons
from media_gateway_operator.ingestionjob.manifests import Declaration, frozen_part
from media_gateway_operator.ingestionjob.observed import (
    ASK_FOR_PODS_AFTER_S,
    Observed,
    Run,
    attempt_of,
    failed_anew,
)
from media_gateway_operator.ingestionjob.outcome import (
    Failure,
    JobState,
    details,
    end_of,
    failure_of,
    foreign,
    format_time,
    obstacle,
    parse_time,
)
from media_gateway_operator.ingestionjob.status import (
    NOT_FINISHED,
    Phase,
    Picture,
    Verdict,
    active,
    before,
    compose,
    condition_of,
    has_run,
    remaining_s,
    stalled,
    start_time,
)
from media_gateway_operator.kube.kinds import CRON_JOB, JOB, Object, Ref

AT_ONCE_S: Final = 0.0
SOON_S: Final = 1.0
LOOK_AGAIN_S: Final = 30.0
"""How often the pods of a Job that doesn't begin are asked what they wait for."""

_NOT_SUSPENDED: Final = Verdict(holds=False, reason=reasons.NOT_SUSPENDED)
_NOT_RUNNING: Final = Verdict(holds=False, reason=reasons.NOT_RUNNING)
_FINISHED: Final = Verdict(holds=False, reason=reasons.FINISHED)


def plan(seen: Observed) -> Plan:
    """What should be."""
    job = seen.current.state if seen.current else None
    if job is not None and job.result is not None:
        return _ended(seen, job)
    if job is not None and (late := too_late(seen, job)) is not None:
        return _failed(seen, job, late)
    return _going(seen, job)


def accepted(seen: Observed) -> Verdict:
    """Whether the job can be carried out."""
    if seen.refusal is not None:
        return Verdict(holds=False, reason=seen.refusal.reason, message=seen.refusal.message)
    if seen.paused:
        message = "the annotation mediagateway.io/paused keeps the operator from changing anything"
        return Verdict(holds=True, reason=reasons.PAUSED, message=message)
    return Verdict(holds=True, reason=reasons.ACCEPTED, message=_without_effect(seen))


def _without_effect(seen: Observed) -> str:
    sinks = seen.spec.sinks
    fields = [name for name in ("catalog", "vectors") if getattr(sinks, name).purge_on_delete]
    named = " and ".join(f"spec.sinks.{name}.purgeOnDelete" for name in fields)
    return f"{named}: not in this release, records stay when the job is deleted" if named else ""


def too_late(seen: Observed, job: JobState) -> Failure | None:
    """Why a Job of which no pod got ready in time is given up; None if it is not."""
    if seen.work is None or job.started is None or not job.running or has_run(seen.snapshot, job):
        return None
    limit_s = seen.spec.pre_running_deadline_seconds
    if remaining_s(seen.snapshot, job.started, limit_s) > 0:
        return None
    message = f"no pod got ready within {limit_s} s (spec.preRunningDeadlineSeconds)"
    if found := obstacle(seen.pods, job):
        message += f": {found[0]}: {found[1]}"
    if said := details(seen.pods, job):
        message += f": {said}"
    return Failure(reason=reasons.PRE_RUNNING_DEADLINE_EXCEEDED, message=message[:1024])


def begins(seen: Observed, job: JobState) -> tuple[Verdict, float | None]:
    """What a Job without a ready pod waits for, and when that must be looked at again."""
    if job.stopping:
        return Verdict(holds=False, reason=reasons.STOPPING), None
    if job.failed:
        attempt = attempt_of(seen, job)
        return Verdict(holds=False, reason=reasons.RETRYING, message=f"attempt {attempt} begins"), None
    if job.started is None or has_run(seen.snapshot, job):
        return Verdict(holds=False, reason=reasons.STARTING), None
    limit_s = seen.spec.pre_running_deadline_seconds if seen.work else LOOK_AGAIN_S
    until_ask_s = remaining_s(seen.snapshot, job.started, ASK_FOR_PODS_AFTER_S)
    until_end_s = remaining_s(seen.snapshot, job.started, limit_s)
    again_s = max(min(until_ask_s if until_ask_s > 0 else LOOK_AGAIN_S, until_end_s), SOON_S)
    found = obstacle(seen.pods, job) or (reasons.STARTING, "")
    return Verdict(holds=False, reason=found[0], message=found[1]), again_s


def _ended(seen: Observed, job: JobState) -> Plan:
    if job.result == "Failed":
        return _failed(seen, job, end_of(job, seen.pods))
    ended = format_time(job.ended or seen.snapshot.now)
    fields = {
        **_fields(seen, job),
        "completionTime": ended,
        "lastSuccessfulTime": ended,
        "lastRun": {"name": job.name, "result": "Complete", "reason": reasons.COMPLETED},
    }
    complete = Verdict(holds=True, reason=reasons.COMPLETED)
    return Plan(status=_final(seen, "Complete", complete, NOT_FINISHED, fields), requeue_after_s=AT_ONCE_S)


def _failed(seen: Observed, job: JobState, failure: Failure) -> Plan:
    fields = {
        **_fields(seen, job),
        "completionTime": format_time(job.ended or seen.snapshot.now),
        "lastRun": failure.last_run(job.name),
    }
    failed = Verdict(holds=True, reason=failure.reason, message=failure.message)
    # Nothing is deleted here: that follows from the status, once it is stored.
    return Plan(status=_final(seen, "Failed", NOT_FINISHED, failed, fields), requeue_after_s=AT_ONCE_S)


def _final(seen: Observed, phase: Phase, complete: Verdict, failed: Verdict, fields: Object) -> Object:
    return compose(
        seen.snapshot,
        Picture(
            phase=phase,
            accepted=Verdict(holds=True, reason=reasons.ACCEPTED),
            running=_FINISHED,
            suspended=_NOT_SUSPENDED,
            stalled=_NOT_RUNNING,
            complete=complete,
            failed=failed,
            fields={**fields, "active": []},
        ),
    )


def _going(seen: Observed, job: JobState | None) -> Plan:
    others = [run for run in seen.own if run is not seen.current]
    hold = _hold(seen, job, others)
    objects, delete = _children(seen, hold)
    delete += [Ref.of(run.live) for run in others] if seen.work is not None else []
    delete += [Ref.of(seen.cron)] if seen.cron is not None and seen.work is not None else []
    running, again_s = _running(seen, job, hold)
    stands, stalls_s = stalled(seen.snapshot, running, seen.settings.stalled_after_s)
    suspended = _suspended(seen, job)
    status = compose(
        seen.snapshot,
        Picture(
            phase=_phase(running, suspended, stands),
            accepted=accepted(seen),
            running=running,
            suspended=suspended,
            stalled=stands,
            fields={
                **_fields(seen, job),
                "lastRun": _last_run(seen, job),
                "active": active([job] if job else []),
            },
        ),
    )
    again = [
        wait for wait in (again_s, stalls_s, poll_s(seen), SOON_S if delete else None) if wait is not None
    ]
    return Plan(objects=objects, delete=delete, status=status, requeue_after_s=min(again, default=None))


def poll_s(seen: Observed) -> float | None:
    """When to look again for something missing that no event will tell of: after 5 s, later after up to 30 s."""
    if seen.refusal is None or seen.refusal.reason != reasons.INVALID_REFERENCE:
        return None
    known = condition_of(before(seen.snapshot), "Accepted")
    if known.get("status") != "False":
        return 5.0
    since = parse_time(known.get("lastTransitionTime")) or seen.snapshot.now
    return min(30.0, max(5.0, -remaining_s(seen.snapshot, since, 0) / 12))


def _hold(seen: Observed, job: JobState | None, others: Sequence[Run]) -> Verdict | None:
    """Why the Job must not start now; None if it may, or has."""
    if seen.work is not None and seen.spec.suspend:
        return Verdict(holds=False, reason=reasons.SUSPENDED)
    if job is not None and job.running:
        return None
    if seen.refusal is not None:
        return Verdict(holds=False, reason=reasons.NOT_ACCEPTED)
    assert seen.basis is not None
    if not seen.migrated:
        message = f"MediaGateway {seen.basis.gateway} has not migrated its database yet (condition Migrated)"
        return Verdict(holds=False, reason=reasons.WAITING_FOR_GATEWAY, message=message)
    strangers = foreign(seen.pods, job)
    if strangers or any(not run.state.idle for run in others) or (job is not None and job.deleting):
        message = "pods of an earlier attempt are still stopping"
        return Verdict(holds=False, reason=reasons.WAITING_FOR_PODS, message=message)
    return None


def _children(seen: Observed, hold: Verdict | None) -> tuple[list[Object], list[Ref]]:
    live = seen.current.live if seen.current else None
    if seen.work is None or (live is None and seen.basis is None):
        return [], []
    frozen = frozen_part(seen.work, seen.basis) if seen.basis is not None else None
    one = Declaration(work=seen.work, frozen=frozen, suspend=hold is not None)
    state = seen.current.state if seen.current else None
    if live is not None and state is not None and hold is None and state.suspended and one.stale(live):
        # It was made for a gateway as it was then. Nothing of it runs, so it is made anew before it starts.
        return ([], [Ref.of(live)]) if state.idle else ([], [])
    return [one.job(live, seen.attempts_known)], []


def _running(seen: Observed, job: JobState | None, hold: Verdict | None) -> tuple[Verdict, float | None]:
    if job is not None and job.ready and not job.deleting:
        return Verdict(holds=True, reason=reasons.POD_READY), None
    if hold is not None:
        return hold, SOON_S if hold.reason == reasons.WAITING_FOR_PODS else None
    if job is None or job.suspended or job.deleting:
        return Verdict(holds=False, reason=reasons.STARTING), None
    return begins(seen, job)


def _suspended(seen: Observed, job: JobState | None) -> Verdict:
    if seen.work is None or not seen.spec.suspend:
        return _NOT_SUSPENDED
    if job is not None and not job.idle:
        return Verdict(
            holds=False, reason=reasons.SUSPENDING, message="the pod writes its checkpoint and stops"
        )
    return Verdict(holds=True, reason=reasons.SUSPENDED, message="spec.suspend is true")


def _phase(running: Verdict, suspended: Verdict, stands: Verdict) -> Phase:
    if running.holds:
        return "Stalled" if stands.holds else "Running"
    if suspended.holds:
        return "Suspended"
    waiting = {reasons.WAITING_FOR_GATEWAY, reasons.WAITING_FOR_PODS}
    return "Waiting" if running.reason in waiting else "Pending"


def _fields(seen: Observed, job: JobState | None) -> Object:
    known = before(seen.snapshot)
    return {
        "startTime": start_time(seen.snapshot, job),
        "attempt": (attempt_of(seen, job) if job else seen.attempts_known) or None,
        "lastSuccessfulTime": known.get("lastSuccessfulTime"),
        "lastScheduleTime": known.get("lastScheduleTime"),
        "lastRun": known.get("lastRun"),
    }


def _last_run(seen: Observed, job: JobState | None) -> Object | None:
    known: Object | None = before(seen.snapshot).get("lastRun")
    if job is None or not failed_anew(seen, job):
        return known
    failure = failure_of(seen.pods, job)
    if failure is None:
        failure = Failure(reason="PodFailed", message="the pod failed, and is gone")
    return failure.last_run(job.name)


def remains(seen: Observed) -> list[Ref]:
    """Children of a finished job that must be stopped."""
    unfinished = [run.live for run in (*seen.own, *seen.runs) if run.state.result is None]
    cron = [seen.cron] if seen.cron is not None else []
    return [Ref.of(live) for live in (*cron, *unfinished) if live["kind"] in {JOB.kind, CRON_JOB.kind}]
