"""Keyed hashes that stand for queries and searchers in search analytics, and for people in counts of activity.

Each is HMAC-SHA-256 under a key that is not in the database, so a copy of the tables tells neither a query nor a person,
not even to somebody who tries all likely ones. A searcher has another pseudonym for each query: how many different people
searched for something can be counted, what one person searched for can't be put together.
"""

import hmac
import secrets
from datetime import date
from typing import Final, Self
from uuid import UUID

import structlog

from media_gateway.core.settings import MIN_SECRET_BYTES
from media_gateway.discovery.search_events import Searcher
from media_gateway.discovery.settings import Settings

SEARCHER_BYTES = 16
"""Bytes kept of a searcher's pseudonym: two of a billion searchers of one query meet with a chance below 10^-20."""

_LABEL: Final = b"media-gateway search analytics "

_log = structlog.get_logger(__name__)


class Pseudonyms:
    """Hashes under one key.

    Parameters
    ----------
    key
        At least 32 bytes. Processes that share it agree on all pseudonyms; with another key everything begins anew.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_SECRET_BYTES:
            raise ValueError(f"the key is shorter than {MIN_SECRET_BYTES} bytes")
        # A key for each purpose, by HMAC as pseudo-random function (NIST SP 800-108r1 section 4.1), so that the hash of
        # a query in an event can't be looked up in the tables.
        self._query, self._searcher, self._event, self._visitor, self._vote, self._erased = (
            hmac.digest(key, _LABEL + purpose, "sha256")
            for purpose in (b"query", b"searcher", b"event", b"visitor", b"vote", b"erased")
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Those of this installation: under ``analytics_key``, else under a key made of the auth secret.

        With neither each process has a random key, and queries are counted for each process apart: fewer pass as popular.
        """
        secret = settings.analytics_key or settings.auth_secret
        if secret is None:
            _log.warning(
                "neither MEDIA_GATEWAY_ANALYTICS_KEY nor MEDIA_GATEWAY_AUTH_SECRET is set: "
                "popular searches are counted for this process alone, until it ends"
            )
            return cls(secrets.token_bytes(MIN_SECRET_BYTES))
        return cls(secret.get_secret_value().encode())

    def query(self, text: str) -> bytes:
        """Pseudonym of a normalised query, 32 bytes."""
        return hmac.digest(self._query, text.encode(), "sha256")

    def searcher(self, query_hash: bytes, searcher: Searcher) -> bytes:
        """Pseudonym of a searcher for one query, `SEARCHER_BYTES` bytes."""
        kind, name = ("user", searcher.subject) if searcher.subject else ("client", searcher.client)
        return _short(self._searcher, query_hash + f"{kind}:{name}".encode(errors="replace"))

    def visitor(self, day: date, content_id: UUID, searcher: Searcher) -> str:
        """Pseudonym of a caller without a token on one day for one content, as hexadecimal digits, for events."""
        return _short(self._visitor, _about(day, content_id, searcher.client)).hex()

    def vote(self, day: date, content_id: UUID, person: str) -> bytes:
        """Pseudonym of a person, a day and a content together, `SEARCHER_BYTES` bytes.

        Nothing ties two of them together: not those of one person, nor those of one content.
        """
        return _short(self._vote, _about(day, content_id, person))

    def erased(self, person: str) -> bytes:
        """Pseudonym by which a person (``user:`` and the id) is known to be erased, 32 bytes."""
        return hmac.digest(self._erased, person.encode(errors="replace"), "sha256")

    def query_in_event(self, text: str) -> str:
        """Pseudonym of a normalised query for others, as 64 hexadecimal digits; unrelated to `query`."""
        return hmac.digest(self._event, text.encode(), "sha256").hex()


def _short(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")[:SEARCHER_BYTES]


def _about(day: date, content_id: UUID, person: str) -> bytes:
    return f"{day.isoformat()} {content_id} {person}".encode(errors="replace")
