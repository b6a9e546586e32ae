"""Secrets that must be read again (those of authenticator apps), encrypted at rest with AES-256-GCM."""

import base64
import secrets
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12
"""Size of a random nonce (NIST SP 800-38D, 8.2.2): safe for 2^32 secrets under one key."""


class SealBrokenError(Exception):
    """A kept secret does not open: another key, another owner, or changed since."""


class Seal:
    """Encrypts secrets and binds each to its owner.

    Parameters
    ----------
    key
        `KEY_BYTES` random bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            msg = f"The key must have {KEY_BYTES} bytes, not {len(key)}."
            raise ValueError(msg)
        self._cipher = AESGCM(key)

    def closed(self, secret: bytes, *, owner: bytes) -> bytes:
        """What to keep: nonce and ciphertext. The same secret never looks the same twice."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, owner)

    def opened(self, kept: bytes, *, owner: bytes) -> bytes:
        """The secret again.

        Raises
        ------
        SealBrokenError
            It is not what was kept for this owner under this key.
        """
        try:
            return self._cipher.decrypt(kept[:NONCE_BYTES], kept[NONCE_BYTES:], owner)
        except (InvalidTag, ValueError) as error:
            msg = "A kept secret does not open."
            raise SealBrokenError(msg) from error


def read_key(text: str) -> bytes:
    """A key as a setting writes it, in hex or base64 (either alphabet).

    Raises
    ------
    ValueError
        It is neither, or not `KEY_BYTES` long.
    """
    with suppress(ValueError):
        if len(key := bytes.fromhex(text.strip())) == KEY_BYTES:
            return key
    with suppress(ValueError):
        plain = text.strip().replace("-", "+").replace("_", "/").rstrip("=")
        if len(key := base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)) == KEY_BYTES:
            return key
    msg = f"not {KEY_BYTES} bytes in hex or base64"
    raise ValueError(msg)


def derived_key(secret: str, *, purpose: bytes) -> bytes:
    """A key from another secret of the installation (HKDF-SHA256, RFC 5869), good for one purpose."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose).derive(secret.encode())
