"""The authorization code grant: who is sent where, what a code is good for, and for whom."""

import asyncio
from urllib.parse import urlencode

import jwt
import pytest

from media_gateway.core.adapters.postgres import Database
from tests.support.signing_in import (
    CALLBACK,
    CLIENT_SECRET,
    VERIFIER,
    auth_stand,
    challenge_of,
    hidden,
    quoted,
    request_of,
)

ANNA = "anna@tv.example"


@pytest.fixture
async def stand(tmp_path, database_url, redis_url, database: Database):
    async with auth_stand(tmp_path, database_url, redis_url, database, replicas=2) as stand:
        yield stand


@pytest.fixture
async def anna(stand):
    async with stand.browser() as browser:
        assert (await browser.sign_in(ANNA)).status == 303
        yield browser


async def test_a_person_signs_in_agrees_and_the_program_gets_tokens(stand):
    query = request_of(scope="openid profile read:content", nonce="n-1")
    async with stand.browser() as browser:
        first = await browser.get(f"/auth/authorize?{query}")
        assert first.status == 303
        assert first.headers["Location"].startswith("/auth/sign-in?return_to=/auth/authorize")
        page = await browser.get(first.headers["Location"])
        back = hidden(page.text, "return_to")
        signed_in = await browser.sign_in(ANNA, back)
        assert signed_in.headers["Location"].startswith("/auth/authorize?")
        page = await browser.get(signed_in.headers["Location"])
        assert "Web player" in page.text
        assert "form-action 'self' https://app.example;" in page.headers["Content-Security-Policy"]
        form = {name: hidden(page.text, name) for name in ("form_secret", "request")}
        done = await browser.post("/auth/authorize", {**form, "action": "approve"})
    assert done.status == 303
    assert done.headers["Location"].startswith(f"{CALLBACK}?")
    assert done.returned["state"] == "the state"
    assert done.returned["iss"] == "http://auth.example"
    answer = await stand.redeem(done.returned["code"])
    assert answer.status == 200, answer.text
    assert "no-store" in answer.headers["Cache-Control"]
    tokens = answer.body
    assert set(tokens["scope"].split()) == {"openid", "profile", "read:content"}
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    header = jwt.get_unverified_header(tokens["access_token"])
    assert (header["typ"], header["alg"]) == ("at+jwt", "RS256")
    assert {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "sid"} <= claims.keys()
    assert (claims["sub"], claims["client_id"]) == (str(stand.people["anna"]), "web")
    identity = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert (identity["aud"], identity["nonce"], identity["name"]) == ("web", "n-1", "Anna")
    who = await stand.send(
        "GET", "/auth/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}
    )
    assert who.body == {"sub": str(stand.people["anna"]), "name": "Anna"}


BAD_REDIRECTS = [
    "https://app.example/callback/",
    "https://app.example/callback/../evil",
    "https://app.example/callback?x=1",
    "https://app.example/callback#fragment",
    "https://app.example/Callback",
    "https://APP.example/callback",
    "https://app.example:443/callback",
    "https://app.example:8443/callback",
    "http://app.example/callback",
    "https://evil@app.example/callback",
    "https://app.example@evil.example/callback",
    "https://app.example.evil.example/callback",
    "https://evil.example/callback",
    "https://app.example%2f@evil.example/callback",
    "https://app.example\\@evil.example/callback",
    "//app.example/callback",
    "javascript:alert(1)",
    "http://127.0.0.1:80@evil.example/callback",
    "http://127.0.0.1:80%40evil.example/callback",
    "http://user@127.0.0.1/callback",
    "http://127.0.0.1/other",
    "http://127.0.0.1:99999/callback",
    "http://127.0.0.1.evil.example/callback",
    "http://localhost/callback",
    "http://localhost:80@evil.example/callback",
    "https://127.0.0.1/callback",
    "com.example.tv:/done/more",
    "com.example.evil:/done",
    " https://app.example/callback",
]


