"""The keys that sign tokens: a JWK Set (RFC 7517) in a file, read again when it changes, published without its secrets.

A new key is published before it signs, so that verifiers know it when they meet it, and an old one stays published after
its last token. Both follow from each key's ``iat`` (Unix seconds), so all replicas change over at the same moment. Without
a file, tokens are signed with the shared secret (HS256) and nothing is published.
"""

import json
import os
import secrets
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from media_gateway.core.errors import NotConfiguredError

Algorithm = Literal["RS256", "EdDSA"]

LEAD_S: Final = 600.0
"""Age from which a key signs, in seconds: verifiers fetch the key set every 5 minutes (``core.tokens.KEYS_TTL_S``)."""

RSA_BITS: Final = 2_048
"""RFC 7518 section 3.3."""

_REQUIRED = {"RSA": ("n", "e"), "OKP": ("crv", "x")}
_ALGORITHMS: Mapping[str, Algorithm] = {"RSA": "RS256", "OKP": "EdDSA"}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs, and its algorithm; ``kid`` is None for the shared secret, which has no name."""

    kid: str | None
    algorithm: str
    key: Any


class SigningKeys:
    """The keys of this process.

    Parameters
    ----------
    path
        The file; None to sign with ``secret``.

    Raises
    ------
    NotConfiguredError
        The file can't be used, or there is neither file nor secret.
    """

    def __init__(self, path: Path | None, secret: str | None) -> None:
        self._path = path
        self._read_state: tuple[int, int, int] | None = None
        self._jwks: tuple[Mapping[str, Any], ...] = ()
        self._loaded: dict[str, SigningKey] = {}
        self._secret = SigningKey(None, "HS256", secret) if secret and path is None else None
        if path is None and secret is None:
            raise NotConfiguredError(
                "MEDIA_GATEWAY_SIGNING_KEYS_PATH: not set, and there is no MEDIA_GATEWAY_AUTH_SECRET to sign tokens with "
                "instead; make a file with `media-gateway keys rotate FILE`"
            )
        self.reload()

    @property
    def are_published(self) -> bool:
        """Whether there are public keys, so that third parties can check tokens."""
        return self._path is not None

    def reload(self) -> bool:
        """Read the file if it has changed; gives whether it had. What can't be read leaves the keys as they were.

        Raises
        ------
        NotConfiguredError
            The file can't be used.
        """
        if self._path is None:
            return False
        try:
            stat = self._path.stat()
            state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if state == self._read_state:
                return False
            jwks = read_keys(self._path)
        except OSError as error:
            raise NotConfiguredError(
                f"MEDIA_GATEWAY_SIGNING_KEYS_PATH: {self._path} can't be read: {error.strerror}"
            ) from error
        self._loaded = {str(key["kid"]): _loaded(key) for key in jwks}
        self._jwks, self._read_state = jwks, state
        return True

    def current(self, now: float | None = None) -> SigningKey:
        """The key that signs now: the newest that has been published for `LEAD_S`, or else the oldest."""
        if self._secret is not None:
            return self._secret
        now = time.time() if now is None else now
        old_enough = [key for key in self._jwks if key["iat"] <= now - LEAD_S]
        chosen = (
            max(old_enough, key=lambda key: key["iat"])
            if old_enough
            else min(self._jwks, key=lambda key: key["iat"])
        )
        return self._loaded[str(chosen["kid"])]

    def find(self, kid: str | None) -> SigningKey | None:
        """The key of that name, whether it signs now or not."""
        return self._secret if self._secret is not None else self._loaded.get(kid or "")

    def published(self) -> dict[str, list[dict[str, Any]]]:
        """The key set for everybody (RFC 7517 section 5): public parts only."""
        return {"keys": [_public(key) for key in self._jwks]}


def read_keys(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The private keys of a file.

    Raises
    ------
    NotConfiguredError
        It is no JWK Set of RSA and Ed25519 keys; the message does not repeat what is in it.
    OSError
        It can't be read.
    """
    data = path.read_bytes()
    try:
        keys = json.loads(data)["keys"]
        for key in keys:
            key["kid"] = thumbprint(key)
            _check(key)
    except (ValueError, KeyError, TypeError, RecursionError, jwt.InvalidKeyError) as error:
        raise NotConfiguredError(
            f"MEDIA_GATEWAY_SIGNING_KEYS_PATH: {path} is no JWK Set of private RSA or Ed25519 keys, each with its time of "
            "making as `iat`; make one with `media-gateway keys rotate FILE`"
        ) from error
    if not keys:
        raise NotConfiguredError(f"MEDIA_GATEWAY_SIGNING_KEYS_PATH: {path} holds no key")
    return tuple(keys)


