"""What an ingestion run is: its state, counts, rejected records. Shared by the runner, the store, routes and commands."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from media_gateway.core.errors import ConflictError, MediaGatewayError

EXCERPT_LIMIT_BYTES = 4096
"""Longest stored excerpt of a rejected record."""

TOLD_LENGTH = 300
"""Characters of a rejection in a message."""


class RunState(StrEnum):
    """Where a run stands. Pending, Running and Suspended runs are unfinished and can be continued."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to the run."""
        return self in {RunState.COMPLETE, RunState.FAILED, RunState.CANCELLED}


class LeaseLostError(ConflictError):
    """Another process has taken the run over; this one must stop writing."""


@dataclass(slots=True)
class Counts:
    """Records by what became of them.

    Attributes
    ----------
    read : int
        Records read, bad ones among them.
    created, updated : int
        Written: new source records, and changed ones. In a dry run nothing is.
    skipped : int
        Unchanged since they were last written, or valid in a dry run.
    failed : int
        Rejected; each has a dead letter.
    unidentified : int
        Of the failed, those too broken to say which record of the source they are.
    """

    read: int = 0
    created: int = 0
    updated: int = 0
    skipped: int = 0
    failed: int = 0
    unidentified: int = 0

    def add(self, other: "Counts") -> None:
        """Add another batch's counts."""
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))

    @property
    def written(self) -> int:
        """Records that changed the catalogue."""
        return self.created + self.updated


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A rejected record.

    Attributes
    ----------
    line : int | None
        Line (or row, from 1) in the source, where it has lines.
    position : str
        The source's checkpoint of the record.
    source_id : str | None
        The record's key in its source, if it could be read.
    field, reason : str
        What is wrong.
    excerpt : str
        Beginning of the record.
    """

    line: int | None
    position: str
    source_id: str | None
    field: str
    reason: str
    excerpt: str

    @property
    def told(self) -> str:
        """Place, field and reason in one short line."""
        place = f"line {self.line}: " if self.line is not None else ""
        where = f"{self.field}: " if self.field else ""
        return f"{place}{where}{self.reason}"[:TOLD_LENGTH]


@dataclass(frozen=True, slots=True)
class StoredDeadLetter(DeadLetter):
    """A dead letter as kept; ids grow in the order of the source."""

    id: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one or more consecutive batches add to a run."""

    first: int
    """Number of the first batch, from 0."""
    batches: int
    counts: Counts
    dead_letters: Sequence[DeadLetter]
    published: Sequence[tuple[str, bytes]] = ()
    """Outbox rows that carry the dead letters to a topic, if the job names one."""
    checkpoint: str | None
    cursor: str | None
    percent: float | None = None
    rate_per_second: float | None = None
    remaining_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to be begun or continued. ``origin`` is ``cli``, ``api``, ``webhook``, ``up`` or ``cluster``."""

    name: str
    source: str
    spec_hash: str
    manifest: dict[str, Any]
    origin: str
    mode: str
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as stored. Field meanings as in `Counts`, `Outcome` and `NewRun`; times are aware UTC."""

    id: UUID
    name: str
    source: str
    spec_hash: str
    manifest: dict[str, Any]
    origin: str
    mode: str
    dry_run: bool
    state: RunState
    reason: str | None
    message: str | None
    cancel_requested: bool
    attempt: int
    recorded: int
    checkpoint: str | None
    start_cursor: str | None
    cursor: str | None
    counts: Counts = field(default_factory=Counts)
    percent: float | None
    rate_per_second: float | None
    remaining_s: float | None
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    finished_at: datetime | None


class RunFailedError(MediaGatewayError):
    """The run has failed for good; the same input will fail again."""

    code: ClassVar[str] = "run_failed"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message, details={"reason": reason})
        self.reason = reason


class RunCancelledError(MediaGatewayError):
    """Somebody asked to cancel the run."""

    code: ClassVar[str] = "run_cancelled"


def storable(text: str, limit_bytes: int = EXCERPT_LIMIT_BYTES) -> str:
    """Text as Postgres takes it, cut to a size: NUL and lone surrogates become replacement characters."""
    cleaned = text.replace("\0", "\ufffd").encode("utf-8", "replace")
    return cleaned[:limit_bytes].decode("utf-8", "ignore")
