"""Claims about token verification, attacks included; the key set is served by a real HTTP server."""

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import HealthCheck, given, settings, strategies as st

from media_gateway.core.errors import NotConfiguredError, UnauthenticatedError, UnavailableError
from media_gateway.core.tokens import KEYS_TTL_S, LEEWAY_S, MAX_TOKEN_BYTES, TokenVerifier, mint_token

SECRET = "a shared secret that is long enough!"
AT = {"typ": "at+jwt"}


def claims(**changes: Any) -> dict[str, Any]:
    base = {"iss": "media-gateway", "aud": "media-gateway", "sub": "user-1", "exp": int(time.time()) + 60}
    return {k: v for k, v in {**base, **changes}.items() if v is not ...}


def signed(payload: dict[str, Any], *, key: Any = SECRET, alg: str = "HS256", **headers: Any) -> str:
    return jwt.encode(payload, key, algorithm=alg, headers={**AT, **headers})


def raw(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts)


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


class Issuer:
    """Serves a key set and counts how often it is asked."""

    def __init__(self, keys: list[dict[str, Any]]) -> None:
        self.keys = keys
        self.asked = 0
        self.url = ""

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"keys": self.keys})


@pytest.fixture
async def issuer(rsa_key: rsa.RSAPrivateKey, ed_key: ed25519.Ed25519PrivateKey) -> AsyncIterator[Issuer]:
    keys = [
        {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key.public_key())), "kid": "rsa"},
        {**json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(ed_key.public_key())), "kid": "ed"},
        {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode(), "kid": "oct"},
        {"kid": "broken", "kty": "RSA"},
        "not even an object",
    ]
    made = Issuer(keys)  # type: ignore[arg-type]
    app = web.Application()
    app.router.add_get("/jwks", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"{site.name}/jwks"
    yield made
    await runner.cleanup()


@pytest.fixture
async def verifier() -> AsyncIterator[TokenVerifier]:
    made = TokenVerifier(issuer="media-gateway", audience="media-gateway", secret=SECRET)
    yield made
    await made.close()


@pytest.fixture
async def both(issuer: Issuer) -> AsyncIterator[TokenVerifier]:
    made = TokenVerifier(issuer="media-gateway", audience="media-gateway", secret=SECRET, jwks_url=issuer.url)
    yield made
    await made.close()


async def test_minted_token_gives_back_its_caller(verifier: TokenVerifier) -> None:
    token = mint_token(SECRET, "user-1", scopes=frozenset({"a", "b"}), roles=frozenset({"admin"}), tier="pro")
    caller = await verifier.verify(token)
    assert (caller.subject, caller.tier) == ("user-1", "pro")
    assert (caller.scopes, caller.roles) == (frozenset({"a", "b"}), frozenset({"admin"}))


async def test_published_keys_verify_their_own_algorithm(
    both: TokenVerifier, rsa_key: rsa.RSAPrivateKey, ed_key: ed25519.Ed25519PrivateKey
) -> None:
    assert (await both.verify(signed(claims(), key=rsa_key, alg="RS256", kid="rsa"))).subject == "user-1"
    assert (await both.verify(signed(claims(), key=ed_key, alg="EdDSA", kid="ed"))).subject == "user-1"


async def test_made_up_key_ids_do_not_drive_traffic_to_the_issuer(
    both: TokenVerifier, issuer: Issuer
) -> None:
    for n in range(20):
        with pytest.raises(UnauthenticatedError):
            await both.verify(signed(claims(), key="x" * 32, kid=f"made-up-{n}"))
    assert issuer.asked == 1


async def test_issuer_away_and_no_key_known_is_unavailable_not_unauthenticated(
    rsa_key: rsa.RSAPrivateKey, free_port: int
) -> None:
    url = f"http://127.0.0.1:{free_port}/jwks"
    verifier = TokenVerifier(issuer="media-gateway", audience="media-gateway", jwks_url=url)
    with pytest.raises(UnavailableError):
        await verifier.verify(signed(claims(), key=rsa_key, alg="RS256", kid="rsa"))
    await verifier.close()


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(lambda: signed(claims(exp=...)), id="no exp"),
        pytest.param(lambda: signed(claims(exp=int(time.time()) - 3600)), id="expired"),
        pytest.param(lambda: signed(claims(exp="tomorrow")), id="exp is text"),
        pytest.param(lambda: signed(claims(exp=10**400)), id="exp is huge"),
        pytest.param(lambda: signed(claims(exp=float("inf"))), id="exp is infinite"),
        pytest.param(lambda: signed(claims(nbf=int(time.time()) + 3600)), id="not yet valid"),
        pytest.param(lambda: signed(claims(iss="someone")), id="foreign issuer"),
        pytest.param(lambda: signed(claims(aud="other")), id="foreign audience"),
        pytest.param(lambda: signed(claims(aud=...)), id="no audience"),
        pytest.param(lambda: signed(claims(sub=...)), id="no subject"),
        pytest.param(lambda: raw_signed({**claims(), "sub": 5}), id="subject is a number"),
        pytest.param(lambda: signed(claims(sub="")), id="empty subject"),
        pytest.param(lambda: signed(claims(scope=["a"])), id="scope is a list"),
        pytest.param(lambda: signed(claims(roles="admin")), id="roles are text"),
        pytest.param(lambda: signed(claims(), typ="JWT"), id="id token"),
        pytest.param(lambda: signed(claims(), typ="refresh+jwt"), id="refresh token"),
        pytest.param(lambda: signed(claims(), key="y" * 32), id="other secret"),
        pytest.param(lambda: signed(claims(), alg="HS512"), id="other hash"),
        pytest.param(lambda: raw({"alg": "none", **AT}, claims()), id="alg none"),
        pytest.param(lambda: raw({"alg": "NoNe", **AT}, claims()), id="alg none, odd case"),
        pytest.param(lambda: raw({"alg": None, **AT}, claims()), id="alg null"),
        pytest.param(lambda: raw({"alg": "HS256", "typ": ["at+jwt"]}, claims()), id="typ is a list"),
        pytest.param(lambda: signed(claims(), jwk={"kty": "oct", "k": "eA"}), id="embedded jwk"),
        pytest.param(lambda: signed(claims(), jku="https://evil.example/jwks"), id="jku"),
        pytest.param(lambda: signed(claims(), crit=["exp"]), id="crit"),
        pytest.param(lambda: signed(claims(), kid="../../etc/passwd", key="z" * 32), id="kid is a path"),
        pytest.param(lambda: "a" * (MAX_TOKEN_BYTES + 1), id="oversize"),
        pytest.param(lambda: signed(claims(pad="p" * MAX_TOKEN_BYTES)), id="oversize but signed"),
        pytest.param(lambda: "é.é.é", id="not ascii"),
        pytest.param(lambda: "", id="empty"),
        pytest.param(lambda: "..", id="empty parts"),
        pytest.param(lambda: raw([], claims()), id="header is a list"),  # type: ignore[arg-type]
        pytest.param(lambda: raw({"alg": "HS256", **AT}, []), id="claims are a list"),  # type: ignore[arg-type]
    ],
)
async def test_bad_token_is_unauthenticated(verifier: TokenVerifier, token: Callable[[], str]) -> None:
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(token())


