"""IngestionJob: its status. The spec is ``media_gateway.core.domain.specs.IngestionJobSpec``.

The reconciler builds it from these models; ``progress`` and ``cursor`` are written by the field manager
``mediagateway-progress``, everything else by ``mediagateway-operator``.
"""

from typing import Annotated, Literal

from pydantic import Field

from media_gateway.core.domain.spec_types import Keyed, Spec
from media_gateway_operator.crds.status import Conditions, Count, Message, Name, Number, Percent, Time, Word

CONDITIONS = ("Accepted", "Running", "Suspended", "Complete", "Failed", "Stalled")

Phase = Literal[
    "Pending", "Waiting", "Scheduled", "Running", "Suspended", "Stalled", "Complete", "Failed", "Terminating"
]


class ActiveRun(Spec):
    """A run that goes on."""

    name: Name
    """Name of its Job."""
    uid: Word
    """Uid of its Job."""


class Cursor(Spec):
    """How far the source was read; where the next Incremental run begins."""

    value: Message | None = None
    """Highest value of the cursor field."""
    updated_at: Time | None = None
    """When it last grew."""


class IngestionProgress(Spec):
    """How far the run is; written at most every 10 seconds."""

    read: Count = 0
    """Records read from the source."""
    written: Count = 0
    """Records written to the catalogue."""
    skipped: Count = 0
    """Records that were already there, unchanged."""
    failed: Count = 0
    """Records rejected; they are kept as dead letters."""
    percent: Percent | None = None
    """Share of the source that was read, where the source says how much there is."""
    rate_per_second: Number | None = None
    """Records a second, lately."""
    estimated_remaining_seconds: Count | None = None
    """Time until the source is read, at that rate."""
    message: Message | None = None
    """What the run is doing, or waits for."""
    last_update_time: Time | None = None
    """When there was progress last."""


class LastRun(Spec):
    """How the last finished run, or attempt, ended."""

    name: Name | None = None
    """Name of its Job."""
    result: Literal["Complete", "Failed", "Cancelled"] | None = None
    """How it ended."""
    reason: Word | None = None
    """Why, in one word."""
    message: Message | None = None
    """Why, in a sentence."""
    exit_code: Annotated[int, Field(ge=0, le=255)] | None = None
    """Exit status of the container; docs/ingestion.md has the list."""
    log_tail: Message | None = None
    """Last lines of its log."""


class IngestionJobStatus(Spec):
    """What the operator found and did. `kubectl wait --for=condition=Complete` works on it."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    phase: Phase | None = None
    """The conditions in one word, for people only."""
    reason: Word | None = None
    """Reason of the condition that decides the phase, for people only."""
    message: Message | None = None
    """Its message, shortened."""
    conditions: Conditions = ()
    """Accepted, Running, Suspended, Complete, Failed, Stalled."""
    start_time: Time | None = None
    """When the pods of the last run began. From then on spec.source can be changed only while spec.suspend is true."""
    completion_time: Time | None = None
    """When the job ended; never for one with a schedule."""
    last_schedule_time: Time | None = None
    """When the schedule last started a run."""
    next_schedule_time: Time | None = None
    """When the schedule will start the next run."""
    last_successful_time: Time | None = None
    """When a run last ended well."""
    attempt: Count | None = None
    """Number of the present attempt; it only grows."""
    active: Annotated[tuple[ActiveRun, ...], Field(max_length=10), Keyed("uid")] = ()
    """Runs that go on."""
    cursor: Cursor | None = None
    """How far the source was read."""
    progress: IngestionProgress | None = None
    """How far the run is."""
    last_run: LastRun | None = None
    """How the last finished run ended."""
