"""Where an ingestion job reads: one model a kind of source, and the formats' options.

Used through `specs`. Addresses and limits only; the code that reads is ``ingestion.sources``.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from media_gateway.core.domain.spec_types import (
    DecimalText,
    DnsLabel,
    FieldValues,
    HttpUrl,
    SecretRef,
    ShortName,
    Spec,
    Text,
)


class RateLimit(Spec):
    """How often an upstream may be asked."""

    requests_per_second: DecimalText
    """May be below 1: ``0.011`` is about 1,000 a day."""


class HttpAuth(Spec):
    """Credentials of an HTTP source."""

    type: Literal["Bearer", "Header", "Query", "Basic"]
    name: ShortName | None = None
    """Name of the header or query field (``X-Api-Key``, ``api_key``); with Basic, the user name."""
    secret_ref: SecretRef
    """The token, key or password."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.type != "Bearer" and self.name is None:
            raise ValueError(f"auth of type {self.type} needs a name")
        return self


class Pagination(Spec):
    """How an HTTP source gives its pages.

    ``Page`` counts ``parameter`` up from ``start`` and stops at the first empty page, or after the page whose number
    stands at ``lastPagePath``. ``Cursor`` sends the value found at ``cursorPath`` of a page as ``parameter`` of the next
    and stops where there is none. ``Link`` follows ``rel="next"`` of the Link header (RFC 8288), on the same host only.
    """

    type: Literal["None", "Page", "Cursor", "Link"] = "None"
    parameter: ShortName | None = None
    start: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    size_parameter: ShortName | None = None
    size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    cursor_path: Text | None = None
    last_page_path: Text | None = None
    total_path: Text | None = None
    """Where a page says how many records there are in all; for progress only."""
    max_pages: Annotated[int, Field(ge=1, le=10_000_000)] = 1_000_000

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.type in {"Page", "Cursor"} and self.parameter is None:
            raise ValueError(f"pagination of type {self.type} needs a parameter")
        if self.type == "Cursor" and self.cursor_path is None:
            raise ValueError("pagination of type Cursor needs cursorPath")
        if (self.size is None) != (self.size_parameter is None):
            raise ValueError("size and sizeParameter go together")
        return self


class HttpSource(Spec):
    """An HTTP API or download."""

    url: HttpUrl
    headers: FieldValues = Field(default_factory=dict)
    query: FieldValues = Field(default_factory=dict)
    auth: HttpAuth | None = None
    pagination: Pagination = Pagination()
    cursor_parameter: ShortName | None = None
    """Query field that gets the stored cursor in an Incremental run (``since``); without it records are compared."""
    detail_url: HttpUrl | None = None
    """Asked once a record, its answer replaces the record; ``{field}`` is filled from the record."""
    rate_limit: RateLimit | None = None
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    max_retries: Annotated[int, Field(ge=0, le=20)] = 5
    max_response_bytes: Annotated[int, Field(ge=1024, le=17_179_869_184)] = 268_435_456


class S3Source(Spec):
    """Objects of an S3-compatible store, read in key order. Without keys, the ambient credentials are used."""

    bucket: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]+[a-z0-9]$")]
    prefix: Annotated[str, Field(max_length=1000)] = ""
    suffix: Annotated[str, Field(max_length=100)] = ""
    endpoint_url: HttpUrl | None = None
    region: Annotated[str, Field(max_length=64)] = "us-east-1"
    path_style: bool = False
    """Address buckets by path, as most stores other than AWS want it."""
    access_key_ref: SecretRef | None = None
    secret_key_ref: SecretRef | None = None
    max_object_bytes: Annotated[int, Field(ge=1024, le=1_099_511_627_776)] = 17_179_869_184

    @model_validator(mode="after")
    def _both_keys(self) -> Self:
        if (self.access_key_ref is None) != (self.secret_key_ref is None):
            raise ValueError("accessKeyRef and secretKeyRef go together")
        return self


class KafkaSource(Spec):
    """A topic, read to the offsets that are its ends when the run starts. Offsets are kept by us, not by a group."""

    brokers: Annotated[
        tuple[Annotated[str, Field(max_length=255, pattern=r"^[^\s:]+:[0-9]{1,5}$")], ...],
        Field(min_length=1, max_length=32),
    ]
    topic: Annotated[str, Field(min_length=1, max_length=249, pattern=r"^[a-zA-Z0-9._-]+$")]
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    username: ShortName | None = None
    password_ref: SecretRef | None = None
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 30
    """Longest wait for the brokers before the run gives up (retryable)."""

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if self.security_protocol.startswith("SASL") and (self.username is None or self.password_ref is None):
            raise ValueError(f"securityProtocol {self.security_protocol} needs username and passwordRef")
        return self


