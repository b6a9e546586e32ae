"""Tokens after they are issued: rotation of keys, introspection, metadata, and forgeries against running servers."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from media_gateway.auth import oauth
from media_gateway.auth.clients import CLIENT_CREDENTIALS, GRANT_TYPES
from media_gateway.auth.keys import LEAD_S, rotate
from media_gateway.core import tokens as core_tokens
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.tokens import LEEWAY_S, MAX_TOKEN_BYTES
from tests.support.forging import ISSUER, forged, forgeries
from tests.support.front_door import gateway
from tests.support.signing_in import CLIENT_SECRET, SECRET, Stand, auth_stand, basic, request_of
from tests.support.waiting import eventually

MINE = "/api/v1/recommendations"
"""Needs a token; the gateway of these tests has no such service, so that a good token gets 503."""


@pytest.fixture
async def stand(tmp_path, database_url, redis_url, database: Database):
    async with auth_stand(tmp_path, database_url, redis_url, database) as stand:
        yield stand


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def verified_by(stand: Stand) -> dict[str, Any]:
    """Settings of another service that takes the stand's tokens."""
    return {"auth_jwks_url": f"{stand.url}/.well-known/jwks.json", "auth_jwks_issuer": ISSUER}


async def at_gateway(session: aiohttp.ClientSession, token: str) -> int:
    async with session.get(MINE, headers=bearer(token)) as answer:
        return answer.status


async def token_of_firm(stand: Stand) -> str:
    answer = await stand.token_of_firm(grant_type=CLIENT_CREDENTIALS)
    return str(answer.body["access_token"])


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def test_a_rotation_loses_no_token_at_another_service(stand, tmp_path, redis_url, monkeypatch):
    monkeypatch.setattr(oauth, "KEYS_READ_S", 0.2)
    monkeypatch.setattr(core_tokens, "KEYS_RETRY_S", 0.1)
    path = tmp_path / "keys.json"
    older(path, 10)
    before = await token_of_firm(stand)
    async with (
        gateway(redis_url, **verified_by(stand)) as running,
        gateway(redis_url, **verified_by(stand)) as fresh,
    ):
        assert await at_gateway(running, before) == 503
        new = rotate(path, "EdDSA", retired_after_s=3_600)
        await eventually(lambda: published(stand, kid(before), new), timeout_s=20, interval_s=0.1)
        assert kid(await token_of_firm(stand)) == kid(before)
        older(path, LEAD_S)
        await eventually(lambda: signs(stand, new), timeout_s=20, interval_s=0.1)
        after = await token_of_firm(stand)
        for session in (running, fresh):
            for token in (before, after, before):
                assert await at_gateway(session, token) == 503
        assert await stand.is_active(before)
    older(path, 3_600)
    rotate(path, "EdDSA", retired_after_s=3_600)
    await eventually(lambda: dropped(stand, kid(before)), timeout_s=20, interval_s=0.1)
    async with gateway(redis_url, **verified_by(stand)) as later:
        assert await at_gateway(later, before) == 401
        assert await at_gateway(later, after) == 503
    assert not await stand.is_active(before)
    assert await stand.is_active(after)


def older(path: Path, seconds: float) -> None:
    """Let the keys of a file have been made so much earlier."""
    document = json.loads(path.read_text())
    for key in document["keys"]:
        key["iat"] -= int(seconds)
    path.write_text(json.dumps(document))


async def key_names(stand: Stand) -> set[str]:
    answer = await stand.send("GET", "/.well-known/jwks.json")
    return {key["kid"] for key in answer.body["keys"]}


async def published(stand: Stand, *names: str) -> bool:
    return await key_names(stand) == set(names)


async def dropped(stand: Stand, name: str) -> bool:
    return name not in await key_names(stand)


async def signs(stand: Stand, name: str) -> bool:
    return kid(await token_of_firm(stand)) == name


async def inspected(stand: Stand, token: str, **more: str) -> dict[str, Any]:
    form = {"token": token, **more}
    answer = await stand.send("POST", "/auth/introspect", data=form, headers=basic("firm", CLIENT_SECRET))
    assert answer.status == 200, answer.text
    assert "no-store" in answer.headers["Cache-Control"]
    return answer.body


async def test_introspection_tells_of_a_good_token_what_it_is_good_for(stand):
    tokens = await stand.signed_in(scope="openid read:content")
    state = await inspected(stand, tokens["access_token"], token_type_hint="refresh_token")
    assert (state["active"], state["client_id"], state["iss"]) == (True, "web", ISSUER)
    assert (state["sub"], state["scope"]) == (str(stand.people["anna"]), "openid read:content")
    assert state["exp"] - state["iat"] == tokens["expires_in"]


async def test_of_a_token_that_is_not_good_introspection_tells_nothing(stand):
    tokens = await stand.signed_in()
    revoked = await stand.signed_in()
    form = {"token": revoked["refresh_token"], "client_id": "web"}
    await stand.send("POST", "/auth/revoke", data=form)
    expired = forged(stand, exp=int(time.time()) - LEEWAY_S - 1)
    bad = {
        "refresh token of another client": tokens["refresh_token"],
        "revoked": revoked["access_token"],
        "expired": expired,
        "id token": tokens["id_token"],
        "garbage": "garbage",
        "three parts": "a.b.c",
        "no ASCII": "\u00e9\u4e2d",
        "cut off": tokens["access_token"][:-10],
        "changed": tokens["access_token"][:-4] + "AAAA",
    }
    for name, token in bad.items():
        assert await inspected(stand, token) == {"active": False}, name
    assert (await inspected(stand, tokens["access_token"]))["active"]


