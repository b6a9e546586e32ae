"""What job pods report, brought into the status of their IngestionJob at most every ten seconds.

The progress door calls `ProgressBoard.report`; one background task, `ProgressBoard.run`, writes. What is shown is a
convenience: a report that can't be written is kept and tried again, and is lost with the process, as the pod's next one
says the same and more.

``lastUpdateTime`` is the time of the last *progress*, not of the last report: a pod that reports the same again causes no
write, and is told as Stalled by the reconciler.
"""

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Protocol

import structlog
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from media_gateway.core.errors import InvalidInputError, MediaGatewayError, NotFoundError
from media_gateway_operator.ingestionjob.outcome import format_time
from media_gateway_operator.ingestionjob.status import is_true
from media_gateway_operator.kube.errors import NotLeaderError
from media_gateway_operator.kube.kinds import (
    API_VERSION,
    INGESTION_JOB,
    PROGRESS_MANAGER,
    Object,
    Ref,
)
from media_gateway_operator.kube.store import wish_of

INTERVAL_S: Final = 10.0
"""Least time between two writes for one job."""

JOBS: Final = 10_000
"""Most jobs whose reports are kept; beyond them the one that reported longest ago is dropped."""

WRITERS: Final = 8

_COUNTS: Final = ("read", "written", "skipped", "failed", "percent")

_writes = Counter("mgw_operator_progress_writes_total", "Status writes of reported progress", ["outcome"])
_log = structlog.get_logger(__name__)

Count = Annotated[int, Field(ge=0, le=2**53)]
Amount = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Text = Annotated[str, StringConstraints(max_length=4096)]


