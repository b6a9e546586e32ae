"""Backup codes: what lets a person in whose authenticator app is lost, each once."""

import hmac
import secrets
from hashlib import sha256
from uuid import UUID

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""32 characters, none of which is easily taken for another."""

CHARS = 8
"""40 bits: no matter for tries that are limited; against a stolen table of digests, the key must hold."""

COUNT = 10


def make_backup_codes() -> list[str]:
    """A new set."""
    return ["".join(secrets.choice(ALPHABET) for _ in range(CHARS)) for _ in range(COUNT)]


def read_backup_code(text: str) -> str | None:
    """A code as typed, in any case and with dashes or spaces; None for what can't be one."""
    code = "".join(char for char in text.upper() if char not in " -")
    return code if len(code) == CHARS and all(char in ALPHABET for char in code) else None


def digest_of(code: str, *, owner: UUID, key: bytes) -> bytes:
    """What is kept of a code: without the key, a stolen digest can't be tried against all codes."""
    return hmac.digest(key, b"backup code\0" + owner.bytes + code.encode(), sha256)