@pytest.mark.parametrize("uri", BAD_REDIRECTS)
async def test_nobody_is_sent_to_an_address_that_is_not_registered(anna, uri):
    answer = await anna.get(f"/auth/authorize?{request_of(redirect_uri=uri)}")
    assert answer.status == 400
    assert "Location" not in answer.headers
    assert "redirect_uri" in answer.text


@pytest.mark.parametrize("uri", ["http://127.0.0.1:49152/callback", "com.example.tv:/done"])
async def test_a_program_on_ones_own_machine_may_take_any_port(anna, uri):
    back = await anna.agree(request_of(redirect_uri=uri))
    assert back.headers["Location"].startswith(f"{uri}?code=")


@pytest.mark.parametrize(
    ("changes", "doubled"),
    [
        ({"client_id": "nobody"}, ""),
        ({"client_id": None}, ""),
        ({"redirect_uri": None}, ""),
        ({}, "&client_id=web"),
        ({}, f"&{urlencode({'redirect_uri': CALLBACK})}"),
    ],
)
async def test_without_a_known_program_and_address_there_is_a_page_and_no_redirect(anna, changes, doubled):
    answer = await anna.get(f"/auth/authorize?{request_of(**changes)}{doubled}")
    assert answer.status == 400
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    ("changes", "more", "error"),
    [
        ({"response_type": "token"}, "", "unsupported_response_type"),
        ({"response_type": None}, "", "invalid_request"),
        ({"code_challenge": None}, "", "invalid_request"),
        ({"code_challenge_method": "plain"}, "", "invalid_request"),
        ({"code_challenge_method": None}, "", "invalid_request"),
        ({"code_challenge": "short"}, "", "invalid_request"),
        ({"scope": "admin"}, "", "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, "", "invalid_target"),
        ({"prompt": "none login"}, "", "invalid_request"),
        ({"prompt": "none"}, "", "consent_required"),
        ({"max_age": "soon"}, "", "invalid_request"),
        ({"response_mode": "fragment"}, "", "invalid_request"),
        ({"request": "eyJ"}, "", "request_not_supported"),
        ({}, "&scope=openid&scope=profile", "invalid_request"),
    ],
)
async def test_every_other_mistake_is_told_to_the_program(anna, changes, more, error):
    answer = await anna.get(f"/auth/authorize?{request_of(**changes)}{more}")
    assert answer.status == 303
    assert answer.headers["Location"].startswith(f"{CALLBACK}?")
    assert (answer.returned["error"], answer.returned["state"]) == (error, "the state")
    assert answer.returned["iss"] == "http://auth.example"


async def test_a_client_without_the_grant_is_told_so(anna):
    # `tv` has no redirect address at all, so nobody is sent anywhere.
    assert (await anna.get(f"/auth/authorize?{request_of('tv')}")).status == 400


async def test_a_refusal_goes_back_to_the_program(anna):
    back = await anna.agree(request_of(), "deny")
    assert (back.status, back.returned["error"]) == (303, "access_denied")


async def test_a_form_of_another_browser_gives_no_code(stand, anna):
    page = await anna.get(f"/auth/authorize?{request_of()}")
    stolen = {name: hidden(page.text, name) for name in ("form_secret", "request")}
    async with stand.browser() as ben:
        await ben.sign_in("ben@tv.example")
        forged = await ben.post("/auth/authorize", {**stolen, "action": "approve"})
    assert forged.status == 403
    assert "Location" not in forged.headers
    without = await anna.post("/auth/authorize", {"request": stolen["request"], "action": "approve"})
    assert without.status == 403


async def test_a_request_that_was_changed_in_the_form_is_checked_again(anna):
    page = await anna.get(f"/auth/authorize?{request_of()}")
    form = {"form_secret": hidden(page.text, "form_secret"), "action": "approve"}
    answer = await anna.post(
        "/auth/authorize", {**form, "request": request_of(redirect_uri="https://evil.example/")}
    )
    assert answer.status == 400


