"""LoRATrainingJob: its status. The spec is ``media_gateway.core.domain.specs.LoRATrainingJobSpec``."""

from typing import Annotated, Literal

from pydantic import Field

from media_gateway.core.domain.spec_types import Keyed, Spec
from media_gateway_operator.crds.status import (
    Address,
    Conditions,
    Count,
    Message,
    Name,
    Number,
    Percent,
    Time,
    Word,
)

CONDITIONS = (
    "Accepted",
    "Admitted",
    "Running",
    "Suspended",
    "Complete",
    "Failed",
    "AdapterReady",
    "AdapterPromoted",
    "Stalled",
)

Phase = Literal[
    "Pending",
    "Queued",
    "Scheduled",
    "Running",
    "Suspended",
    "Stalled",
    "Complete",
    "Failed",
    "Terminating",
]

Digest = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]


class Workers(Spec):
    """Pods of the present attempt."""

    desired: Count = 0
    """Pods that there should be: `nodes`."""
    ready: Count = 0
    """Pods that train."""
    succeeded: Count = 0
    """Pods that ended well."""
    failed: Count = 0
    """Pods that failed."""


class TrainingProgress(Spec):
    """How far the training is; written at most every 10 seconds."""

    step: Count = 0
    """Optimizer steps done."""
    total_steps: Count | None = None
    """Optimizer steps there will be."""
    epoch: Number | None = None
    """Passes over the data done."""
    percent: Percent | None = None
    """Share of the steps done."""
    estimated_remaining_seconds: Count | None = None
    """Time until the last step, at the present rate."""
    samples_per_second: Number | None = None
    """Samples a second, lately."""
    last_update_time: Time | None = None
    """When the workers last reported."""


class Metric(Spec):
    """A figure of the training."""

    name: Word
    """What is measured: `loss`, `eval_loss`, `learning_rate`, …"""
    value: Number
    """Its last value."""


class CheckpointStatus(Spec):
    """The last checkpoint that was written whole and verified."""

    step: Count | None = None
    """Optimizer step it was taken at."""
    uri: Address | None = None
    """Where it is."""
    digest: Digest | None = None
    """Hash of its contents."""
    time: Time | None = None
    """When it was written."""


class AdapterStatus(Spec):
    """The adapter that the training made."""

    name: Word | None = None
    """Name and version in the registry, as `films@3`."""
    uri: Address | None = None
    """Where it is."""
    digest: Digest | None = None
    """Hash of its contents."""
    size_bytes: Count | None = None
    """Size of its file."""
    base_model_revision: Word | None = None
    """Revision of the base model it was trained on."""
    evaluation: Number | None = None
    """Value of `evaluation.metric`."""
    promoted_at: Time | None = None
    """When it became the one that is used."""


class Failure(Spec):
    """Why the last attempt failed."""

    reason: Word | None = None
    """Why, in one word."""
    message: Message | None = None
    """Why, in a sentence."""
    exit_code: Annotated[int, Field(ge=0, le=255)] | None = None
    """Exit status of the container."""
    pod: Name | None = None
    """Pod that failed first."""
    node: Name | None = None
    """Node it ran on."""
    log_tail: Message | None = None
    """Last lines of its log."""


class LoRATrainingJobStatus(Spec):
    """What the operator found and did. `kubectl wait --for=condition=AdapterReady` works on it."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    phase: Phase | None = None
    """The conditions in one word, for people only."""
    reason: Word | None = None
    """Reason of the condition that decides the phase, for people only."""
    message: Message | None = None
    """Its message, shortened."""
    conditions: Conditions = ()
    """Accepted, Admitted, Running, Suspended, Complete, Failed, AdapterReady, AdapterPromoted, Stalled."""
    attempt: Count | None = None
    """Number of the present attempt; it only grows."""
    start_time: Time | None = None
    """When the first attempt began."""
    completion_time: Time | None = None
    """When the job ended; never for one with a schedule."""
    last_schedule_time: Time | None = None
    """When the schedule last started a run."""
    next_schedule_time: Time | None = None
    """When the schedule will start the next run."""
    job_name: Name | None = None
    """Job of the present attempt."""
    workers: Workers | None = None
    """Pods of the present attempt."""
    progress: TrainingProgress | None = None
    """How far the training is."""
    metrics: Annotated[tuple[Metric, ...], Field(max_length=16), Keyed("name")] = ()
    """Figures of the training."""
    checkpoint: CheckpointStatus | None = None
    """The last verified checkpoint."""
    adapter: AdapterStatus | None = None
    """The adapter that the training made."""
    failure: Failure | None = None
    """Why the last attempt failed."""
