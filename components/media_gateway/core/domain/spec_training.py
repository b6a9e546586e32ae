"""What a LoRA training job trains on which data, how far, and what becomes of the adapter.

Used through `specs`: by the operator (schema, reconciling) and by training. Terms are PEFT's; numbers that are no
integers are decimal strings. Nothing here trains.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from media_gateway.core.domain.spec_jobs import (
    SCHEDULE_RULES,
    ConcurrencyPolicy,
    GatewayRef,
    Limit,
    PodTemplate,
    Resources,
    Schedule,
    Seconds,
    SecondsToLive,
    StartingDeadline,
    TimeZone,
)
from media_gateway.core.domain.spec_types import (
    IMMUTABLE,
    DnsLabel,
    HttpUrl,
    Rule,
    SecretRef,
    ShortName,
    Spec,
    decimal_text,
    matches,
)

Uri = Annotated[
    str,
    Field(max_length=2048),
    matches(
        r"^[a-z][a-z0-9+.-]*://[^\s]+$",
        "must be an address with a scheme, as hf://owner/model, s3://bucket/key, pvc://claim/path or registry://name",
    ),
]
SignedDecimal = Annotated[
    str,
    BeforeValidator(decimal_text),
    Field(max_length=20),
    matches(r"^-?[0-9]{1,7}(\.[0-9]{1,9})?$", "must be a decimal number in quotes, with at most 9 decimals"),
]
Dropout = Annotated[
    str,
    BeforeValidator(decimal_text),
    Field(max_length=8),
    matches(r"^0(\.[0-8][0-9]{0,5}|\.90{0,5})?$", 'must be a decimal number in quotes from "0" to "0.9"'),
]
LearningRate = Annotated[
    str,
    BeforeValidator(decimal_text),
    Field(max_length=20),
    matches(
        r"^(1(\.0{1,12})?|0\.[0-9]{0,11}[1-9][0-9]{0,11})$",
        'must be a decimal number in quotes, above zero and at most "1"',
    ),
]


class BaseModelSource(Spec):
    """The model that the adapter is for."""

    uri: Uri
    """Where the model is."""
    revision: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Commit or digest of the model. Pin it: a branch or tag may mean another model at the next run."""
    secret_ref: SecretRef | None = None
    """Token for the place where the model is."""


class Interactions(Spec):
    """Samples made of what users did here."""

    segment: ShortName | None = None
    """Users that are taken; by default all who agreed."""
    since_days: Annotated[int, Field(ge=1, le=730)] | None = None
    """Age of the oldest interaction; by default all that are kept."""
    min_samples: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1000
    """Fewer samples than these fail the job instead of training on noise."""
    validation_percent: Annotated[int, Field(ge=1, le=50)] = 10
    """Share of the samples that is kept for evaluation."""


class DatasetSpec(Spec):
    """What is trained on. Exactly the one part that ``type`` names is given."""

    RULES: ClassVar = (
        Rule(
            "give exactly the part that type names: uri for URI, interactions for Interactions",
            "has(self.uri) == (self.type == 'URI') && has(self.interactions) == (self.type == 'Interactions')",
            lambda self: (
                (self.uri is not None) == (self.type == "URI")
                and (self.interactions is not None) == (self.type == "Interactions")
            ),
        ),
        Rule(
            "secretRef belongs to type URI",
            "!has(self.secretRef) || self.type == 'URI'",
            lambda self: self.secret_ref is None or self.type == "URI",
            "secretRef",
            "FieldValueForbidden",
        ),
    )

    type: Literal["URI", "Interactions"]
    """Kind of data: files at an address, or what users did here."""
    uri: Uri | None = None
    """Where the files are (type URI)."""
    secret_ref: SecretRef | None = None
    """Token for the place where the files are (type URI)."""
    interactions: Interactions | None = None
    """Which interactions are taken (type Interactions)."""


class LoraSpec(Spec):
    """Shape of the adapter, in PEFT's terms."""

    rank: Annotated[int, Field(ge=1, le=256)] = 8
    """Rank of the update matrices."""
    alpha: Annotated[int, Field(ge=1, le=1024)] = 16
    """Scale of the update: alpha over rank."""
    dropout: Dropout = "0.05"
    """Share of the adapter's inputs that is dropped while training, from "0" to "0.9"."""
    bias: Literal["None", "All", "LoRAOnly"] = "None"
    """Biases that are trained too."""
    target_modules: Annotated[tuple[ShortName, ...], Field(max_length=64)] = ()
    """Modules that get an adapter; by default those of the model's architecture."""


