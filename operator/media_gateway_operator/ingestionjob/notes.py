"""Events of an IngestionJob, told from its status before and after. Called by `reconciler`; pure.

Only transitions are told, so that each is told once: the next look compares with the status that tells of it.
"""

from collections.abc import Iterator

from media_gateway_operator.engine.plan import Note
from media_gateway_operator.ingestionjob import reasons
from media_gateway_operator.ingestionjob.status import condition_of, is_true
from media_gateway_operator.kube.kinds import Object


def notes(before: Object, after: Object) -> list[Note]:
    """What is to be told of a change of the status."""
    return [*_of_acceptance(before, after), *_of_pace(before, after), *_of_runs(before, after)]


def _of_acceptance(before: Object, after: Object) -> Iterator[Note]:
    one, known = condition_of(after, "Accepted"), condition_of(before, "Accepted")
    if one["status"] == "False" and one["message"] != known.get("message"):
        yield Note("Warning", one["reason"], one["message"])


def _of_pace(before: Object, after: Object) -> Iterator[Note]:
    if not before:
        # A job that is made suspended is no news.
        return
    if _became(before, after, "Suspended"):
        yield Note("Normal", reasons.SUSPENDED, condition_of(after, "Suspended")["message"])
    if is_true(before, "Suspended") and not is_true(after, "Suspended") and not _finished(after):
        yield Note("Normal", reasons.RESUMED, "spec.suspend is false")
    if _became(before, after, "Stalled"):
        yield Note("Warning", reasons.STALLED, condition_of(after, "Stalled")["message"])


def _of_runs(before: Object, after: Object) -> Iterator[Note]:
    if after.get("startTime") and after.get("startTime") != before.get("startTime"):
        attempt = after.get("attempt")
        yield Note("Normal", reasons.STARTED, f"attempt {attempt} runs" if attempt else "a run has begun")
    last = after.get("lastRun") or {}
    if not last or last == (before.get("lastRun") or {}):
        return
    if last["result"] == "Complete":
        yield Note("Normal", reasons.COMPLETED, f"{last['name']} has read its source to the end")
    elif _finished(after):
        yield Note("Warning", reasons.FAILED, f"{last['reason']}: {last['message']}")
    else:
        yield Note("Warning", reasons.RETRYING, f"{last['reason']}: {last['message']}")


def _became(before: Object, after: Object, name: str) -> bool:
    return is_true(after, name) and not is_true(before, name)


def _finished(status: Object) -> bool:
    return is_true(status, "Complete") or is_true(status, "Failed")
