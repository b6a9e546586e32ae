"""Where an ingestion job reads: one model a kind of source, and the formats' options.

Used through `specs`. Addresses and limits only; the code that reads is ``ingestion.sources``.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from media_gateway.core.domain.spec_types import (
    IMMUTABLE,
    IN_CODE,
    Check,
    DecimalText,
    DnsLabel,
    FieldValues,
    HttpUrl,
    Rule,
    SecretRef,
    ShortName,
    Spec,
    Text,
    matches,
)


class RateLimit(Spec):
    """How often an upstream may be asked."""

    requests_per_second: DecimalText
    """May be below 1: ``0.011`` is about 1,000 a day."""


class HttpAuth(Spec):
    """Credentials of an HTTP source."""

    RULES: ClassVar = (
        Rule(
            "type Header, Query and Basic need name: the header, the query field, or the user name",
            "self.type == 'Bearer' || has(self.name)",
            lambda self: self.type == "Bearer" or self.name is not None,
            "name",
            "FieldValueRequired",
        ),
    )

    type: Literal["Bearer", "Header", "Query", "Basic"]
    """How the secret is sent: as bearer token, in a header, in the query, or as password."""
    name: ShortName | None = None
    """Name of the header or query field (``X-Api-Key``, ``api_key``); with Basic, the user name."""
    secret_ref: SecretRef
    """The token, key or password."""


class Pagination(Spec):
    """How an HTTP source gives its pages.

    ``Page`` counts ``parameter`` up from ``start`` and stops at the first empty page, or after the page whose number
    stands at ``lastPagePath``. ``Cursor`` sends the value found at ``cursorPath`` of a page as ``parameter`` of the next
    and stops where there is none. ``Link`` follows ``rel="next"`` of the Link header (RFC 8288), on the same host only.
    """

    RULES: ClassVar = (
        Rule(
            "type Page and type Cursor need parameter: the query field that tells which page",
            "!(self.type in ['Page', 'Cursor']) || has(self.parameter)",
            lambda self: self.type not in {"Page", "Cursor"} or self.parameter is not None,
            "parameter",
            "FieldValueRequired",
        ),
        Rule(
            "type Cursor needs cursorPath: where a page says how to get the next one",
            "self.type != 'Cursor' || has(self.cursorPath)",
            lambda self: self.type != "Cursor" or self.cursor_path is not None,
            "cursorPath",
            "FieldValueRequired",
        ),
        Rule(
            "size and sizeParameter go together",
            "has(self.size) == has(self.sizeParameter)",
            lambda self: (self.size is None) == (self.size_parameter is None),
            "size",
        ),
    )

    type: Literal["None", "Page", "Cursor", "Link"] = "None"
    """None: one answer holds everything."""
    parameter: ShortName | None = None
    """Query field that gets the page's number or cursor."""
    start: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    """Number of the first page."""
    size_parameter: ShortName | None = None
    """Query field that gets `size`."""
    size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Records a page shall have."""
    cursor_path: Text | None = None
    """Where a page says how to get the next one (JMESPath)."""
    last_page_path: Text | None = None
    """Where a page says which page is the last (JMESPath)."""
    total_path: Text | None = None
    """Where a page says how many records there are in all; for progress only."""
    max_pages: Annotated[int, Field(ge=1, le=10_000_000)] = 1_000_000
    """Pages after which reading stops."""


class HttpSource(Spec):
    """An HTTP API or download."""

    url: HttpUrl
    """Address that is asked."""
    headers: FieldValues = Field(default_factory=dict)
    """Headers of every request; secrets belong into auth."""
    query: FieldValues = Field(default_factory=dict)
    """Query fields of every request."""
    auth: HttpAuth | None = None
    """Credentials."""
    pagination: Annotated[Pagination, Field(json_schema_extra=IN_CODE)] = Pagination()
    """How pages follow each other; by default one answer holds everything."""
    cursor_parameter: ShortName | None = None
    """Query field that gets the stored cursor in an Incremental run (``since``); without it records are compared."""
    detail_url: HttpUrl | None = None
    """Asked once a record, its answer replaces the record; ``{field}`` is filled from the record."""
    rate_limit: RateLimit | None = None
    """How often the source may be asked; by default as fast as it answers."""
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    """Longest wait for an answer."""
    max_retries: Annotated[int, Field(ge=0, le=20)] = 5
    """Attempts after the first one, where repeating can help."""
    max_response_bytes: Annotated[int, Field(ge=1024, le=17_179_869_184)] = 268_435_456
    """Longest answer that is read."""


class S3Source(Spec):
    """Objects of an S3-compatible store, read in key order. Without keys, the ambient credentials are used."""

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
    """Beginning of the keys that are read."""
    suffix: Annotated[str, Field(max_length=100)] = ""
    """End of the keys that are read, as `.ndjson.gz`."""
    endpoint_url: HttpUrl | None = None
    """Address of the store; by default that of AWS in the region."""
    region: Annotated[str, Field(max_length=64)] = "us-east-1"
    """Region of the bucket."""
    path_style: bool = False
    """Address buckets by path, as most stores other than AWS want it."""
    access_key_ref: SecretRef | None = None
    """Access key id."""
    secret_key_ref: SecretRef | None = None
    """Secret access key."""
    max_object_bytes: Annotated[int, Field(ge=1024, le=1_099_511_627_776)] = 17_179_869_184
    """Largest object that is read."""


Topic = Annotated[
    str,
    Field(min_length=1, max_length=249),
    matches(r"^[a-zA-Z0-9._-]+$", "must be the name of a topic: letters, digits, '.', '_' and '-'"),
]


class KafkaSource(Spec):
    """A topic, read to the offsets that are its ends when the run starts. Offsets are kept by us, not by a group."""

    RULES: ClassVar = (
        Rule(
            "securityProtocol SASL_PLAINTEXT and SASL_SSL need username and passwordRef",
            "!self.securityProtocol.startsWith('SASL') || (has(self.username) && has(self.passwordRef))",
            lambda self: (
                not self.security_protocol.startswith("SASL")
                or None not in (self.username, self.password_ref)
            ),
            "passwordRef",
            "FieldValueRequired",
        ),
    )

    brokers: Annotated[
        tuple[
            Annotated[
                str,
                Field(max_length=255),
                matches(r"^[^\s:]+:[0-9]{1,5}$", "must be host:port, as kafka:9092"),
            ],
            ...,
        ],
        Field(min_length=1, max_length=32),
    ]
    """Some of the brokers, as host:port."""
    topic: Topic
    """Topic that is read."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How brokers are spoken to."""
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Field(json_schema_extra=IN_CODE)
    ] = "PLAIN"
    """How the user proves who it is, with SASL; PLAIN by default."""
    username: ShortName | None = None
    """User, with SASL."""
    password_ref: SecretRef | None = None
    """Password, with SASL."""
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 30
    """Longest wait for the brokers before the run gives up (retryable)."""


