"""The plan of an IngestionJob with a schedule: one CronJob, and what its newest runs say. Called by `reconciler`; pure.

kube-controller-manager starts the runs, also while the operator is away. Nothing here is final: Complete and Failed tell
how the newest finished run ended.
"""

from datetime import timedelta

from media_gateway_operator.engine.plan import Plan
from media_gateway_operator.ingestionjob import reasons, schedule
from media_gateway_operator.ingestionjob.manifests import Declaration, frozen_part
from media_gateway_operator.ingestionjob.observed import Observed
from media_gateway_operator.ingestionjob.outcome import JobState, end_of, format_time
from media_gateway_operator.ingestionjob.single import SOON_S, accepted, begins, poll_s, too_late
from media_gateway_operator.ingestionjob.status import (
    NOT_FINISHED,
    Phase,
    Picture,
    Verdict,
    active,
    before,
    compose,
    stalled,
    start_time,
)
from media_gateway_operator.kube.kinds import Object, Ref

AFTER_SCHEDULE = timedelta(seconds=2)
"""How long after the time of a run it is looked whether it came."""


def plan(seen: Observed) -> Plan:
    """What should be."""
    states = [run.state for run in seen.runs]
    newest = max(
        (one for one in states if one.running), key=lambda one: (one.created, one.name), default=None
    )
    objects, delete = _children(seen)
    late = too_late(seen, newest) if newest is not None else None
    known: Object | None = before(seen.snapshot).get("lastRun")
    last = _last_run(seen, states, known)
    if newest is not None and late is not None:
        if known is not None and (known.get("name"), known.get("reason")) == (newest.name, late.reason):
            # Told in the stored status, so it can go; its history with it.
            delete += [Ref.of(run.live) for run in seen.runs if run.state is newest]
            last = known
        else:
            last = late.last_run(newest.name)
    running, again_s = _running(seen, newest)
    stands, stalls_s = stalled(seen.snapshot, running, seen.settings.stalled_after_s)
    fields = _fields(seen, newest, states)
    status = compose(
        seen.snapshot,
        Picture(
            phase=_phase(seen, running, stands, newest),
            accepted=accepted(seen),
            running=running,
            suspended=_suspended(seen),
            stalled=stands,
            complete=_told(last, "Complete", reasons.LAST_RUN_COMPLETE),
            failed=_told(last, "Failed", reasons.LAST_RUN_FAILED),
            fields={**fields, "lastRun": last, "active": active(states)},
        ),
    )
    again = [again_s, stalls_s, poll_s(seen), _until_next_s(seen, fields), SOON_S if delete or late else None]
    return Plan(
        objects=objects,
        delete=delete,
        status=status,
        requeue_after_s=min((wait for wait in again if wait is not None), default=None),
    )


def _children(seen: Observed) -> tuple[list[Object], list[Ref]]:
    assert seen.work is not None
    # Of the time when it had no schedule.
    delete = [Ref.of(run.live) for run in seen.own]
    if seen.cron is None and seen.basis is None:
        return [], delete
    frozen = frozen_part(seen.work, seen.basis) if seen.basis is not None else None
    suspend = seen.spec.suspend or seen.refusal is not None or not seen.migrated or bool(seen.own)
    return [Declaration(work=seen.work, frozen=frozen, suspend=suspend).cron_job(seen.cron)], delete


def _last_run(seen: Observed, states: list[JobState], known: Object | None) -> Object | None:
    """How the newest finished run ended; what is known already is kept, also when its Job is gone."""
    finished = [one for one in states if one.result is not None and one.ended is not None]
    newest = max(finished, key=lambda one: (one.ended, one.created, one.name), default=None)
    if newest is None or (known is not None and _number(newest.name) <= _number(known.get("name", ""))):
        return known
    if newest.result == "Complete":
        return {"name": newest.name, "result": "Complete", "reason": reasons.COMPLETED}
    return end_of(newest, seen.pods).last_run(newest.name)


def _number(name: str) -> tuple[int, str]:
    # A CronJob numbers its Jobs by the minutes of their schedule; one made by hand has any name.
    digits = name.rpartition("-")[2]
    return (int(digits), "") if digits.isdecimal() else (2**62, name)


def _running(seen: Observed, newest: JobState | None) -> tuple[Verdict, float | None]:
    if newest is None:
        if seen.refusal is not None:
            return Verdict(holds=False, reason=reasons.NOT_ACCEPTED), None
        if seen.spec.suspend:
            return Verdict(holds=False, reason=reasons.SUSPENDED), None
        if not seen.migrated:
            assert seen.basis is not None
            message = (
                f"MediaGateway {seen.basis.gateway} has not migrated its database yet (condition Migrated)"
            )
            return Verdict(holds=False, reason=reasons.WAITING_FOR_GATEWAY, message=message), None
        return Verdict(holds=False, reason=reasons.WAITING_FOR_SCHEDULE), None
    if newest.ready:
        return Verdict(holds=True, reason=reasons.POD_READY), None
    return begins(seen, newest)


def _suspended(seen: Observed) -> Verdict:
    if not seen.spec.suspend:
        return Verdict(holds=False, reason=reasons.NOT_SUSPENDED)
    message = "spec.suspend is true: no new run begins; one that runs goes on"
    return Verdict(holds=True, reason=reasons.SUSPENDED, message=message)


def _told(last: Object | None, result: str, reason: str) -> Verdict:
    if last is None or last.get("result") != result:
        return NOT_FINISHED if last is None else Verdict(holds=False, reason=reasons.NOT_LAST)
    why = last.get("message") or ""
    return Verdict(holds=True, reason=reason, message=f"run {last['name']}" + (f": {why}" if why else ""))


def _phase(seen: Observed, running: Verdict, stands: Verdict, newest: JobState | None) -> Phase:
    if running.holds:
        return "Stalled" if stands.holds else "Running"
    if newest is not None or seen.refusal is not None:
        return "Pending"
    if seen.spec.suspend:
        return "Suspended"
    return "Scheduled" if seen.migrated else "Waiting"


def _fields(seen: Observed, newest: JobState | None, states: list[JobState]) -> Object:
    known = before(seen.snapshot)
    status: Object = (seen.cron or {}).get("status") or {}
    ended = [one.ended for one in states if one.result == "Complete" and one.ended is not None]
    times = [format_time(max(ended))] if ended else []
    times += [time for time in (status.get("lastSuccessfulTime"), known.get("lastSuccessfulTime")) if time]
    upcoming = None
    if seen.refusal is None and not seen.spec.suspend:
        zone = seen.spec.time_zone or schedule.DEFAULT_ZONE
        upcoming = schedule.next_time(seen.spec.schedule or "", zone, seen.snapshot.now)
    return {
        "startTime": start_time(seen.snapshot, newest),
        "attempt": known.get("attempt"),
        "lastScheduleTime": status.get("lastScheduleTime") or known.get("lastScheduleTime"),
        "lastSuccessfulTime": max(times, default=None),
        "nextScheduleTime": format_time(upcoming) if upcoming else None,
    }


def _until_next_s(seen: Observed, fields: Object) -> float | None:
    """Seconds until the time of the next run has passed: then the status must name the one after it."""
    if not fields["nextScheduleTime"]:
        return None
    zone = seen.spec.time_zone or schedule.DEFAULT_ZONE
    upcoming = schedule.next_time(seen.spec.schedule or "", zone, seen.snapshot.now)
    assert upcoming is not None
    return (upcoming + AFTER_SCHEDULE - seen.snapshot.now).total_seconds()
