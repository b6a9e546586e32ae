"""Registered programs (RFC 6749 section 2): what they may do, and which addresses people may be sent back to."""

import hmac
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

AUTHORIZATION_CODE: Final = "authorization_code"
REFRESH_TOKEN: Final = "refresh_token"  # noqa: S105 - a grant type
CLIENT_CREDENTIALS: Final = "client_credentials"
DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES: Final = (AUTHORIZATION_CODE, REFRESH_TOKEN, CLIENT_CREDENTIALS, DEVICE_CODE)

ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}"
"""What a client's id looks like."""

MAX_REDIRECT_URI: Final = 2_000
"""Characters; browsers and servers cut longer addresses."""

_UNRESERVED = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})"
_LOOPBACK = re.compile(
    rf"(?P<scheme>http)://(?P<host>127\.0\.0\.1|\[::1\]|localhost)(?::(?P<port>[0-9]{{1,5}}))?(?P<rest>(?:[/?]{_UNRESERVED}*)?)",
    re.ASCII,
)
_SECURE = re.compile(
    rf"https://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::(?P<port>[0-9]{{1,5}}))?(?:[/?]{_UNRESERVED}*)?",
    re.ASCII,
)
# RFC 8252 section 7.1: a private-use scheme is a domain name of its owner, reversed, so it has a dot.
_PRIVATE = re.compile(rf"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+:/{_UNRESERVED}*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A registered program.

    Attributes
    ----------
    secret_digest : bytes | None
        SHA-256 of its secret; None for a public client, which can keep none (an app on many devices).
    redirect_uris : tuple of str
        Where people may be sent back to.
    scopes : frozenset of str
        The most that its tokens may allow.
    access_token_s, refresh_token_s, refresh_leeway_s
        Instead of the settings of the same meaning, in seconds.
    """

    client_id: str
    name: str
    secret_digest: bytes | None = None
    redirect_uris: tuple[str, ...] = ()
    grant_types: frozenset[str]
    scopes: frozenset[str]
    enabled: bool = True
    access_token_s: int | None = None
    refresh_token_s: int | None = None
    refresh_leeway_s: float | None = None

    @property
    def is_public(self) -> bool:
        """Whether it proves itself by nothing but its name."""
        return self.secret_digest is None

    def has_secret(self, secret: str) -> bool:
        """Whether it is the client's secret, compared in constant time."""
        expected = self.secret_digest or b"\0" * 32
        return hmac.compare_digest(digest_of(secret), expected) and self.secret_digest is not None

    def may_return_to(self, uri: str) -> bool:
        """Whether people may be sent to an address.

        It must be a registered one, character by character; of loopback addresses the port may differ, because a program
        on somebody's machine takes a free one (RFC 8252 section 7.3).
        """
        return uri in self.redirect_uris or any(_differ_in_port(uri, known) for known in self.redirect_uris)


def digest_of(secret: str) -> bytes:
    """SHA-256 of a secret with 256 random bits; slow hashing is for what people choose."""
    return sha256(secret.encode(errors="replace")).digest()


def is_good_redirect(uri: str) -> bool:
    """Whether an address may be registered: HTTPS, HTTP on loopback, or a private-use scheme (RFC 8252 section 7).

    No fragment and no user information; only characters of RFC 3986.
    """
    if len(uri) > MAX_REDIRECT_URI:
        return False
    if _PRIVATE.fullmatch(uri):
        return True
    found = _SECURE.fullmatch(uri) or _LOOPBACK.fullmatch(uri)
    return found is not None and _is_port(found["port"])


def origin_of(uri: str) -> str:
    """Scheme and authority of a registered address, or its private scheme with the colon."""
    scheme, _, rest = uri.partition(":")
    return f"{scheme}:{'//' + re.split('[/?]', rest[2:])[0] if rest.startswith('//') else ''}"


def _differ_in_port(uri: str, known: str) -> bool:
    ours, theirs = _LOOPBACK.fullmatch(known), _LOOPBACK.fullmatch(uri)
    if ours is None or theirs is None or ours["host"] == "localhost" or not _is_port(theirs["port"]):
        return False
    return (ours["host"], ours["rest"]) == (theirs["host"], theirs["rest"])


def _is_port(text: str | None) -> bool:
    return text is None or 0 < int(text) <= 65_535
