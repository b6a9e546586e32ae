"""The URL of the Kafka bus, read and checked.

``kafka://[user:password@]host:9092,host:9092[?option=value&…]`` with the options of `KafkaOptions`.
"""

import ssl
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.settings import PREFIX

_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """How to reach the brokers and how long to wait for them.

    Attributes
    ----------
    brokers : str
        Comma-separated ``host:port`` of some brokers; the others are found through them.
    user, password : str | None
        SASL credentials.
    sasl : str
        Mechanism: ``PLAIN``, ``SCRAM-SHA-256`` or ``SCRAM-SHA-512``; used if there are credentials.
    tls : bool
        Whether connections are encrypted and the brokers' certificates checked.
    ca_file : str | None
        Certificates to trust instead of the system's.
    compression : str
        Of produced batches: ``none``, ``gzip``, ``snappy``, ``lz4`` or ``zstd``.
    partitions : int
        Of topics that we create; -1 leaves it to the broker.
    replication : int
        Of topics that we create; -1 leaves it to the broker.
    publish_timeout_ms, request_timeout_ms : int
        Longest a ``publish`` and any single other exchange may take, in milliseconds.
    session_timeout_ms : int
        After this silence the group gives a member's partitions to others.
    """

    brokers: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sasl: str = "SCRAM-SHA-512"
    tls: bool = False
    ca_file: str | None = None
    compression: str = "none"
    partitions: int = 12
    replication: int = -1
    publish_timeout_ms: int = 10_000
    request_timeout_ms: int = 5_000
    session_timeout_ms: int = 10_000

    @classmethod
    def from_url(cls, url: str) -> "KafkaOptions":
        """Read the URL.

        Raises
        ------
        NotConfiguredError
            It names no broker, or an option is unknown or wrong; the message never holds the password.
        """
        parts = urlsplit(url)
        credentials, _, brokers = parts.netloc.rpartition("@")
        user, _, password = credentials.partition(":")
        hosts = [host.strip() for host in brokers.split(",") if host.strip()]
        if not hosts:
            raise _wrong("it names no broker")
        known: dict[str, Any] = {
            "brokers": ",".join(host if _has_port(host) else f"{host}:9092" for host in hosts),
            "user": unquote(user) or None,
            "password": unquote(password) or None,
        }
        for name, text in parse_qsl(parts.query, keep_blank_values=True):
            known[name] = _value(name, text)
        options = cls(**known)
        options._check()
        return options

    def client_arguments(self) -> dict[str, Any]:
        """Arguments that all of aiokafka's clients share."""
        arguments: dict[str, Any] = {"bootstrap_servers": self.brokers, "client_id": "media-gateway"}
        if self.tls:
            arguments["ssl_context"] = ssl.create_default_context(cafile=self.ca_file)
        if self.user:
            arguments |= {
                "sasl_mechanism": self.sasl,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        arguments["security_protocol"] = ("SASL_" if self.user else "") + ("SSL" if self.tls else "PLAINTEXT")
        return arguments

    def _check(self) -> None:
        if self.sasl not in _MECHANISMS:
            raise _wrong(f"option sasl must be one of {', '.join(_MECHANISMS)}")
        if self.compression not in _COMPRESSIONS:
            raise _wrong(f"option compression must be one of {', '.join(_COMPRESSIONS)}")
        if self.user and not self.password:
            raise _wrong("it has a user but no password")
        if min(self.publish_timeout_ms, self.request_timeout_ms, self.session_timeout_ms) < 100:
            raise _wrong("timeouts are in milliseconds, 100 or more")


_SETTABLE = {entry.name: entry.type for entry in fields(KafkaOptions)[3:]}


def _value(name: str, text: str) -> str | int | bool:
    kind = _SETTABLE.get(name)
    if kind is None:
        raise _wrong(f"option {name!r} is unknown; there are {', '.join(_SETTABLE)}")
    if kind is bool:
        if text not in {"true", "false"}:
            raise _wrong(f"option {name} must be true or false")
        return text == "true"
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise _wrong(f"option {name} must be a whole number") from None
    return text


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit()


def _wrong(problem: str) -> NotConfiguredError:
    return NotConfiguredError(
        f"{PREFIX}EVENTS_URL: {problem}; example: {PREFIX}EVENTS_URL=kafka://user:password@broker:9092?tls=true"
    )