def rotate(path: Path, algorithm: Algorithm, *, retired_after_s: float, now: float | None = None) -> str:
    """Add a new key to a file, making the file if there is none, and drop keys whose tokens have all expired.

    Parameters
    ----------
    retired_after_s
        Longest life of an access token, in seconds.

    Returns
    -------
    str
        Name of the new key (RFC 7638).
    """
    now = time.time() if now is None else now
    keys = list(read_keys(path)) if path.exists() else []
    signing = [key for key in keys if key["iat"] <= now - LEAD_S - retired_after_s]
    newest = max((key["iat"] for key in signing), default=None)
    kept = [key for key in keys if newest is None or key["iat"] >= newest]
    made = make_key(algorithm, now)
    write_keys(path, [*kept, made])
    return str(made["kid"])


def make_key(algorithm: Algorithm, now: float) -> dict[str, Any]:
    """A new private key as a JWK."""
    key: dict[str, Any]
    if algorithm == "RS256":
        key = RSAAlgorithm.to_jwk(rsa.generate_private_key(65_537, RSA_BITS), as_dict=True)
    else:
        key = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate(), as_dict=True)
    key.pop("key_ops", None)
    return {**key, "use": "sig", "alg": algorithm, "kid": thumbprint(key), "iat": int(now)}


def write_keys(path: Path, keys: Sequence[Mapping[str, Any]]) -> None:
    """Write a file of keys with mode 0600; readers see the old file or the new, never a part."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"keys": list(keys)}, file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def make_keys_if_absent(path: Path, algorithm: Algorithm) -> None:
    """A file with one key, unless there is one; of several processes at once one makes it."""
    if path.exists():
        return
    mine = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_keys(mine, [make_key(algorithm, time.time())])
    try:
        # Unlike a rename, a link never replaces what another process has just written.
        path.hardlink_to(mine)
    except FileExistsError:
        pass
    finally:
        mine.unlink()


def thumbprint(key: Mapping[str, Any]) -> str:
    """Name of a key: the SHA-256 of its required public members in order (RFC 7638)."""
    members = {name: key[name] for name in (*_REQUIRED[key["kty"]], "kty")}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()


def _check(key: Mapping[str, Any]) -> None:
    if type(key["iat"]) is not int or "d" not in key:
        raise ValueError("not a private key with its time of making")
    _loaded(key)


def _loaded(key: Mapping[str, Any]) -> SigningKey:
    algorithm = _ALGORITHMS[key["kty"]]
    kind = RSAAlgorithm if algorithm == "RS256" else OKPAlgorithm
    loaded = kind.from_jwk(dict(key))
    if isinstance(loaded, rsa.RSAPrivateKey) and loaded.key_size < RSA_BITS:
        raise jwt.InvalidKeyError("too short")
    if isinstance(loaded, ed448.Ed448PrivateKey):
        raise jwt.InvalidKeyError("a curve that verifiers do not know")
    return SigningKey(str(key["kid"]), algorithm, loaded)


def _public(key: Mapping[str, Any]) -> dict[str, Any]:
    algorithm = _ALGORITHMS[key["kty"]]
    members = {name: key[name] for name in ("kty", *_REQUIRED[key["kty"]])}
    return {**members, "use": "sig", "alg": algorithm, "kid": key["kid"]}
