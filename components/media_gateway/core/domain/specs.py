"""The manifests of jobs: what ``media-gateway ingest run FILE`` takes and, as custom resources, what the cluster takes.

Used by ingestion (runs), the command line (loading) and the operator (schema generation). Field names are camelCase as
in Kubernetes; every string, list and map is bounded, and non-integers are decimal strings, because the API server
refuses schemas without bounds. Secrets are named here and never contained. Nothing here reads a source.
"""

import json
import re
from collections.abc import Hashable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Field, ValidationError

from media_gateway.core.domain.spec_jobs import (
    SCHEDULE_RULES,
    Affinity,
    ConcurrencyPolicy,
    GatewayRef,
    Limit,
    NodeRequirement,
    PodTemplate,
    Resources,
    Schedule,
    Seconds,
    SecondsToLive,
    StartingDeadline,
    TimeZone,
    Toleration,
)
from media_gateway.core.domain.spec_mapping import FieldRule, ItemRule, MappingSpec, PresetName, Transform
from media_gateway.core.domain.spec_sources import (
    CsvOptions,
    DatabaseSource,
    DemoSource,
    FileSource,
    Format,
    HttpAuth,
    HttpSource,
    JsonOptions,
    KafkaSource,
    Pagination,
    RateLimit,
    S3Source,
    SourceSpec,
    SourceType,
    Topic,
)
from media_gateway.core.domain.spec_training import LoRATrainingJobSpec
from media_gateway.core.domain.spec_types import (
    IMMUTABLE,
    JOB_NAME,
    Annotations,
    DnsLabel,
    JobName,
    Labels,
    Rule,
    SecretRef,
    ShortName,
    Spec,
    matches,
)
from media_gateway.core.errors import FieldError, InvalidInputError
from media_gateway.core.validation import message_of

__all__ = [
    "API_VERSION",
    "Affinity",
    "CatalogSink",
    "CsvOptions",
    "DatabaseSource",
    "DemoSource",
    "ErrorPolicy",
    "EventsSink",
    "FieldRule",
    "FileSource",
    "Format",
    "GatewayRef",
    "HttpAuth",
    "HttpSource",
    "IngestionJob",
    "IngestionJobSpec",
    "ItemRule",
    "JsonOptions",
    "KafkaSource",
    "LoRATrainingJobSpec",
    "MappingSpec",
    "NodeRequirement",
    "Pagination",
    "PodTemplate",
    "PresetName",
    "RateLimit",
    "Resources",
    "S3Source",
    "SecretRef",
    "Sinks",
    "SourceSpec",
    "SourceType",
    "Toleration",
    "Transform",
    "VectorsSink",
    "load_manifest",
    "parse_manifest",
]

API_VERSION = "mediagateway.io/v1alpha1"

_JOB_NAME = re.compile(JOB_NAME)

MANIFEST_LIMIT_BYTES = 1_048_576
"""Kubernetes keeps no larger object either (etcd's request limit)."""


class CatalogSink(Spec):
    """Upsert into the catalogue in Postgres."""

    enabled: bool = True
    """false leaves the catalogue alone."""
    purge_on_delete: bool = False
    """Remove the source's records from the catalogue when the job is deleted."""


class VectorsSink(Spec):
    """Embeddings into the vector index."""

    enabled: bool = True
    """false makes no vectors."""
    collection: Annotated[
        str,
        Field(max_length=63),
        matches(
            r"^[a-zA-Z_][a-zA-Z0-9_-]*$",
            "must begin with a letter or '_' and hold letters, digits, '_' and '-' only",
        ),
    ] = "media_content"
    """Collection of the index."""
    embedding_model: ShortName = "all-MiniLM-L6-v2"
    """Model that makes the vectors; one collection never mixes two."""
    dimension: Annotated[int, Field(ge=1, le=4096), IMMUTABLE] = 384
    """Size of a vector: the model's. It can't be changed."""
    purge_on_delete: bool = False
    """Remove the source's vectors when the job is deleted."""


class EventsSink(Spec):
    """Content events onto the bus."""

    enabled: bool = True
    """false tells nobody."""
    topic: Topic = "media-gateway.content"
    """Topic of the events."""


