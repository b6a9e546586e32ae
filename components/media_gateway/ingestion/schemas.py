"""Wire models of ingestion. New members may be added to answers; none changes its meaning."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field

from media_gateway.core.errors import FieldError, InvalidInputError
from media_gateway.core.web import Wire
from media_gateway.ingestion.runs import Counts, Run, RunState, StoredDeadLetter
from media_gateway.ingestion.services.webhooks import Receipt

Limit = Annotated[int, Field(ge=1, le=100, description="Items on a page.")]
Cursor = Annotated[
    str | None,
    Field(max_length=100, description="`next_cursor` of the page before; without it the first page."),
]


class JobRequest(Wire):
    """An IngestionJob manifest, the same document that `kubectl apply` and `media-gateway ingest run` take."""

    apiVersion: Literal["mediagateway.io/v1alpha1"]  # noqa: N815 - the name in the manifest
    kind: Literal["IngestionJob"]
    metadata: dict[str, Any] = Field(examples=[{"name": "tmdb-nightly"}])
    spec: dict[str, Any] = Field(
        examples=[{"source": {"type": "HTTP", "http": {"url": "https://catalogue.example/films"}}}]
    )


class JobPath(Wire):
    """Which job."""

    job_id: UUID


class PlatformPath(Wire):
    """Which platform."""

    platform: str = Field(max_length=40)


class PageQuery(Wire):
    """Which page."""

    limit: Limit = 20
    cursor: Cursor = None


class JobProgress(Wire):
    """Records of a job by what became of them, and how far it is."""

    read: int
    written: int = Field(description="Created or changed.")
    created: int
    updated: int
    skipped: int = Field(description="Unchanged; in a dry run, valid.")
    failed: int = Field(description="Rejected; see the dead letters.")
    percent: float | None = Field(description="Of the source, 0 to 100; null where its size is not known.")
    rate_per_second: float | None = Field(description="Records read a second in the present attempt.")
    estimated_remaining_s: float | None

    @classmethod
    def from_domain(cls, counts: Counts, run: Run) -> Self:
        """Counts and estimates of a run."""
        return cls(
            read=counts.read,
            written=counts.written,
            created=counts.created,
            updated=counts.updated,
            skipped=counts.skipped,
            failed=counts.failed,
            percent=run.percent,
            rate_per_second=run.rate_per_second,
            estimated_remaining_s=run.remaining_s,
        )


class JobView(Wire):
    """An ingestion job."""

    id: UUID
    name: str
    source: str
    origin: str = Field(description="Who gave it: cli, api, up, webhook or cluster.")
    mode: str
    dry_run: bool
    state: RunState
    reason: str | None = Field(
        description="Why it is in its state, as one word.", examples=["ErrorBudgetExceeded"]
    )
    message: str | None = Field(description="The same in words, or what a running job waits for.")
    cancel_requested: bool
    attempt: int = Field(description="How often a process began to work on it.")
    cursor: str | None = Field(description="Greatest value of the cursor field so far.")
    progress: JobProgress
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    finished_at: datetime | None

    @classmethod
    def from_domain(cls, run: Run) -> Self:
        """A run as it is shown."""
        same = {name: getattr(run, name) for name in cls.model_fields if name != "progress"}
        return cls(**same, progress=JobProgress.from_domain(run.counts, run))


class JobPage(Wire):
    """Jobs, newest first."""

    jobs: list[JobView]
    next_cursor: str | None = Field(description="For the next page; null on the last one.")

    @classmethod
    def from_domain(cls, runs: list[Run], limit: int) -> Self:
        """A page; ``runs`` may hold one more than fits, which says that there is another page."""
        more = len(runs) > limit
        shown = runs[:limit]
        return cls(
            jobs=[JobView.from_domain(run) for run in shown],
            next_cursor=write_cursor(str(shown[-1].id)) if more else None,
        )


class DeadLetterView(Wire):
    """A rejected record."""

    line: int | None = Field(description="Line or row in the source, from 1.")
    position: str = Field(description="Where in the source, as the job counts it.")
    source_id: str | None = Field(description="The record's key in its source, where it could be read.")
    field: str = Field(description="The field at fault; empty for the whole record.")
    reason: str
    excerpt: str = Field(description="The beginning of the record.")
    created_at: datetime


class DeadLetterPage(Wire):
    """Rejected records in the order of the source."""

    dead_letters: list[DeadLetterView]
    next_cursor: str | None

    @classmethod
    def from_domain(cls, letters: list[StoredDeadLetter], limit: int) -> Self:
        """A page; ``letters`` may hold one more than fits."""
        more = len(letters) > limit
        shown = letters[:limit]
        return cls(
            dead_letters=[DeadLetterView.model_validate(letter) for letter in shown],
            next_cursor=write_cursor(str(shown[-1].id)) if more else None,
        )


class SourceView(Wire):
    """A source of records, with its newest job."""

    name: str
    last_job: JobView


class SourceList(Wire):
    """All sources that ever had a job that is still kept."""

    sources: list[SourceView]

    @classmethod
    def from_domain(cls, runs: list[Run]) -> Self:
        """Newest runs by source."""
        return cls(sources=[SourceView(name=run.source, last_job=JobView.from_domain(run)) for run in runs])


class DeliveryView(Wire):
    """An accepted webhook delivery."""

    id: UUID
    duplicate: bool = Field(
        description="Whether the same delivery was accepted before; it is not taken twice."
    )

    @classmethod
    def from_domain(cls, receipt: Receipt) -> Self:
        """The receipt as it is answered."""
        return cls(id=receipt.id, duplicate=receipt.duplicate)


def write_cursor(value: str) -> str:
    """A page cursor; opaque to clients."""
    return base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> str | None:
    """The value in a page cursor.

    Raises
    ------
    InvalidInputError
        It is none of ours.
    """
    if cursor is None:
        return None
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise bad_cursor() from None


def bad_cursor() -> InvalidInputError:
    """The error for a cursor that is none of ours."""
    problem = FieldError("cursor", "is not a cursor of this list")
    return InvalidInputError(f"{problem.field} {problem.message}", errors=[problem])


def job_cursor(query: PageQuery) -> UUID | None:
    """The job behind which the page begins."""
    value = read_cursor(query.cursor)
    try:
        return None if value is None else UUID(value)
    except ValueError:
        raise bad_cursor() from None


def letter_cursor(query: PageQuery) -> int:
    """The dead letter behind which the page begins, 0 for the first page."""
    value = read_cursor(query.cursor)
    if value is None:
        return 0
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise bad_cursor()
    return int(value)
