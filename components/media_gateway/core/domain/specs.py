"""The manifests of jobs: what ``media-gateway ingest run FILE`` takes and, as custom resources, what the cluster takes.

Used by ingestion (runs), the command line (loading) and the operator (schema generation). Field names are camelCase as
in Kubernetes; every string, list and map is bounded, and non-integers are decimal strings, because the API server
refuses schemas without bounds. Secrets are named here and never contained. Nothing here reads a source.
"""

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

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
)
from media_gateway.core.domain.spec_types import (
    JOB_NAME,
    Annotations,
    DnsLabel,
    JobName,
    Labels,
    SecretRef,
    ShortName,
    Spec,
)
from media_gateway.core.errors import FieldError, InvalidInputError
from media_gateway.core.validation import message_of

__all__ = [
    "API_VERSION",
    "CatalogSink",
    "CsvOptions",
    "DatabaseSource",
    "DemoSource",
    "ErrorPolicy",
    "EventsSink",
    "FieldRule",
    "FileSource",
    "Format",
    "HttpAuth",
    "HttpSource",
    "IngestionJob",
    "IngestionJobSpec",
    "ItemRule",
    "JsonOptions",
    "KafkaSource",
    "MappingSpec",
    "Pagination",
    "PodTemplate",
    "PresetName",
    "RateLimit",
    "S3Source",
    "SecretRef",
    "Sinks",
    "SourceSpec",
    "SourceType",
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
    purge_on_delete: bool = False


class VectorsSink(Spec):
    """Embeddings into the vector index."""

    enabled: bool = True
    collection: Annotated[str, Field(max_length=63, pattern=r"^[a-zA-Z_][a-zA-Z0-9_-]*$")] = "media_content"
    embedding_model: ShortName = "all-MiniLM-L6-v2"
    dimension: Annotated[int, Field(ge=1, le=4096)] = 384
    purge_on_delete: bool = False


class EventsSink(Spec):
    """Content events onto the bus."""

    enabled: bool = True
    topic: Annotated[str, Field(max_length=249, pattern=r"^[a-zA-Z0-9._-]+$")] = "media-gateway.content"


class Sinks(Spec):
    """Where accepted records go; all three by default."""

    catalog: CatalogSink = CatalogSink()
    vectors: VectorsSink = VectorsSink()
    events: EventsSink = EventsSink()

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.catalog.enabled or self.vectors.enabled or self.events.enabled):
            raise ValueError("at least one sink must be enabled")
        if not self.catalog.enabled and (self.vectors.enabled or self.events.enabled):
            raise ValueError("vectors and events follow from the catalogue: enable catalog too")
        return self


class Dedupe(Spec):
    """What makes two records of a source the same."""

    keys: Annotated[tuple[ShortName, ...], Field(min_length=1, max_length=8)] = ("id",)
    """Source fields (dotted) that together are the record's key, where the mapping gives no ``source_id``."""


class ErrorPolicy(Spec):
    """How many records may be rejected, and where they go besides the database."""

    max_error_percent: Annotated[int, Field(ge=0, le=100)] = 1
    dead_letter_topic: (
        Annotated[str, Field(min_length=1, max_length=249, pattern=r"^[a-zA-Z0-9._-]+$")] | None
    ) = None


_CRON_FIELD = r"[0-9A-Za-z*?/,#L-]{1,60}"
Schedule = Annotated[str, Field(max_length=310, pattern=rf"^{_CRON_FIELD}( {_CRON_FIELD}){{4}}$")]
"""Five-field cron, without ``TZ=``."""
Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
Quantities = Annotated[dict[Annotated[str, Field(max_length=63)], Quantity], Field(max_length=16)]


class Resources(Spec):
    """Kubernetes resource requests and limits."""

    requests: Quantities = Field(default_factory=dict)
    limits: Quantities = Field(default_factory=dict)


class Toleration(Spec):
    """Kubernetes toleration."""

    key: Annotated[str, Field(max_length=317)] | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: Annotated[str, Field(max_length=63)] | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[int, Field(ge=0)] | None = None


