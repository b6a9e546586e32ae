"""A set of contents in two numbers, so that index and database can be compared without sending the set.

The database computes the same by one statement (`store.CatalogueReader.fingerprint`), the text index keeps its own up to
date change by change.
"""

from hashlib import sha256
from struct import Struct
from typing import NamedTuple
from uuid import UUID

_REVISION = Struct(">q")


class Fingerprint(NamedTuple):
    """How many contents, and the exclusive or of their `checksum_of`: no order, and a content in and out leaves no trace."""

    contents: int
    checksum: int


def checksum_of(content_id: UUID, revision: int) -> int:
    """The first 64 bits of the SHA-256 of id and revision, signed as Postgres's ``bigint``.

    SHA-256 because both sides have it, in every version and where MD5 is forbidden. Two different sets have the same
    exclusive or by a chance of 2**-64.
    """
    digest = sha256(content_id.bytes + _REVISION.pack(revision)).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