async def test_signing_in_anew_is_asked_for_once(anna):
    first = await anna.get(f"/auth/authorize?{request_of(prompt='login')}")
    assert first.headers["Location"].startswith("/auth/sign-in")
    assert "prompt" not in first.headers["Location"]
    again = await anna.get(f"/auth/authorize?{request_of(max_age='0')}")
    assert again.headers["Location"].startswith("/auth/sign-in")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_request"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1/callback"}, "invalid_grant"),
        ({"redirect_uri": ""}, "invalid_grant"),
        ({"client_id": "lenient"}, "invalid_grant"),
        ({"client_id": "tv"}, "unauthorized_client"),
        ({"code": "made-up"}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
async def test_a_code_is_good_only_as_it_was_asked_for_and_is_not_used_up_by_others(
    stand, anna, changes, error
):
    code = (await anna.agree(request_of())).returned["code"]
    wrong = await stand.redeem(**{"code": code, **changes})
    assert (wrong.status, wrong.error) == (400, error)
    assert (await stand.redeem(code)).status == 200


async def test_of_many_redemptions_at_once_one_gets_tokens_and_loses_them_to_the_reuse(stand, anna):
    code = (await anna.agree(request_of())).returned["code"]
    answers = await asyncio.gather(*(stand.redeem(code) for _ in range(12)))
    good = [answer for answer in answers if answer.status == 200]
    assert len(good) == 1
    assert {answer.error for answer in answers if answer.status != 200} == {"invalid_grant"}
    # Whoever had the code first may have been a thief.
    assert not await stand.is_active(good[0].body["access_token"])
    assert (await stand.refresh(good[0].body["refresh_token"])).error == "invalid_grant"
    assert await stand.run("SELECT 1 FROM audit_logs WHERE action = 'grant.revoked'")


async def test_a_code_expires(stand, anna):
    code = (await anna.agree(request_of())).returned["code"]
    await stand.run("UPDATE authorization_codes SET expires_at = now() - interval '1 second'")
    assert (await stand.redeem(code)).error == "invalid_grant"


async def test_a_code_is_not_kept_as_it_is(stand, anna):
    code = (await anna.agree(request_of())).returned["code"]
    rows = await stand.run("SELECT authorization_codes::text AS row FROM authorization_codes")
    assert rows
    assert all(code not in row.row for row in rows)


async def test_an_account_that_was_locked_meanwhile_gets_no_tokens(stand, anna):
    code = (await anna.agree(request_of())).returned["code"]
    await stand.run("UPDATE users SET locked_at = now() WHERE email = :email", email=ANNA)
    assert (await stand.redeem(code)).error == "invalid_grant"
    assert await stand.run("SELECT id FROM oauth_grants") == []


async def test_a_confidential_client_needs_its_secret_for_a_code_too(stand, anna):
    code = (await anna.agree(request_of("firm", scope="read:content"))).returned["code"]
    bare = await stand.redeem(code, "firm")
    assert (bare.status, bare.error) == (401, "invalid_client")
    form = {"client_secret": CLIENT_SECRET}
    answer = await stand.redeem(code, "firm", **form)
    assert answer.status == 200, answer.text
    assert "refresh_token" not in {k: v for k, v in answer.body.items() if v is not None}


async def test_a_token_for_another_service_is_good_there_only(tmp_path, database_url, redis_url, database):
    mcp = "https://mcp.example/mcp"
    async with auth_stand(tmp_path, database_url, redis_url, database, token_resources=mcp) as stand:
        tokens = await stand.signed_in(resource=mcp, scope="openid read:content")
        claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
        assert claims["aud"] == mcp
        here = await stand.send(
            "GET", "/auth/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}
        )
        assert (here.status, here.error) == (401, "invalid_token")


def test_the_challenge_is_that_of_rfc_7636():
    assert challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == (
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )
    assert len(VERIFIER) == 43
    assert quoted("a b%") == "a+b%25"