class Sinks(Spec):
    """Where accepted records go; all three by default."""

    RULES: ClassVar = (
        Rule(
            "at least one sink must be enabled",
            "self.catalog.enabled || self.vectors.enabled || self.events.enabled",
            lambda self: self.catalog.enabled or self.vectors.enabled or self.events.enabled,
        ),
        Rule(
            "vectors and events follow from the catalogue: enable catalog too",
            "self.catalog.enabled || !(self.vectors.enabled || self.events.enabled)",
            lambda self: self.catalog.enabled or not (self.vectors.enabled or self.events.enabled),
            "catalog",
        ),
    )

    catalog: CatalogSink = CatalogSink()
    """The catalogue in Postgres."""
    vectors: VectorsSink = VectorsSink()
    """The vector index."""
    events: EventsSink = EventsSink()
    """The bus."""


class Dedupe(Spec):
    """What makes two records of a source the same."""

    keys: Annotated[tuple[ShortName, ...], Field(min_length=1, max_length=8)] = ("id",)
    """Source fields (dotted) that together are the record's key, where the mapping gives no ``source_id``."""


class ErrorPolicy(Spec):
    """How many records may be rejected, and where they go besides the database."""

    max_error_percent: Annotated[int, Field(ge=0, le=100)] = 1
    """More rejected records than this share fail the job."""
    dead_letter_topic: Topic | None = None
    """Topic for rejected records, besides the database."""


class IngestionJobSpec(Spec):
    """What an ingestion job reads, how records are mapped, and where they go."""

    RULES: ClassVar = (
        Rule(
            "mode Incremental needs cursorField: the source field that grows with every change",
            "self.mode != 'Incremental' || has(self.cursorField) || self.source.type == 'Kafka'",
            lambda self: self.mode != "Incremental" or bool(self.cursor_field) or self.source.type == "Kafka",
            "cursorField",
            "FieldValueRequired",
        ),
        *SCHEDULE_RULES,
        Rule(
            "gatewayRef can't be changed once it is set; delete the job and create it anew",
            "!has(oldSelf.gatewayRef) || (has(self.gatewayRef) && self.gatewayRef == oldSelf.gatewayRef)",
            None,
            "gatewayRef",
        ),
    )

    gateway_ref: GatewayRef | None = None
    """The MediaGateway whose servers the job uses; by default the only one of the namespace. Once set it can't be changed."""
    source: SourceSpec
    """Where records come from. Once the job has started it can be changed only while the job is suspended."""
    mode: Literal["Full", "Incremental"] = "Full"
    """Full lists everything the source has; Incremental reads what is newer than the cursor."""
    cursor_field: ShortName | None = None
    """Source field (dotted) that grows with every change of a record: a time or a number."""
    mapping: MappingSpec | None = None
    """How fields become canonical ones. Without it, records already have the canonical fields under their own names."""
    sinks: Sinks = Sinks()
    """Where accepted records go."""
    dedupe: Dedupe = Dedupe()
    """What makes two records the same."""
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Records written in one transaction."""
    parallelism: Annotated[int, Field(ge=1, le=64)] = 1
    """Transactions at the same time."""
    error_policy: ErrorPolicy = ErrorPolicy()
    """How many records may be rejected."""
    schedule: Schedule | None = None
    """Five cron fields (minute hour day month weekday); without it the job runs once."""
    time_zone: TimeZone | None = None
    """Time zone of the schedule, as Europe/Berlin; by default UTC."""
    concurrency_policy: ConcurrencyPolicy | None = None
    """With a schedule only; Forbid if not given, because an incremental cursor has one owner."""
    starting_deadline_seconds: StartingDeadline = 600
    """A scheduled run that could not begin within this time is left out."""
    successful_runs_history_limit: Limit = 3
    """Finished runs of a schedule that are kept."""
    failed_runs_history_limit: Limit = 1
    """Failed runs of a schedule that are kept."""
    suspend: bool = False
    """true stops the job after its batch, its cursor kept, and starts no new run; false continues."""
    backoff_limit: Limit = 3
    """Attempts after the first one. Exit codes 64 to 78 are final at once; an evicted pod does not count."""
    active_deadline_seconds: Seconds | None = None
    """Time the job may take in all; begins anew when it is resumed."""
    pre_running_deadline_seconds: Seconds = 600
    """Time until the first pod must run."""
    ttl_seconds_after_finished: SecondsToLive | None = None
    """Time after its end when the job is deleted, this resource with it. Not with a schedule."""
    dry_run: Annotated[bool, IMMUTABLE] = False
    """Read and check every record, and write nothing. It can't be changed."""
    template: PodTemplate = PodTemplate()
    """What may be said of the job's pods."""


