"""Id tokens of a provider that lies, or of somebody else: none of them signs anybody in."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from media_gateway.auth.social.oidc import KEYS_RETRY_S
from media_gateway.core.adapters.postgres import Database
from tests.support.credentials import run
from tests.support.oidc_provider import (
    CLIENT_SECRET,
    STRANGE_RSA,
    Claims,
    Provider,
    pem,
    provider,
    public_pem,
)
from tests.support.social import Browser, provider_entry, serve_social


@pytest.fixture
async def work() -> AsyncIterator[Provider]:
    async with provider() as one:
        one.person = {"sub": "ann-at-work", "email": "ann@work.example", "email_verified": True}
        yield one


@pytest.fixture
async def site(work: Provider, database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[str]:
    server = await serve_social(database_url, redis_url, tmp_path, [provider_entry(work)])
    yield server.url
    await server.drain()


@pytest.fixture
async def browser(site: str) -> AsyncIterator[Browser]:
    browser = Browser(site)
    yield browser
    await browser.close()


def wrong(**change: Any) -> Any:
    return lambda claims: {**claims, **change}


def without(name: str) -> Any:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


LIES = {
    "the nonce of another sign-in": wrong(nonce="x" * 43),
    "no nonce": without("nonce"),
    "a nonce that is no text": wrong(nonce=["x"]),
    "another issuer": wrong(iss="https://evil.example"),
    "no issuer": without("iss"),
    "another audience": wrong(aud="somebody else"),
    "several audiences and no authorised party": wrong(aud=["media", "else"]),
    "another authorised party": wrong(azp="else"),
    "no audience": without("aud"),
    "expired": wrong(exp=int(time.time()) - 3_600),
    "no expiry": without("exp"),
    "issued in the future": wrong(iat=int(time.time()) + 3_600),
    "nobody": without("sub"),
    "an empty subject": wrong(sub=""),
    "a subject that is no text": wrong(sub=7),
    "an endless subject": wrong(sub="x" * 256),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_token_with_wrong_claims_signs_nobody_in(
    browser: Browser, database: Database, work: Provider, lie: str
):
    work.change = LIES[lie]
    page = await browser.sign_in()
    assert page.status == 403
    assert "Work did not confirm" in page.text
    assert await browser.account() is None
    assert await run(database, "SELECT 1 FROM users") == []


FORGERIES: dict[str, Any] = {
    "no signature": lambda claims: jwt.encode(claims, "", algorithm="none"),
    "no signature but a known key": lambda claims: jwt.encode(
        claims, "", algorithm="none", headers={"kid": "one"}
    ),
    "another key": lambda claims: jwt.encode(
        claims, pem(STRANGE_RSA), algorithm="RS256", headers={"kid": "one"}
    ),
    "an unknown key": lambda claims: jwt.encode(
        claims, pem(STRANGE_RSA), algorithm="RS256", headers={"kid": "two"}
    ),
    "the client's secret": lambda claims: jwt.encode(
        claims, CLIENT_SECRET, algorithm="HS256", headers={"kid": "one"}
    ),
    "another algorithm of the same key": lambda claims: jwt.encode(
        claims, pem(), algorithm="RS512", headers={"kid": "one"}
    ),
    "a key of its own": lambda claims: jwt.encode(
        claims,
        pem(STRANGE_RSA),
        algorithm="RS256",
        headers={"jwk": jwt.algorithms.RSAAlgorithm.to_jwk(STRANGE_RSA.public_key(), as_dict=True)},
    ),
    "no token": lambda _claims: "",
    "nonsense": lambda _claims: "a.b.c",
    "no ASCII": lambda _claims: "é.é.é",
    "endless": lambda _claims: "a" * 9_000,
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token_signs_nobody_in(
    browser: Browser, database: Database, work: Provider, forgery: str
):
    work.sign = FORGERIES[forgery]
    page = await browser.sign_in()
    assert page.status == 403
    assert "Work did not confirm" in page.text
    assert await browser.account() is None
    assert await run(database, "SELECT 1 FROM users") == []


async def test_a_public_key_is_no_shared_secret(browser: Browser, work: Provider):
    def sign(claims: Claims) -> str:
        # By hand, since PyJWT refuses to make such a token.
        def part(value: Any) -> bytes:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

        body = part({"alg": "HS256", "kid": "one"}) + b"." + part(claims)
        mac = base64.urlsafe_b64encode(hmac.digest(public_pem(), body, "sha256")).rstrip(b"=")
        return (body + b"." + mac).decode()

    work.sign = sign
    assert (await browser.sign_in()).status == 403
    assert await browser.account() is None


async def test_made_up_key_ids_fetch_no_more_keys(browser: Browser, work: Provider):
    work.sign = FORGERIES["an unknown key"]
    started = time.monotonic()
    for _ in range(8):
        assert (await browser.sign_in()).status == 403
    assert work.keys_fetched <= 1 + (time.monotonic() - started) / KEYS_RETRY_S