class EarlyStopping(Spec):
    """End the training when it no longer gets better."""

    metric: ShortName = "eval_loss"
    """Figure that is watched."""
    patience: Annotated[int, Field(ge=1, le=100)] = 3
    """Evaluations without improvement after which the training ends."""
    min_delta: SignedDecimal = "0"
    """Smallest change that counts as improvement."""


class TrainingSpec(Spec):
    """How long and how fast is learned."""

    epochs: Annotated[int, Field(ge=1, le=1000)] = 3
    """Passes over the data."""
    max_steps: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Optimizer steps; stands before epochs."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    """Samples a device takes at once."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=1024)] = 1
    """Batches in one optimizer step."""
    learning_rate: LearningRate = "0.0002"
    """Highest learning rate."""
    scheduler: Literal["Cosine", "Linear", "Constant"] = "Cosine"
    """How the learning rate falls."""
    warmup_percent: Annotated[int, Field(ge=0, le=100)] = 3
    """Share of the steps in which the learning rate rises from zero."""
    max_sequence_length: Annotated[int, Field(ge=8, le=1_048_576)] = 1024
    """Tokens of a sample; what is longer is cut."""
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] = 42
    """Seed of everything random; it is kept with the adapter, so that a run can be repeated."""
    precision: Literal["Auto", "FP32", "BF16", "FP16"] = "Auto"
    """Numbers the training computes with; Auto takes BF16 where the device has it, else FP32."""
    early_stopping: EarlyStopping | None = None
    """End the training when it no longer gets better."""


class PvcStorage(Spec):
    """A volume claim in the namespace."""

    claim_name: DnsLabel
    """Name of the claim; with several nodes it must be one that many nodes may write (ReadWriteMany)."""
    path: Annotated[str, Field(max_length=1000)] = ""
    """Folder on the volume."""


class S3Storage(Spec):
    """A bucket of an S3-compatible store. Without keys, the ambient credentials are used."""

    RULES: ClassVar = (
        Rule(
            "accessKeyRef and secretKeyRef go together",
            "has(self.accessKeyRef) == has(self.secretKeyRef)",
            lambda self: (self.access_key_ref is None) == (self.secret_key_ref is None),
            "secretKeyRef",
        ),
    )

    bucket: Annotated[
        str,
        Field(min_length=3, max_length=63),
        matches(
            r"^[a-z0-9][a-z0-9.-]+[a-z0-9]$",
            "must be the name of a bucket: lower-case letters, digits, '-' and '.', without s3://",
        ),
    ]
    """Name of the bucket."""
    prefix: Annotated[str, Field(max_length=1000)] = ""
    """Beginning of the keys."""
    endpoint_url: HttpUrl | None = None
    """Address of the store; by default that of AWS."""
    region: Annotated[str, Field(max_length=64)] = "us-east-1"
    """Region of the bucket."""
    access_key_ref: SecretRef | None = None
    """Access key id."""
    secret_key_ref: SecretRef | None = None
    """Secret access key."""


class CheckpointStorage(Spec):
    """Where checkpoints are kept: on a volume or in a bucket."""

    RULES: ClassVar = (
        Rule(
            "give exactly one of pvc and s3",
            "has(self.pvc) != has(self.s3)",
            lambda self: (self.pvc is None) != (self.s3 is None),
        ),
    )

    pvc: PvcStorage | None = None
    """A volume claim."""
    s3: S3Storage | None = None
    """A bucket."""


class CheckpointSpec(Spec):
    """How much work can be lost: a retry, a preemption and a resume go on from the last verified checkpoint."""

    every_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """Optimizer steps between two checkpoints."""
    keep: Annotated[int, Field(ge=1, le=50)] = 3
    """Checkpoints that are kept."""
    storage: CheckpointStorage | None = None
    """Where they are kept; by default in the pod, so that a new pod begins anew."""
    resume: bool = True
    """false begins every attempt anew."""
    grace_seconds: Annotated[int, Field(ge=1, le=3600)] = 120
    """Time a pod gets for its last checkpoint when it is told to stop."""


class EvaluationSpec(Spec):
    """What an adapter must reach to be promoted."""

    RULES: ClassVar = (
        Rule(
            "minValue needs metric: the figure it is about",
            "!has(self.minValue) || has(self.metric)",
            lambda self: self.min_value is None or self.metric is not None,
            "metric",
            "FieldValueRequired",
        ),
    )

    metric: ShortName | None = None
    """Figure that is looked at; by default the evaluation loss."""
    min_value: SignedDecimal | None = None
    """Value it must reach."""
    compare_to_current: bool = True
    """Whether it must be better than the adapter in use, measured on the same samples."""


