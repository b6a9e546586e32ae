"""Refresh tokens: used once, and a second use ends everything that came of the sign-in."""

import asyncio

import aiohttp
import jwt
import pytest

from media_gateway.core.adapters.postgres import Database
from tests.support.signing_in import auth_stand


@pytest.fixture
async def stand(tmp_path, database_url, redis_url, database: Database):
    async with auth_stand(tmp_path, database_url, redis_url, database, replicas=2) as stand:
        yield stand


async def test_each_use_gives_a_new_token_and_the_chain_goes_on(stand):
    tokens = await stand.signed_in()
    seen = {tokens["refresh_token"]}
    for _ in range(3):
        answer = await stand.refresh(tokens["refresh_token"])
        assert answer.status == 200, answer.text
        assert "no-store" in answer.headers["Cache-Control"]
        tokens = answer.body
        assert tokens["refresh_token"] not in seen
        seen.add(tokens["refresh_token"])
    assert await stand.is_active(tokens["access_token"])


async def test_a_stolen_token_used_again_signs_everybody_out(stand):
    tokens = await stand.signed_in()
    fresh = (await stand.refresh(tokens["refresh_token"])).body
    stolen = await stand.refresh(tokens["refresh_token"])
    assert (stolen.status, stolen.error) == (400, "invalid_grant")
    assert (await stand.refresh(fresh["refresh_token"])).error == "invalid_grant"
    assert not await stand.is_active(fresh["access_token"])
    found = await stand.run("SELECT details FROM audit_logs WHERE action = 'refresh_token.reused'")
    assert [row.details["client_id"] for row in found] == ["web"]


async def test_other_sign_ins_of_the_person_go_on(stand):
    one, other = await stand.signed_in(), await stand.signed_in()
    await stand.refresh(one["refresh_token"])
    await stand.refresh(one["refresh_token"])
    assert (await stand.refresh(other["refresh_token"])).status == 200


async def test_of_many_uses_at_once_one_passes_and_the_family_ends(stand):
    tokens = await stand.signed_in()
    answers = await asyncio.gather(*(stand.refresh(tokens["refresh_token"]) for _ in range(40)))
    assert [answer.status for answer in answers].count(200) == 1
    good = next(answer.body for answer in answers if answer.status == 200)
    assert (await stand.refresh(good["refresh_token"])).error == "invalid_grant"


async def test_within_the_leeway_all_get_the_same_successor(stand):
    tokens = await stand.signed_in("lenient", scope="read:content")
    answers = await asyncio.gather(*(stand.refresh(tokens["refresh_token"], "lenient") for _ in range(10)))
    assert {answer.status for answer in answers} == {200}
    successors = {answer.body["refresh_token"] for answer in answers}
    assert len(successors) == 1
    assert (await stand.refresh(successors.pop(), "lenient")).status == 200


async def test_after_the_leeway_a_second_use_is_theft(stand):
    tokens = await stand.signed_in("lenient", scope="read:content")
    fresh = (await stand.refresh(tokens["refresh_token"], "lenient")).body
    await stand.run("UPDATE refresh_tokens SET spent_at = spent_at - interval '16 seconds'")
    assert (await stand.refresh(tokens["refresh_token"], "lenient")).error == "invalid_grant"
    assert (await stand.refresh(fresh["refresh_token"], "lenient")).error == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_id": "lenient"}, 400, "invalid_grant"),
        ({"client_id": "tv"}, 400, "invalid_grant"),
        ({"client_id": "firm"}, 401, "invalid_client"),
        ({"scope": "openid admin"}, 400, "invalid_scope"),
        ({"scope": "read:content write:watchlist"}, 400, "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, 400, "invalid_target"),
    ],
)
async def test_another_client_or_more_scope_gets_nothing_and_spends_nothing(stand, changes, status, error):
    tokens = await stand.signed_in(scope="openid read:content")
    answer = await stand.refresh(**{"token": tokens["refresh_token"], **changes})
    assert (answer.status, answer.error) == (status, error)
    assert (await stand.refresh(tokens["refresh_token"])).status == 200


async def test_scope_may_be_narrowed_for_one_access_token(stand):
    tokens = await stand.signed_in(scope="openid read:content")
    narrow = (await stand.refresh(tokens["refresh_token"], scope="read:content")).body
    assert narrow["scope"] == "read:content"
    wide = (await stand.refresh(narrow["refresh_token"])).body
    assert wide["scope"] == "openid read:content"


