"""Tokens that nobody should take: signed with the stand's key but wrong inside, or signed with anything else."""

import json
import time
from base64 import urlsafe_b64encode
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from media_gateway.auth.oauth_routes import KEYS
from media_gateway.core.tokens import LEEWAY_S
from tests.support.signing_in import SECRET, Stand

ISSUER = "http://auth.example"


def key_of(stand: Stand) -> Any:
    """The key with which the stand signs."""
    return stand.servers[0].app[KEYS].current()


def good_claims(stand: Stand) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": ISSUER,
        "aud": "media-gateway",
        "sub": str(stand.people["anna"]),
        "client_id": "web",
        "iat": now,
        "exp": now + 600,
        "jti": "j",
        "scope": "openid profile",
        "roles": ["user"],
    }


def forged(stand: Stand, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token signed with the right key; None leaves a claim out."""
    key = key_of(stand)
    claims = {name: value for name, value in {**good_claims(stand), **changes}.items() if value is not None}
    return signed_raw(stand, {"alg": "RS256", "typ": "at+jwt", "kid": key.kid, **(header or {})}, claims)


def part(value: bytes | dict[str, Any]) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_raw(stand: Stand, header: bytes | dict[str, Any], payload: bytes | dict[str, Any]) -> str:
    """Any bytes under the right signature."""
    text = f"{part(header)}.{part(payload)}"
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(text.encode(), key_of(stand).key)
    return f"{text}.{part(signature)}"


def confused(stand: Stand, secret: bytes, **header: Any) -> str:
    """HS256 with something public as the secret."""
    fields = {"alg": "HS256", "typ": "at+jwt", "kid": key_of(stand).kid, **header}
    text = f"{part(fields)}.{part(good_claims(stand))}"
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return f"{text}.{part(algorithm.sign(text.encode(), secret))}"


def forgeries(stand: Stand, tokens: dict[str, Any]) -> dict[str, str]:
    own = rsa.generate_private_key(65_537, 2_048)
    own_jwk = RSAAlgorithm.to_jwk(own.public_key(), as_dict=True)
    key, claims = key_of(stand), good_claims(stand)
    public = key.key.public_key()
    pems = [
        public.public_bytes(Encoding.PEM, kind)
        for kind in (PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1)
    ]
    header = {"typ": "at+jwt", "kid": key.kid}
    doubled = json.dumps(claims)[:-1].encode() + b', "sub": "other", "aud": "elsewhere"}'
    return {
        "alg none": f"{part({**header, 'alg': 'none'})}.{part(claims)}.",
        "alg None": f"{part({**header, 'alg': 'None'})}.{part(claims)}.",
        "alg none, no kid": f"{part({'typ': 'at+jwt', 'alg': 'none'})}.{part(claims)}.",
        "no alg": f"{part(header)}.{part(claims)}.",
        "HS256 with the public key": confused(stand, pems[0]),
        "HS256 with the public key without kid": confused(stand, pems[0], kid="another"),
        "HS256 with the public key, PKCS 1": confused(stand, pems[1]),
        "HS256 with nothing": confused(stand, b""),
        "HS256 with the shared secret and a published kid": confused(stand, SECRET.encode()),
        "HS256 with the shared secret, of the other issuer": confused(stand, SECRET.encode(), kid="another"),
        "RS512": jwt.encode(claims, key.key, algorithm="RS512", headers=header),
        "PS256": jwt.encode(claims, key.key, algorithm="PS256", headers=header),
        "another key, embedded": jwt.encode(
            claims, own, algorithm="RS256", headers={**header, "jwk": own_jwk}
        ),
        "another key, pointed to": jwt.encode(
            claims, own, algorithm="RS256", headers={**header, "jku": "http://127.0.0.1:1/keys"}
        ),
        "the right key, embedded": forged(stand, {"jwk": own_jwk}),
        "another key": jwt.encode(claims, own, algorithm="RS256", headers=header),
        "unknown kid": jwt.encode(claims, own, algorithm="RS256", headers={**header, "kid": "k"}),
        "kid is a path": forged(stand, {"kid": "../../keys.json"}),
        "kid is SQL": forged(stand, {"kid": "' OR 1=1 --"}),
        "no kid": signed_raw(stand, {"alg": "RS256", "typ": "at+jwt"}, claims),
        "kid is a list": signed_raw(stand, {**header, "alg": "RS256", "kid": ["k"]}, claims),
        "crit": forged(stand, {"crit": ["exp"]}),
        "no exp": forged(stand, exp=None),
        "no sub": forged(stand, sub=None),
        "no iss": forged(stand, iss=None),
        "no aud": forged(stand, aud=None),
        "expired": forged(stand, exp=int(time.time()) - LEEWAY_S - 1),
        "exp is text": forged(stand, exp="soon"),
        "exp is endless": signed_raw(
            stand, {**header, "alg": "RS256"}, json.dumps({**claims, "exp": float("inf")}).encode()
        ),
        "exp is huge": forged(stand, exp=10**30),
        "exp is a list": forged(stand, exp=[1]),
        "not yet good": forged(stand, nbf=int(time.time()) + 600),
        "wrong iss": forged(stand, iss="http://auth.example/"),
        "iss is a list": forged(stand, iss=[ISSUER]),
        "the shared secret's iss": forged(stand, iss="media-gateway"),
        "wrong aud": forged(stand, aud="https://mcp.example"),
        "aud is a number": forged(stand, aud=1),
        "sub is a number": forged(stand, sub=1),
        "sub is too long": forged(stand, sub="s" * 300),
        "scope is a list": forged(stand, scope=["openid"]),
        "roles is text": forged(stand, roles="admin"),
        "typ JWT": forged(stand, {"typ": "JWT"}),
        "no typ": signed_raw(stand, {"alg": "RS256", "kid": key.kid}, claims),
        "typ is a number": signed_raw(stand, {**header, "alg": "RS256", "typ": 1}, claims),
        "id token": tokens["id_token"],
        "refresh token": tokens["refresh_token"],
        "doubled claims": signed_raw(stand, {**header, "alg": "RS256"}, doubled),
        "doubled header": signed_raw(
            stand,
            b'{"alg": "RS256", "alg": "none", "typ": "at+jwt", "kid": "%s"}' % str(key.kid).encode(),
            claims,
        ),
        "claims are a list": signed_raw(stand, {**header, "alg": "RS256"}, b"[]"),
        "claims are deep": signed_raw(stand, {**header, "alg": "RS256"}, b"[" * 2_000),
        "claims are no text": signed_raw(stand, {**header, "alg": "RS256"}, b"\xff"),
        "header is a list": signed_raw(stand, b"[]", claims),
        "header is deep": signed_raw(stand, b"[" * 2_000, claims),
        "five parts": f"{tokens['access_token']}.a.b",
        "one part": tokens["access_token"].partition(".")[0],
        "no signature": tokens["access_token"].rpartition(".")[0] + ".",
        "padded": tokens["access_token"] + "=",
    }