def _without_password(url: str) -> bool:
    authority = url.split("://", 1)[-1].split("/", 1)[0]
    return ":" not in authority.rpartition("@")[0]


DatabaseUrl = Annotated[
    str,
    Field(max_length=2000),
    matches(r"^[a-z0-9+]+://.*$", "must be an SQLAlchemy address, as sqlite:///films.db"),
    Check(
        "holds a password; put the address into a secret and name it in dsnSecretRef",
        r"""!self.matches("^[a-z0-9+]+://[^/]*:[^/]*@")""",
        _without_password,
    ),
]


class DatabaseSource(Spec):
    """Rows of an SQL database, read in the order of ``keyColumn`` (Full) or of the cursor field (Incremental)."""

    RULES: ClassVar = (
        Rule(
            "give exactly one of dsnSecretRef and url",
            "has(self.dsnSecretRef) != has(self.url)",
            lambda self: (self.dsn_secret_ref is None) != (self.url is None),
        ),
        Rule(
            "give exactly one of query and table",
            "has(self.query) != has(self.table)",
            lambda self: (self.query is None) != (self.table is None),
        ),
    )

    dsn_secret_ref: SecretRef | None = None
    """Secret with the SQLAlchemy address of the database."""
    url: DatabaseUrl | None = None
    """Address without a password, for SQLite files and trusted sockets."""
    query: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None
    """A SELECT; its columns are the record's fields."""
    table: (
        Annotated[
            str,
            Field(min_length=1, max_length=200),
            matches(r'^[^\x00"]+$', "must be the name of a table, without quotes"),
        ]
        | None
    ) = None
    """A table that is read whole."""
    key_column: ShortName = "id"
    """A column whose values are unique and not null; reading continues after the last one."""
    fetch_size: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Rows that are fetched at once."""
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """Longest wait for the database."""


class FileSource(Spec):
    """Files on a disk: one file, all files of a folder, or a glob pattern; read in the order of their names.

    ``.gz``, ``.bz2`` and ``.xz`` are unpacked while reading.
    """

    path: Text
    """File, folder, or glob pattern."""
    pvc: DnsLabel | None = None
    """In a cluster: the volume claim that holds the files, mounted read-only; ``path`` is relative to it."""


class DemoSource(Spec):
    """The films of the demo catalogue, with composed overviews and made-up, marked offerings."""

    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Films that are read; by default all there are."""
    availability: bool = True
    """Whether films get their made-up offerings."""