class Report(BaseModel):
    """What a pod says of its run. Unknown fields are of a newer release, and left out."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    state: Literal["Running", "Complete", "Failed", "Suspended", "Cancelled"]
    read: Count
    written: Count
    skipped: Count
    failed: Count
    percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    rate_per_second: Amount | None = None
    estimated_remaining_seconds: Amount | None = None
    cursor: Annotated[str, StringConstraints(max_length=1024)] | None = None
    message: Text | None = None
    waiting_for: Text | None = None
    final: bool = False

    def numbers(self) -> Object:
        """As ``status.progress`` has them, rounded, so that what is no news is no write; without the time."""
        shown: Object = {name: getattr(self, name) for name in _COUNTS[:4]}
        if self.percent is not None:
            # 100 is for the end: 99.7 must not look like it.
            shown["percent"] = 100 if self.percent >= 100 else math.floor(self.percent)
        if self.rate_per_second is not None:
            shown["ratePerSecond"] = _two_digits(self.rate_per_second)
        if self.estimated_remaining_seconds is not None:
            shown["estimatedRemainingSeconds"] = round(self.estimated_remaining_seconds)
        message = f"waits for {self.waiting_for}" if self.waiting_for else self.message
        if message:
            shown["message"] = message[:1024]
        return shown


class StatusWriter(Protocol):
    """The client of the API server; fenced, so that only the leader writes."""

    async def apply_status(self, manifest: Object, *, manager: str) -> Object:
        """Server-side apply of a status."""


@dataclass(slots=True)
class _Entry:
    uid: str
    progress: Object
    """As it is to be written, with its time."""
    cursor: Object | None
    due_at: float
    """Not before; on the monotonic clock."""
    unwritten: bool = True
    failures: int = 0


class ProgressBoard:
    """The newest report of each job, and when it may be written.

    Parameters
    ----------
    find
        A watched object, from the store.
    keep
        Takes an object that the API server answered with (into the store); says whether it brought anything new.
    wake
        Makes the reconciler look at a job again: one that was Stalled isn't any more.
    """

    def __init__(
        self,
        client: StatusWriter,
        find: Callable[[Ref], Object | None],
        keep: Callable[[Object], bool],
        wake: Callable[[Ref], Any],
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._client = client
        self._find = find
        self._keep = keep
        self._wake = wake
        self._interval_s = interval_s
        self._entries: OrderedDict[Ref, _Entry] = OrderedDict()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def report(self, namespace: str, name: str, pod: str, payload: Report) -> None:
        """Note a report of a pod of an IngestionJob; the door has made sure that it is one."""
        ref = Ref(INGESTION_JOB, namespace, name)
        resource = self._find(ref)
        if resource is None:
            self._entries.pop(ref, None)
            return
        uid = resource["metadata"]["uid"]
        entry = self._entries.get(ref)
        if entry is not None and entry.uid != uid:
            entry = None
        progress, cursor = _news(payload, *_shown(resource, entry), now=datetime.now(UTC))
        if progress is None:
            if payload.final and entry is not None and entry.unwritten:
                entry.due_at = time.monotonic()
                self._changed.set()
            return
        # A first report goes out at once, and so does the last one; those between wait for their turn.
        due_at = entry.due_at if entry is not None and not payload.final else time.monotonic()
        self._entries[ref] = _Entry(uid, progress, cursor, due_at)
        self._entries.move_to_end(ref)
        if len(self._entries) > JOBS:
            dropped, _ = self._entries.popitem(last=False)
            _log.warning("a job's progress is dropped, too many report", job=str(dropped), kept=JOBS)
        _log.debug("a pod reported", job=str(ref), pod=pod, state=payload.state, read=payload.read)
        self._changed.set()

    async def run(self) -> None:
        """Write what is due until cancelled."""
        while True:
            self._changed.clear()
            await self.flush()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._until_next_s())

    async def flush(self) -> None:
        """Write everything that is due now."""
        now = time.monotonic()
        for ref in [ref for ref, one in self._entries.items() if not one.unwritten and one.due_at <= now]:
            del self._entries[ref]  # its turn has passed without news
        due = [ref for ref, one in self._entries.items() if one.unwritten and one.due_at <= now]
        slots = asyncio.Semaphore(WRITERS)

        async def write(ref: Ref) -> None:
            async with slots:
                await self._write(ref)

        await asyncio.gather(*map(write, due))

    def _until_next_s(self) -> float | None:
        first = min((one.due_at for one in self._entries.values()), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    async def _write(self, ref: Ref) -> None:
        entry = self._entries.get(ref)
        resource = self._find(ref)
        if entry is None:
            return
        if resource is None or resource["metadata"]["uid"] != entry.uid:
            self._drop(ref, entry)
            return
        status = {"progress": entry.progress} | ({"cursor": entry.cursor} if entry.cursor else {})
        entry.due_at = time.monotonic() + self._interval_s
        try:
            answer = await self._client.apply_status(
                _manifest(ref, entry.uid, status), manager=PROGRESS_MANAGER
            )
        except (NotFoundError, InvalidInputError) as error:
            # Gone, or not to be had in these words: the next report may be.
            _log.info("a job's progress was not taken", job=str(ref), error=error.message)
            _writes.labels("refused").inc()
            self._drop(ref, entry)
        except NotLeaderError:
            return
        except MediaGatewayError as error:
            _writes.labels("failed").inc()
            _log.warning(
                "a job's progress could not be written, it is kept", job=str(ref), error=error.message
            )
            self._delay(ref, entry)
        else:
            _writes.labels("written").inc()
            if self._keep(answer) and wish_of(answer) != wish_of(resource):
                # The watch, which brings that change later, has no news by then.
                self._wake(ref)
            self._written(ref, entry)
            if is_true(answer.get("status") or {}, "Stalled"):
                self._wake(ref)

    def _written(self, ref: Ref, entry: _Entry) -> None:
        now = self._entries.get(ref)
        if now is entry:
            # Kept until its turn is over, so that the next report waits for it.
            entry.unwritten = False
        elif now is not None:
            # A newer report came meanwhile; it took the time of the turn before.
            now.due_at = max(now.due_at, entry.due_at)

    def _delay(self, ref: Ref, entry: _Entry) -> None:
        now = self._entries.get(ref)
        if now is not None:
            now.failures = entry.failures + 1
            now.due_at = time.monotonic() + self._interval_s * min(2.0**entry.failures, 16.0)

    def _drop(self, ref: Ref, entry: _Entry) -> None:
        if self._entries.get(ref) is entry:
            del self._entries[ref]


def _shown(resource: Object, entry: _Entry | None) -> tuple[Object, Object | None]:
    """Progress and cursor as they stand, written or about to be."""
    if entry is not None:
        return entry.progress, entry.cursor
    status = resource.get("status") or {}
    return status.get("progress") or {}, status.get("cursor")


def _news(
    report: Report, shown: Object, cursor: Object | None, *, now: datetime
) -> tuple[Object | None, Object | None]:
    """Progress and cursor as they are to be written; no progress if a report says nothing new."""
    numbers = report.numbers()
    moved = any(numbers.get(name) != shown.get(name) for name in _COUNTS)
    if report.cursor is not None and report.cursor != (cursor or {}).get("value"):
        moved, cursor = True, {"value": report.cursor, "updatedAt": format_time(now)}
    told = numbers.get("message") != shown.get("message")
    # After the source is read only the sentence changes ("5,000 vectors left"). To wait for something is no progress.
    moved |= told and report.waiting_for is None
    last = shown.get("lastUpdateTime")
    if not moved and not told and last:
        return None, cursor
    return {**numbers, "lastUpdateTime": format_time(now) if moved or not last else last}, cursor


def _manifest(ref: Ref, uid: str, status: Object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": INGESTION_JOB.kind,
        # With the uid, so that a namesake made meanwhile doesn't get it.
        "metadata": {"name": ref.name, "namespace": ref.namespace, "uid": uid},
        "status": status,
    }


def _two_digits(value: float) -> str:
    rounded = float(f"{value:.1e}")
    return str(int(rounded)) if rounded >= 10 or rounded == int(rounded) else f"{rounded:g}"