def _without_password(url: str) -> str:
    authority = url.split("://", 1)[-1].split("/", 1)[0]
    if ":" in authority.rpartition("@")[0]:
        raise ValueError("holds a password; put the address into a secret and name it in dsnSecretRef")
    return url


class DatabaseSource(Spec):
    """Rows of an SQL database, read in the order of ``keyColumn`` (Full) or of the cursor field (Incremental)."""

    dsn_secret_ref: SecretRef | None = None
    """Secret with the SQLAlchemy address of the database."""
    url: (
        Annotated[str, Field(max_length=2000, pattern=r"^[a-z0-9+]+://"), AfterValidator(_without_password)]
        | None
    ) = None
    """Address without a password, for SQLite files and trusted sockets."""
    query: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None
    table: Annotated[str, Field(max_length=200, pattern=r'^[^\x00"]+$')] | None = None
    key_column: ShortName = "id"
    """A column whose values are unique and not null; reading continues after the last one."""
    fetch_size: Annotated[int, Field(ge=1, le=100_000)] = 1000
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 60

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.dsn_secret_ref is None) == (self.url is None):
            raise ValueError("exactly one of dsnSecretRef and url is needed")
        if (self.query is None) == (self.table is None):
            raise ValueError("exactly one of query and table is needed")
        return self


class FileSource(Spec):
    """Files on a disk: one file, all files of a folder, or a glob pattern; read in the order of their names.

    ``.gz``, ``.bz2`` and ``.xz`` are unpacked while reading.
    """

    path: Text
    pvc: DnsLabel | None = None
    """In a cluster: the volume claim that holds the files, mounted read-only; ``path`` is relative to it."""


class DemoSource(Spec):
    """The films of the demo catalogue, with composed overviews and made-up, marked offerings."""

    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    availability: bool = True


class CsvOptions(Spec):
    """Dialect of CSV files."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    columns: Annotated[tuple[ShortName, ...], Field(max_length=500)] | None = None
    """Names of the columns; without them the first line names them."""
    encoding: Literal["utf-8", "iso-8859-1", "windows-1252"] = "utf-8"


class JsonOptions(Spec):
    """Where JSON documents keep their records."""

    records_path: Text | None = None
    """JMESPath of the list of records (``results``); without it the document is a list, or itself the one record."""


Format = Literal["JSON", "NDJSON", "CSV", "Parquet", "XMLTV"]
SourceType = Literal["HTTP", "S3", "Kafka", "Database", "File", "Demo"]


class SourceSpec(Spec):
    """Where records come from. Exactly the one part that ``type`` names is given."""

    PARTS: ClassVar[dict[str, str]] = {
        "HTTP": "http",
        "S3": "s3",
        "Kafka": "kafka",
        "Database": "database",
        "File": "file",
        "Demo": "demo",
    }

    type: SourceType
    name: Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9][a-z0-9_-]*$")] | None = None
    """Name under which the records are kept; by default the job's name. Two jobs of one name feed one source."""
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    """Whose facts win where sources differ: the smaller number speaks first."""
    format: Format = "NDJSON"
    http: HttpSource | None = None
    s3: S3Source | None = None
    kafka: KafkaSource | None = None
    database: DatabaseSource | None = None
    file: FileSource | None = None
    demo: DemoSource | None = None
    csv: CsvOptions = CsvOptions()
    json_options: Annotated[JsonOptions, Field(alias="json")] = JsonOptions()
    max_record_bytes: Annotated[int, Field(ge=1024, le=67_108_864)] = 1_048_576
    """Longest line or message that is read; a longer one is rejected."""

    @model_validator(mode="after")
    def _one_part(self) -> Self:
        given = [part for part in self.PARTS.values() if getattr(self, part) is not None]
        if given != [self.PARTS[self.type]]:
            found = ", ".join(given) or "none"
            raise ValueError(
                f"type {self.type} needs exactly the part '{self.PARTS[self.type]}', found: {found}"
            )
        if self.kafka is not None and self.format not in {"NDJSON", "JSON"}:
            raise ValueError("Kafka messages are read as NDJSON or JSON")
        return self