class Metadata(Spec):
    """Name and labels of a manifest."""

    name: JobName
    namespace: DnsLabel | None = None
    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)


class IngestionJob(Spec):
    """Reads a source, once or on a schedule, and writes its records into the catalogue."""

    api_version: Literal["mediagateway.io/v1alpha1"]
    kind: Literal["IngestionJob"]
    metadata: Metadata
    spec: IngestionJobSpec

    @property
    def source_name(self) -> str:
        """Name under which the records are kept."""
        return self.spec.source.name or self.metadata.name


def load_manifest(path: Path) -> IngestionJob:
    """Read an ingestion job's manifest from a YAML or JSON file.

    Raises
    ------
    InvalidInputError
        The file can't be read, is no YAML or JSON, names a key twice, or is no valid manifest; ``errors`` names each
        wrong field by its path (``spec.source.http.url``) and the message repeats them, one a line.
    """
    try:
        with path.open("rb") as file:
            body = file.read(MANIFEST_LIMIT_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(f"can't read {path}: {error.strerror or error}") from error
    if len(body) > MANIFEST_LIMIT_BYTES:
        raise InvalidInputError(f"{path} is longer than {MANIFEST_LIMIT_BYTES} bytes")
    try:
        if path.suffix == ".json":
            document = json.loads(body, object_pairs_hook=_unique)
        else:
            document = yaml.load(body, Loader=_UniqueKeyLoader)  # noqa: S506 - derives from SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is no YAML or JSON document: {error}") from error
    return parse_manifest(document)


def parse_manifest(document: object) -> IngestionJob:
    """Check a manifest that is already a document (from the API server, from a test).

    ``spec.source.name`` is filled in from ``metadata.name`` where it is not given.

    Raises
    ------
    InvalidInputError
        As `load_manifest`.
    """
    try:
        # Through JSON, and strictly: a manifest means the same here and at an API server, which converts nothing.
        body = json.dumps(_with_source_name(document), default=_plain)
        return IngestionJob.model_validate_json(body, strict=True)
    except TypeError as error:
        raise InvalidInputError(f"the manifest holds what JSON can't: {error}") from error
    except ValidationError as error:
        wrong = [
            FieldError(
                ".".join(str(part) for part in problem["loc"] if part != "[key]"),
                message_of(problem),
            )
            for problem in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        lines = [f"{one.field or 'manifest'}: {one.message}" for one in wrong]
        raise InvalidInputError("\n".join(lines), errors=wrong) from error


def _with_source_name(document: Any) -> Any:
    # On the raw document, so that the models stay immutable and a wrong shape is reported as usual.
    match document:
        case {"metadata": {"name": str(name)}, "spec": {"source": {"type": str()} as source} as spec} if (
            _JOB_NAME.fullmatch(name)
        ):
            return {**document, "spec": {**spec, "source": {"name": name, **source}}}
        case _:
            return document


def _plain(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()  # YAML reads a date where its author wrote a text
    raise TypeError(f"a {type(value).__name__}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the key {next(n for n in names if names.count(n) > 1)!r} appears twice in one object"
        )
    return result


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML lets the last of two equal keys win without a word; here it is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        keys = [
            self.construct_object(key, deep=True)
            for key, _ in node.value
            if key.tag != "tag:yaml.org,2002:merge"
        ]
        twice = {key for key in keys if isinstance(key, Hashable) and keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {min(map(str, twice))!r} appears twice", node.start_mark
            )
        return super().construct_mapping(node, deep)