class OutputSpec(Spec):
    """What becomes of the adapter."""

    adapter_name: DnsLabel | None = None
    """Name in the registry; by default the job's."""
    registry: Uri | None = None
    """Where adapters are kept; by default in the platform's own registry."""
    promote_policy: Literal["Manual", "OnSuccess", "OnImprovement"] = "OnImprovement"
    """When the adapter becomes the one that is used."""
    keep: Annotated[int, Field(ge=1, le=100)] = 5
    """Versions of the adapter that are kept, besides the one in use."""


def _same(path: str) -> str:
    """CEL: a member, perhaps of a member, is as it was. Written with `has`, because an optional's cost can't be bounded."""

    def given(root: str) -> str:
        parts = path.split(".")
        return " && ".join(f"has({root}.{'.'.join(parts[: n + 1])})" for n in range(len(parts)))

    return f"({given('self')} ? {given('oldSelf')} && self.{path} == oldSelf.{path} : !({given('oldSelf')}))"


class LoRATrainingJobSpec(Spec):
    """What a LoRA training job trains on which data, how far, and what becomes of the adapter."""

    RULES: ClassVar = (
        *SCHEDULE_RULES,
        Rule(
            "nodes above 1 needs checkpoint.storage: several pods can't continue from one pod's disk",
            "self.nodes == 1 || has(self.checkpoint.storage)",
            lambda self: self.nodes == 1 or self.checkpoint.storage is not None,
            "checkpoint",
            "FieldValueRequired",
        ),
        Rule(
            "gatewayRef can't be changed once it is set; delete the job and create it anew",
            "!has(oldSelf.gatewayRef) || (has(self.gatewayRef) && self.gatewayRef == oldSelf.gatewayRef)",
            None,
            "gatewayRef",
        ),
        Rule(
            "resources, template.nodeSelector and template.tolerations can be changed only while suspend is true",
            "self.suspend || oldSelf.suspend || "
            f"({_same('resources')} && {_same('template.nodeSelector')} && {_same('template.tolerations')})",
            None,
        ),
    )

    gateway_ref: GatewayRef | None = None
    """The MediaGateway whose servers the job uses; by default the only one of the namespace. Once set it can't be changed."""
    base_model: Annotated[BaseModelSource, IMMUTABLE]
    """The model that the adapter is for. It can't be changed."""
    dataset: Annotated[DatasetSpec, IMMUTABLE]
    """What is trained on. It can't be changed."""
    lora: Annotated[LoraSpec, IMMUTABLE] = LoraSpec()
    """Shape of the adapter. It can't be changed."""
    training: TrainingSpec = TrainingSpec()
    """How long and how fast is learned."""
    checkpoint: CheckpointSpec = CheckpointSpec()
    """How much work can be lost."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """What an adapter must reach to be promoted."""
    output: OutputSpec = OutputSpec()
    """What becomes of the adapter."""
    nodes: Annotated[int, Field(ge=1, le=32)] = 1
    """Pods that train together."""
    devices_per_node: Annotated[int, Field(ge=0, le=16)] = 0
    """GPUs of each pod; 0 trains on the CPU."""
    resources: Resources | None = None
    """Requests and limits of the container. They can be changed only while the job is suspended."""
    schedule: Schedule | None = None
    """Five cron fields (minute hour day month weekday); without it the job runs once."""
    time_zone: TimeZone | None = None
    """Time zone of the schedule, as Europe/Berlin; by default UTC."""
    concurrency_policy: ConcurrencyPolicy | None = None
    """With a schedule only; Forbid if not given."""
    starting_deadline_seconds: StartingDeadline = 600
    """A scheduled run that could not begin within this time is left out."""
    suspend: bool = False
    """true takes a checkpoint and stops the pods; false continues."""
    backoff_limit: Limit = 2
    """Attempts after the first one. Exit codes 64 to 78 are final at once; an evicted pod does not count."""
    active_deadline_seconds: Seconds = 86_400
    """Time the job may take in all; begins anew when it is resumed."""
    pre_running_deadline_seconds: Seconds = 1800
    """Time until all pods must run."""
    ttl_seconds_after_finished: SecondsToLive | None = None
    """Time after its end when the job is deleted, this resource with it. Not with a schedule."""
    managed_by: Annotated[Literal["mediagateway.io/operator", "kueue.x-k8s.io/multikueue"], IMMUTABLE] = (
        "mediagateway.io/operator"
    )
    """Who runs the job; Kueue may dispatch it to another cluster. It can't be changed."""
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    """Delete removes adapters that were never promoted together with the job."""
    template: PodTemplate = PodTemplate()
    """What may be said of the job's pods."""