async def test_an_expired_token_is_not_taken(stand):
    tokens = await stand.signed_in()
    await stand.run("UPDATE refresh_tokens SET expires_at = now() - interval '1 second'")
    assert (await stand.refresh(tokens["refresh_token"])).error == "invalid_grant"


async def test_a_locked_account_is_not_refreshed_and_an_unlocked_one_goes_on(stand):
    tokens = await stand.signed_in()
    await stand.run("UPDATE users SET locked_at = now()")
    assert (await stand.refresh(tokens["refresh_token"])).error == "invalid_grant"
    await stand.run("UPDATE users SET locked_at = NULL")
    assert (await stand.refresh(tokens["refresh_token"])).status == 200


async def test_tokens_tell_the_tier_and_limits_of_now(stand):
    tokens = await stand.signed_in()
    await stand.run("UPDATE users SET tier = 'pro', content_rating_limit = 'PG', blocked_genres = '{horror}'")
    fresh = (await stand.refresh(tokens["refresh_token"])).body
    claims = jwt.decode(fresh["access_token"], options={"verify_signature": False})
    assert (claims["tier"], claims["content_rating_limit"], claims["blocked_genres"]) == (
        "pro",
        "PG",
        ["horror"],
    )


async def test_no_token_is_kept_as_it_is(stand):
    tokens = await stand.signed_in()
    fresh = (await stand.refresh(tokens["refresh_token"])).body
    rows = await stand.run("SELECT refresh_tokens::text AS row FROM refresh_tokens")
    text = " ".join(row.row for row in rows)
    for token in (tokens["refresh_token"], fresh["refresh_token"]):
        assert token not in text
        assert token.encode().hex() not in text


async def test_without_postgres_nothing_is_spent_and_the_answer_says_when_to_come_back(stand):
    tokens = await stand.signed_in()
    await stand.run("ALTER TABLE oauth_grants RENAME TO away")
    broken = await stand.refresh(tokens["refresh_token"])
    assert broken.status >= 500
    await stand.run("ALTER TABLE away RENAME TO oauth_grants")
    assert (await stand.refresh(tokens["refresh_token"])).status == 200


async def test_revoking_a_refresh_token_ends_its_access_tokens_everywhere(stand):
    tokens = await stand.signed_in(scope="openid read:content")
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await stand.send("GET", "/auth/userinfo", headers=bearer)).status == 200
    form = {"token": tokens["refresh_token"], "client_id": "web"}
    revoked = await stand.send("POST", "/auth/revoke", data=form)
    assert (revoked.status, revoked.text) == (200, "")
    assert (await stand.refresh(tokens["refresh_token"])).error == "invalid_grant"
    assert not await stand.is_active(tokens["access_token"])
    ends_at = asyncio.get_running_loop().time() + 10
    async with aiohttp.ClientSession() as http:
        for server in stand.servers:
            while True:
                async with http.get(f"{server.url}/auth/userinfo", headers=bearer) as answer:
                    if answer.status == 401:
                        break
                assert asyncio.get_running_loop().time() < ends_at, "the token is still taken"
                await asyncio.sleep(0.1)


async def test_revoking_an_access_token_ends_it_alone(stand):
    tokens = await stand.signed_in()
    form = {"token": tokens["access_token"], "client_id": "web", "token_type_hint": "refresh_token"}
    assert (await stand.send("POST", "/auth/revoke", data=form)).status == 200
    ends_at = asyncio.get_running_loop().time() + 10
    while await stand.is_active(tokens["access_token"]):
        assert asyncio.get_running_loop().time() < ends_at
        await asyncio.sleep(0.1)
    assert (await stand.refresh(tokens["refresh_token"])).status == 200


@pytest.mark.parametrize("token", ["made-up", "a.b.c", "mgr_unknown", "\u00e9"])
async def test_revoking_what_nobody_knows_is_fine_and_does_nothing(stand, token):
    form = {"token": token, "client_id": "web"}
    assert (await stand.send("POST", "/auth/revoke", data=form)).status == 200


async def test_nobody_revokes_the_tokens_of_another_client(stand):
    tokens = await stand.signed_in()
    for token in (tokens["refresh_token"], tokens["access_token"]):
        form = {"token": token, "client_id": "lenient"}
        assert (await stand.send("POST", "/auth/revoke", data=form)).status == 200
    assert await stand.is_active(tokens["access_token"])
    assert (await stand.refresh(tokens["refresh_token"])).status == 200