async def test_a_client_sees_its_own_refresh_token_until_it_is_spent(stand):
    await confidential_with_refresh(stand)
    async with stand.browser() as browser:
        await browser.sign_in("anna@tv.example")
        back = await browser.agree(request_of("own", scope="read:content"))
    answer = await stand.redeem(back.returned["code"], "own", client_secret=SECRET)
    fresh, headers = answer.body["refresh_token"], basic("own", SECRET)

    async def state(token: str) -> dict[str, Any]:
        answer = await stand.send("POST", "/auth/introspect", data={"token": token}, headers=headers)
        return dict(answer.body)

    seen = await state(fresh)
    assert (seen["active"], seen["token_type"], seen["client_id"]) == (True, "refresh_token", "own")
    form = {"grant_type": "refresh_token", "refresh_token": fresh}
    assert (await stand.send("POST", "/auth/token", data=form, headers=headers)).status == 200
    assert await state(fresh) == {"active": False}
    assert await inspected(stand, fresh) == {"active": False}


async def confidential_with_refresh(stand: Stand) -> None:
    await stand.run(
        "INSERT INTO oauth_clients (client_id, name, secret_digest, redirect_uris, grant_types, scopes) VALUES ('own', 'Own', "
        "sha256(CAST(:secret AS bytea)), '{https://app.example/callback}', '{authorization_code,refresh_token}', "
        "'{read:content}')",
        secret=SECRET.encode(),
    )


async def test_a_public_client_may_not_look_at_tokens(stand):
    token = await token_of_firm(stand)
    answer = await stand.send("POST", "/auth/introspect", data={"token": token, "client_id": "web"})
    assert (answer.status, answer.error) == (401, "invalid_client")


async def test_metadata_names_this_issuer_and_endpoints_that_answer(
    tmp_path, database_url, redis_url, database, free_port
):
    issuer = f"http://127.0.0.1:{free_port}"
    served = {"service_port": free_port, "public_url": issuer, "auth_jwks_issuer": issuer}
    async with auth_stand(tmp_path, database_url, redis_url, database, **served) as stand:
        assert stand.url == issuer
        answer = await stand.send("GET", "/.well-known/oauth-authorization-server")
        same = await stand.send("GET", "/.well-known/openid-configuration")
        document = answer.body
        assert document == same.body
        assert document["issuer"] == issuer
        assert document["code_challenge_methods_supported"] == ["S256"]
        assert document["authorization_response_iss_parameter_supported"] is True
        assert document["id_token_signing_alg_values_supported"] == ["RS256"]
        assert set(document["grant_types_supported"]) == set(GRANT_TYPES)
        found = {name: url for name, url in document.items() if name.endswith(("_endpoint", "_uri"))}
        assert len(found) == 7
        for name, url in found.items():
            assert url.startswith(f"{issuer}/"), name
            method = "GET" if name in {"jwks_uri", "userinfo_endpoint", "authorization_endpoint"} else "POST"
            told = await stand.send(
                method, url.removeprefix(issuer), **({} if method == "GET" else {"data": {"x": "y"}})
            )
            assert told.status in {200, 400, 401}, (name, told.status)
        allowed = await stand.send("GET", "/.well-known/jwks.json")
        assert "max-age=300" in allowed.headers["Cache-Control"]
        claims = jwt.decode(
            await token_of_firm(stand),
            jwt.PyJWK(allowed.body["keys"][0]).key,
            algorithms=["RS256"],
            issuer=issuer,
            audience="media-gateway",
        )
        assert claims["sub"] == "firm"


async def test_no_forgery_is_taken_by_auth_or_another_service(stand, redis_url):
    tokens = await stand.signed_in(scope="openid profile")
    async with gateway(redis_url, **verified_by(stand)) as session:
        for good in (tokens["access_token"], forged(stand)):
            assert (await stand.send("GET", "/auth/userinfo", headers=bearer(good))).status == 200
            assert await at_gateway(session, good) == 503
        for name, token in forgeries(stand, tokens).items():
            answer = await stand.send("GET", "/auth/userinfo", headers=bearer(token))
            assert (answer.status, answer.error) == (401, "invalid_token"), (name, answer.text)
            assert "Bearer" in answer.headers["WWW-Authenticate"], name
            assert await at_gateway(session, token) == 401, name
            if name.startswith(UNSIGNED):
                assert await inspected(stand, token) == {"active": False}, name


async def test_a_token_that_is_too_long_is_refused_unread(stand):
    too_long = forged(stand, note="x" * MAX_TOKEN_BYTES)
    assert (await stand.send("GET", "/auth/userinfo", headers=bearer(too_long))).status == 431
    asked = await stand.send(
        "POST", "/auth/introspect", data={"token": too_long}, headers=basic("firm", CLIENT_SECRET)
    )
    assert (asked.status, asked.error) == (400, "invalid_request")


UNSIGNED = ("alg none", "no alg", "HS256", "another key", "unknown kid", "id token")
"""Beginnings of the names of forgeries that introspection sees through, too; who has our key can forge everything."""


async def test_any_change_of_a_token_is_refused(stand):
    tokens = await stand.signed_in(scope="openid profile")
    token = tokens["access_token"]
    loop = asyncio.get_running_loop()

    async def status(changed: str) -> int:
        answer = await stand.send("GET", "/auth/userinfo", headers=bearer(changed))
        return int(answer.status)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(place=st.integers(0, len(token) - 5), text=st.text("abcXYZ019-_.=~", max_size=4))
    def each(place: int, text: str) -> None:
        changed = token[:place] + text + token[place + len(text) + (not text) :]
        if changed != token:
            assert asyncio.run_coroutine_threadsafe(status(changed), loop).result(20) == 401

    await asyncio.to_thread(each)