class NodeRequirement(Spec):
    """One condition on a node's labels."""

    key: Annotated[str, Field(max_length=317)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=32)] = ()


class Affinity(Spec):
    """Nodes the pods must be placed on (all conditions hold)."""

    required_node_labels: Annotated[tuple[NodeRequirement, ...], Field(max_length=16)] = ()


class PodTemplate(Spec):
    """What may be said of the job's pods; ignored outside a cluster."""

    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)
    resources: Resources = Resources()
    node_selector: Labels = Field(default_factory=dict)
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    affinity: Affinity | None = None
    service_account_name: DnsLabel | None = None
    priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    image: Annotated[str, Field(min_length=1, max_length=500)] | None = None


class GatewayRef(Spec):
    """The MediaGateway resource whose servers the job uses; by default the only one of the namespace."""

    name: DnsLabel


class IngestionJobSpec(Spec):
    """What an ingestion job reads, how records are mapped, and where they go."""

    gateway_ref: GatewayRef | None = None
    source: SourceSpec
    mode: Literal["Full", "Incremental"] = "Full"
    cursor_field: ShortName | None = None
    """Source field (dotted) that grows with every change of a record: a time or a number."""
    mapping: MappingSpec | None = None
    """Without it, records already have the canonical fields under their own names."""
    sinks: Sinks = Sinks()
    dedupe: Dedupe = Dedupe()
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Records written in one transaction."""
    parallelism: Annotated[int, Field(ge=1, le=64)] = 1
    error_policy: ErrorPolicy = ErrorPolicy()
    schedule: Schedule | None = None
    time_zone: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$")] | None = None
    concurrency_policy: Literal["Forbid", "Allow", "Replace"] | None = None
    """With a schedule only; Forbid if not given, because an incremental cursor has one owner."""
    starting_deadline_seconds: Annotated[int, Field(ge=10, le=31_536_000)] = 600
    successful_runs_history_limit: Annotated[int, Field(ge=0, le=20)] = 3
    failed_runs_history_limit: Annotated[int, Field(ge=0, le=20)] = 1
    suspend: bool = False
    backoff_limit: Annotated[int, Field(ge=0, le=20)] = 3
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    pre_running_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 600
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    dry_run: bool = False
    template: PodTemplate = PodTemplate()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = {
            "mode Incremental needs cursorField": self.mode == "Incremental"
            and self.cursor_field is None
            and self.source.type != "Kafka",
            "timeZone needs schedule": self.time_zone is not None and self.schedule is None,
            "concurrencyPolicy needs schedule": self.concurrency_policy is not None and self.schedule is None,
            "ttlSecondsAfterFinished is not for a job with a schedule": self.ttl_seconds_after_finished
            is not None
            and self.schedule is not None,
        }
        for problem, holds in problems.items():
            if holds:
                raise ValueError(problem)
        return self


class Metadata(Spec):
    """Name and labels of a manifest."""

    name: JobName
    namespace: DnsLabel | None = None
    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)


class IngestionJob(Spec):
    """A whole manifest. ``spec.source.name`` is filled in from ``metadata.name`` where it is not given."""

    api_version: Literal["mediagateway.io/v1alpha1"]
    kind: Literal["IngestionJob"]
    metadata: Metadata
    spec: IngestionJobSpec

    @model_validator(mode="before")
    @classmethod
    def _name_source(cls, data: Any) -> Any:
        # Done on the raw document, so that the models stay immutable and a wrong shape is reported as usual.
        match data:
            case {"metadata": {"name": str(name)}, "spec": {"source": {"type": str()} as source} as spec} if (
                _JOB_NAME.fullmatch(name)
            ):
                return {**data, "spec": {**spec, "source": {"name": name, **source}}}
            case _:
                return data

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

    Raises
    ------
    InvalidInputError
        As `load_manifest`.
    """
    try:
        return IngestionJob.model_validate(document)
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