class CsvOptions(Spec):
    """Dialect of CSV files."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Between two columns."""
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    """Around a text that holds delimiters."""
    columns: Annotated[tuple[ShortName, ...], Field(max_length=500)] | None = None
    """Names of the columns; without them the first line names them."""
    encoding: Literal["utf-8", "iso-8859-1", "windows-1252"] = "utf-8"
    """How characters are written."""


class JsonOptions(Spec):
    """Where JSON documents keep their records."""

    records_path: Text | None = None
    """JMESPath of the list of records (``results``); without it the document is a list, or itself the one record."""


Format = Literal["JSON", "NDJSON", "CSV", "Parquet", "XMLTV"]
SourceType = Literal["HTTP", "S3", "Kafka", "Database", "File", "Demo"]


PARTS = {
    "HTTP": "http",
    "S3": "s3",
    "Kafka": "kafka",
    "Database": "database",
    "File": "file",
    "Demo": "demo",
}


def _one_part(source: Any) -> bool:
    given = [part for part in PARTS.values() if getattr(source, part) is not None]
    return given == [PARTS[source.type]]


class SourceSpec(Spec):
    """Where records come from. Exactly the one part that ``type`` names is given."""

    RULES: ClassVar = (
        Rule(
            "give exactly the part that type names: http, s3, kafka, database, file or demo, and no other",
            " && ".join(f"has(self.{part}) == (self.type == '{name}')" for name, part in PARTS.items()),
            _one_part,
        ),
        Rule(
            "messages of Kafka are read as NDJSON or JSON: change format",
            "!has(self.kafka) || self.format in ['NDJSON', 'JSON']",
            lambda self: self.kafka is None or self.format in {"NDJSON", "JSON"},
            "format",
        ),
    )

    type: Annotated[SourceType, IMMUTABLE]
    """Kind of source; the part of that name says more. It can't be changed."""
    name: (
        Annotated[
            str,
            Field(max_length=63),
            matches(
                r"^[a-z0-9][a-z0-9_-]*$",
                "must begin with a lower-case letter or digit and hold lower-case letters, digits, '_' and '-' only",
            ),
        ]
        | None
    ) = None
    """Name under which the records are kept; by default the job's name. Two jobs of one name feed one source."""
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    """Whose facts win where sources differ: the smaller number speaks first."""
    format: Format = "NDJSON"
    """How records are written."""
    http: HttpSource | None = None
    """An HTTP API or download (type HTTP)."""
    s3: S3Source | None = None
    """Objects of an S3-compatible store (type S3)."""
    kafka: KafkaSource | None = None
    """A topic (type Kafka)."""
    database: DatabaseSource | None = None
    """Rows of an SQL database (type Database)."""
    file: FileSource | None = None
    """Files on a volume (type File)."""
    demo: DemoSource | None = None
    """The demo catalogue (type Demo)."""
    csv: Annotated[CsvOptions, Field(json_schema_extra=IN_CODE)] = CsvOptions()
    """Dialect, for format CSV."""
    json_options: Annotated[JsonOptions, Field(alias="json")] = JsonOptions()
    """Where the records are, for format JSON."""
    max_record_bytes: Annotated[int, Field(ge=1024, le=67_108_864)] = 1_048_576
    """Longest line or message that is read; a longer one is rejected."""
