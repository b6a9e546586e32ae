"""API keys as they are made and kept."""

import secrets
from hashlib import sha256

from media_gateway.core.api_keys import ALPHABET, CHARS, MARK

PREFIX_CHARS = 12
"""How much of a key its owner is shown again: the mark and four characters."""


def make_key() -> str:
    """A new key."""
    return MARK + "".join(secrets.choice(ALPHABET) for _ in range(CHARS))


def digest_of(key: str) -> bytes:
    """What is kept of a key."""
    return sha256(key.encode()).digest()