def raw_signed(payload: dict[str, Any]) -> str:
    """Sign claims that PyJWT itself would refuse to encode."""
    return jwt.api_jws.encode(json.dumps(payload).encode(), SECRET, algorithm="HS256", headers=AT)


async def test_public_key_as_hmac_secret_is_refused(both: TokenVerifier, rsa_key: rsa.RSAPrivateKey) -> None:
    pem = rsa_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = {"alg": "HS256", "kid": "rsa", **AT}
    signing_input = raw(header, claims()).rpartition(".")[0]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        signing_input.encode(), pem
    )
    forged = f"{signing_input}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    with pytest.raises(UnauthenticatedError):
        await both.verify(forged)


async def test_symmetric_key_in_a_published_set_is_not_used(both: TokenVerifier) -> None:
    other = TokenVerifier(issuer="media-gateway", audience="media-gateway", jwks_url=both._client._base)  # type: ignore[union-attr]
    with pytest.raises(UnauthenticatedError):
        await other.verify(signed(claims(), kid="oct"))
    await other.close()


async def test_verifier_without_any_key_refuses_everything() -> None:
    verifier = TokenVerifier(issuer="media-gateway", audience="media-gateway")
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(mint_token(SECRET, "user-1"))


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_change_of_a_token_is_refused(verifier: TokenVerifier, data: st.DataObject) -> None:
    token = mint_token(SECRET, "user-1")
    at = data.draw(st.integers(0, len(token) - 2))
    replacement = data.draw(st.characters(codec="latin-1"))
    changed = token[:at] + replacement + token[at + 1 :]
    if changed != token:
        with pytest.raises(UnauthenticatedError):
            await verifier.verify(changed)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    token=st.text()
    | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}", fullmatch=True)
)
async def test_garbage_is_unauthenticated(verifier: TokenVerifier, token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(token)


def test_short_secret_is_refused_by_name() -> None:
    with pytest.raises(NotConfiguredError, match="MEDIA_GATEWAY_AUTH_SECRET"):
        TokenVerifier(issuer="i", audience="a", secret="too short")


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (mint_token("another secret of thirty-two bytes or more", "u"), "its signature is wrong"),
        (mint_token(SECRET, "u", audience="else"), "it is for another audience"),
        (mint_token(SECRET, "u", issuer="else"), "it is from another issuer"),
    ],
)
async def test_a_refusal_says_why_in_plain_words(verifier: TokenVerifier, token: str, reason: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        await verifier.verify(token)
    assert caught.value.message == f"the token is not valid: {reason}"


async def test_a_token_is_refused_from_the_moment_it_or_its_grant_is_revoked() -> None:
    revoked: set[str] = set()
    verifier = TokenVerifier(issuer="media-gateway", audience="media-gateway", secret=SECRET, revoked=revoked)
    for name in ("jti", "sid"):
        token, other = signed(claims(**{name: f"{name}-1"})), signed(claims(**{name: f"{name}-2"}))
        await verifier.verify(token)
        revoked.add(f"{name}-1")
        with pytest.raises(UnauthenticatedError, match="the token was revoked"):
            await verifier.verify(token)
        assert (await verifier.verify(other)).subject == "user-1"
    odd = signed(claims(sid=["not", "a", "text"]))
    assert (await verifier.verify(odd)).subject == "user-1"


async def test_a_known_token_is_refused_once_it_has_expired(
    verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = mint_token(SECRET, "user-1", ttl_s=60)
    first = await verifier.verify(token)
    assert await verifier.verify(token) is first
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60 + LEEWAY_S - 2)
    assert await verifier.verify(token) is first
    monkeypatch.setattr(time, "time", lambda: now + 60 + LEEWAY_S + 2)
    with pytest.raises(UnauthenticatedError, match="expired"):
        await verifier.verify(token)


async def test_a_known_token_is_refused_once_its_key_is_no_longer_published(
    both: TokenVerifier, issuer: Issuer, ed_key: ed25519.Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = signed(claims(), key=ed_key, alg="EdDSA", kid="ed")
    assert await both.verify(token) is await both.verify(token)
    issuer.keys = issuer.keys[:1]
    later = time.monotonic() + KEYS_TTL_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(UnauthenticatedError):
        await both.verify(token)


async def test_no_more_tokens_are_remembered_than_are_good_for_memory(
    verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_gateway.core.tokens.KNOWN_TOKENS", 2)
    tokens = [mint_token(SECRET, f"user-{n}") for n in range(3)]
    callers = [await verifier.verify(token) for token in tokens]
    assert await verifier.verify(tokens[2]) is callers[2]
    assert await verifier.verify(tokens[1]) is callers[1]
    assert await verifier.verify(tokens[0]) is not callers[0]


async def test_published_keys_have_an_issuer_of_their_own(
    issuer: Issuer, ed_key: ed25519.Ed25519PrivateKey
) -> None:
    verifier = TokenVerifier(
        issuer="inside", audience="media-gateway", secret=SECRET, jwks_url=issuer.url, jwks_issuer="outside"
    )
    for name, refused in (("outside", "inside"), ("inside", "outside")):
        by: dict[str, Any] = {"key": ed_key, "alg": "EdDSA", "kid": "ed"} if name == "outside" else {}
        assert (await verifier.verify(signed(claims(iss=name), **by))).subject == "user-1"
        with pytest.raises(UnauthenticatedError, match="another issuer"):
            await verifier.verify(signed(claims(iss=refused), **by))
    await verifier.close()
