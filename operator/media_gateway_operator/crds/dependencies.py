"""MediaGateway: the servers the components work with, each one's mode and what that mode needs.

Used through `gateway`. A mode that is not given follows from what is: an address means External.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from media_gateway.core.domain.spec_jobs import QUANTITY, Resources
from media_gateway.core.domain.spec_types import Rule, SecretRef, Spec, matches

Mode = Literal["External", "Embedded", "Disabled"]
Profile = Literal["Production", "Development"]

StorageSize = Annotated[
    str,
    Field(max_length=32, pattern=QUANTITY.replace("(m|k|", "(k|")),
]
SecretName = Annotated[
    str,
    Field(max_length=253),
    matches(
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        "must be the name of a Secret: lower-case letters, digits, '-' and '.'",
    ),
]


class LocalSecret(Spec):
    """A Secret in the namespace."""

    name: SecretName
    """Name of the Secret."""


class Tls(Spec):
    """How the server's certificate is checked, beyond what its address says."""

    ca_secret_ref: SecretRef
    """Certificates (PEM) of the authorities that are trusted instead of the system's."""


class Storage(Spec):
    """Disk of an embedded server."""

    size: StorageSize = "1Gi"
    """Size of the volume claim."""
    storage_class_name: Annotated[str, Field(max_length=253)] | None = None
    """StorageClass; by default the cluster's."""


_ADDRESS = (
    Rule(
        "mode External needs dsnSecretRef: the Secret and key that hold the server's address",
        "!has(self.mode) || self.mode != 'External' || has(self.dsnSecretRef)",
        lambda self: self.mode != "External" or self.dsn_secret_ref is not None,
        "dsnSecretRef",
        "FieldValueRequired",
    ),
    Rule(
        "dsnSecretRef belongs to mode External; remove it or set mode: External",
        "!has(self.mode) || self.mode == 'External' || !has(self.dsnSecretRef)",
        lambda self: self.mode in {None, "External"} or self.dsn_secret_ref is None,
        "dsnSecretRef",
        "FieldValueForbidden",
    ),
    Rule(
        "tls belongs to a server given by dsnSecretRef",
        "!has(self.tls) || has(self.dsnSecretRef)",
        lambda self: self.tls is None or self.dsn_secret_ref is not None,
        "tls",
        "FieldValueForbidden",
    ),
)
_EMBEDDED = (
    Rule(
        "storage and resources belong to mode Embedded; remove them or set mode: Embedded",
        "(has(self.mode) ? self.mode == 'Embedded' : !has(self.dsnSecretRef)) || (!has(self.storage) && !has(self.resources))",
        lambda self: (
            (self.mode == "Embedded" if self.mode else self.dsn_secret_ref is None)
            or (self.storage is None and self.resources is None)
        ),
        "storage",
        "FieldValueForbidden",
    ),
)


class Server(Spec):
    """What all servers that are reached by an address have."""

    dsn_secret_ref: SecretRef | None = None
    """Mode External: Secret and key that hold the address, with its user and password."""
    tls: Tls | None = None
    """Mode External: trust a private certificate authority."""


class EmbeddableServer(Server):
    """A server that the operator can run itself, for development."""

    storage: Storage | None = None
    """Mode Embedded: disk of the server, with a default size of 1Gi. Without it the data is gone with the pod."""
    resources: Resources | None = None
    """Mode Embedded: requests and limits of the server."""


class RequiredServer(EmbeddableServer):
    """PostgreSQL or Redis: one is always there."""

    RULES: ClassVar = _ADDRESS + _EMBEDDED

    mode: Literal["External", "Embedded"] | None = None
    """External: yours, by address. Embedded: one pod without a copy, profile Development only. By default External if
    dsnSecretRef is given or the profile is Production, else Embedded."""

    def effective(self, profile: Profile) -> Mode:
        """The mode that is meant."""
        if self.mode is not None:
            return self.mode
        return "External" if self.dsn_secret_ref is not None or profile == "Production" else "Embedded"


class Kafka(EmbeddableServer):
    """Apache Kafka as event bus."""

    RULES: ClassVar = (
        *_ADDRESS,
        Rule(
            "storage and resources belong to mode Embedded; remove them or set mode: Embedded",
            "(has(self.mode) && self.mode == 'Embedded') || (!has(self.storage) && !has(self.resources))",
            lambda self: self.mode == "Embedded" or (self.storage is None and self.resources is None),
            "storage",
            "FieldValueForbidden",
        ),
    )

    mode: Mode | None = None
    """External: yours, by address. Embedded: one broker, profile Development only. Disabled: events travel through Redis
    streams. By default External if dsnSecretRef is given, else Disabled."""

    def effective(self, profile: Profile) -> Mode:  # noqa: ARG002 - one signature for all dependencies
        """The mode that is meant."""
        return self.mode or ("External" if self.dsn_secret_ref is not None else "Disabled")


class Qdrant(Server):
    """Qdrant as vector index."""

    RULES: ClassVar = _ADDRESS

    mode: Literal["External", "Disabled"] | None = None
    """External: yours, by address. Disabled: vectors live in PostgreSQL (pgvector). By default External if dsnSecretRef
    is given, else Disabled."""

    def effective(self, profile: Profile) -> Mode:  # noqa: ARG002 - one signature for all dependencies
        """The mode that is meant."""
        return self.mode or ("External" if self.dsn_secret_ref is not None else "Disabled")


class PubNub(Spec):
    """PubNub for realtime updates of devices."""

    RULES: ClassVar = (
        Rule(
            "mode External needs keysSecretRef: a Secret with the keys publish-key, subscribe-key and secret-key",
            "!has(self.mode) || self.mode != 'External' || has(self.keysSecretRef)",
            lambda self: self.mode != "External" or self.keys_secret_ref is not None,
            "keysSecretRef",
            "FieldValueRequired",
        ),
        Rule(
            "keysSecretRef belongs to mode External; remove it or set mode: External",
            "!has(self.mode) || self.mode == 'External' || !has(self.keysSecretRef)",
            lambda self: self.mode in {None, "External"} or self.keys_secret_ref is None,
            "keysSecretRef",
            "FieldValueForbidden",
        ),
    )

    mode: Literal["External", "Disabled"] | None = None
    """External: PubNub's service. Disabled: the component realtime serves the same protocol. By default External if
    keysSecretRef is given, else Disabled."""
    keys_secret_ref: LocalSecret | None = None
    """Mode External: Secret with the keys publish-key, subscribe-key and secret-key."""

    def effective(self, profile: Profile) -> Mode:  # noqa: ARG002 - one signature for all dependencies
        """The mode that is meant."""
        return self.mode or ("External" if self.keys_secret_ref is not None else "Disabled")


class Dependencies(Spec):
    """The servers the components work with."""

    postgres: RequiredServer = RequiredServer()
    """PostgreSQL (with pgvector, unless Qdrant is used): the catalogue, accounts and everything that must last."""
    redis: RequiredServer = RequiredServer()
    """Redis: caches, sessions, limits, and the event bus where Kafka is not used."""
    qdrant: Qdrant = Qdrant()
    """Qdrant: the vector index of large installations."""
    kafka: Kafka = Kafka()
    """Apache Kafka: the event bus of large installations."""
    pubnub: PubNub = PubNub()
    """PubNub: realtime updates of devices."""
