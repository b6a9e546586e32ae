"""People's own accounts and those who administer them, through HTTP on real servers."""

import asyncio
import io
from typing import Any
from uuid import UUID, uuid4

import pytest

from media_gateway.auth.settings import Settings
from media_gateway.core.domain.content import MaturityRating
from media_gateway.core.domain.events import Event
from media_gateway.core.telemetry import configure_logging
from media_gateway.core.tokens import mint_token
from media_gateway.discovery.profiles import limits_from
from tests.support.account_world import ANN, PASSWORD, SECRET, AccountWorld, account_world, serve
from tests.support.servers import unused_port

ME = "/api/v1/users/me"
BEN, NEW = "ben@tv.example", "Another-Horse-2"


@pytest.fixture
async def world(database_url, redis_url, tmp_path):
    async with account_world(database_url, redis_url, tmp_path / "mails") as world:
        await world.register(display_name="Ann")
        yield world


@pytest.fixture
async def token(world):
    return await world.token()


async def test_a_person_sees_and_changes_the_own_account(world, token):
    answer = await world.send("PATCH", ME, {"display_name": "Anna", "profile": {"language": "de"}}, token)
    assert (answer.status, answer.body["display_name"], answer.body["profile"]) == (
        200,
        "Anna",
        {"language": "de"},
    )
    answer = await world.send("PATCH", ME, {"profile": {"language": None, "region": "GB"}}, token)
    assert answer.body["profile"] == {"region": "GB"}
    assert (await world.send("GET", ME, token=token)).body == answer.body


async def test_a_token_without_the_scope_does_not_see_the_account(world):
    user_id = (await world.rows("SELECT id FROM users"))[0][0]
    token = mint_token(SECRET, str(user_id), scopes=frozenset({"read:content"}))
    for method, path in (("GET", ME), ("GET", f"{ME}/export"), ("GET", "/api/v1/admin/users")):
        assert (await world.send(method, path, token=token)).status == 403
    program = mint_token(SECRET, "some-program", scopes=frozenset({"account"}))
    assert (await world.send("GET", ME, token=program)).status == 403


async def test_preferences_are_replaced_or_changed(world, token):
    path = f"{ME}/preferences"
    whole = {"favorite_genres": ["drama"], "preferred_video_quality": "UHD", "autoplay_next": False}
    assert (await world.send("PUT", path, whole, token)).status == 200
    answer = await world.send("PATCH", path, {"disliked_genres": ["horror"]}, token)
    assert (answer.status, answer.body["favorite_genres"], answer.body["autoplay_next"]) == (
        200,
        ["drama"],
        False,
    )
    assert (await world.send("GET", path, token=token)).body["disliked_genres"] == ["horror"]


async def test_a_new_address_is_taken_once_its_owner_confirms_it(world, token):
    change = {"email": "anna@tv.example"}
    assert (await world.send("PATCH", ME, change, token)).fields == ["password"]
    assert (await world.send("PATCH", ME, {**change, "password": NEW}, token)).status == 403
    answer = await world.send("PATCH", ME, {**change, "password": PASSWORD}, token)
    assert (answer.body["email"], answer.body["pending_email"]) == (ANN, "anna@tv.example")
    code = await world.code("Confirm your new e-mail address", "anna@tv.example")
    assert (await world.post("/api/v1/auth/verify-email", token=code)).status == 200
    assert (await world.login("anna@tv.example")).status == 200
    assert (await world.login()).status == 401
    assert await world.mailed("Your e-mail address was changed")


async def test_an_address_that_is_taken_is_not_told_from_a_free_one(world, token):
    await world.register(BEN)
    answer = await world.send("PATCH", ME, {"email": BEN, "password": PASSWORD}, token)
    assert (answer.status, answer.body["pending_email"]) == (200, BEN)
    assert "token=" not in await world.mailed("Somebody wanted to use your address", BEN)


async def test_a_new_password_ends_everything_but_the_answers_tokens(world, token):
    path = f"{ME}/password"
    assert (await world.send("POST", path, {"current": NEW, "new": NEW}, token)).status == 403
    assert set((await world.send("POST", path, {"current": PASSWORD, "new": "weak"}, token)).fields) == {
        "new"
    }
    answer = await world.send("POST", path, {"current": PASSWORD, "new": NEW}, token)
    assert answer.status == 200
    assert len(world.issuer.signed_out) == 1
    assert (await world.send("GET", ME, token=answer.body["access_token"])).status == 200
    assert (await world.login(ANN, NEW)).status == 200


@pytest.mark.parametrize("rating", [r.value for r in MaturityRating if r is not MaturityRating.NR])
async def test_search_understands_every_limit_that_can_be_set(world, token, rating):
    body = {"content_rating_limit": rating, "blocked_genres": ["horror"]}
    answer = await world.send("PUT", f"{ME}/parental-controls", body, token)
    assert answer.status == 200
    limits = limits_from({k: answer.body[k] for k in ("content_rating_limit", "blocked_genres")})
    assert limits.maturity_level is not None


async def test_limits_change_with_the_pin_only_once_one_is_set(world, token):
    path = f"{ME}/parental-controls"
    free: dict[str, Any] = {"content_rating_limit": None, "blocked_genres": []}
    limits = {"content_rating_limit": "PG", "blocked_genres": ["horror"], "pin": "2468"}
    assert (await world.send("PUT", path, limits, token)).body["pin_set"] is True
    assert (await world.send("PUT", path, free, token)).fields == ["pin"]
    assert (await world.send("PUT", path, {**free, "pin": "1111"}, token)).status == 403
    assert (await world.send("GET", path, token=token)).body["content_rating_limit"] == "PG"
    assert (await world.send("PUT", path, {**limits, "new_pin": "13579"}, token)).status == 200
    assert (await world.send("POST", f"{path}/verify-pin", {"pin": "13579"}, token)).status == 200
    answer = await world.send("PUT", path, {**free, "pin": "13579", "remove_pin": True}, token)
    assert answer.body == {"content_rating_limit": None, "blocked_genres": [], "pin_set": False}
    assert (await world.send("POST", f"{path}/verify-pin", {"pin": "13579"}, token)).status == 409


async def test_of_many_guesses_of_a_pin_at_once_five_are_looked_at(world, token):
    path = f"{ME}/parental-controls"
    await world.send("PUT", path, {"content_rating_limit": None, "pin": "2468"}, token)
    before = world.passwords.work["matched"]
    guesses = (world.send("POST", f"{path}/verify-pin", {"pin": f"{i:04}"}, token) for i in range(30))
    answers = await asyncio.gather(*guesses)
    assert sorted(answer.status for answer in answers) == [403] * 5 + [429] * 25
    assert world.passwords.work["matched"] - before == 5
    assert all(answer.body["retry_after_ms"] > 0 for answer in answers if answer.status == 429)
    right = await world.send("PUT", path, {"content_rating_limit": "R", "pin": "2468"}, token)
    assert right.status == 429, "the other door is closed, too"


async def test_an_export_has_everything_but_secrets(world, token):
    answer = await world.send("GET", f"{ME}/export", token=token)
    assert answer.status == 200
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.body["account"]["email"] == ANN
    assert "sign_in.succeeded" in {entry["action"] for entry in answer.body["audit_log"]}
    assert b"argon2" not in answer.raw


BELONGINGS = {
    "second_factors": "INSERT INTO second_factors (user_id, sealed_secret) VALUES (:id, 'x')",
    "backup_codes": "INSERT INTO backup_codes (user_id, code_digest) VALUES (:id, 'x')",
    "api_keys": "INSERT INTO api_keys (id, user_id, name, prefix, key_digest, scopes) "
    "VALUES (:id, :id, 'n', 'p', 'x', '{}')",
    "oauth_identities": "INSERT INTO oauth_identities (provider, provider_user_id, user_id) VALUES ('google', '1', :id)",
    "authorization_codes": "INSERT INTO authorization_codes (digest, grant_id, client_id, user_id, redirect_uri, "
    "challenge, scopes, expires_at) VALUES ('x', :id, 'web', :id, 'u', 'c', '{}', now() + interval '1 hour')",
    "oauth_grants": "INSERT INTO oauth_grants (id, client_id, user_id, scopes, expires_at) "
    "VALUES (:id, 'web', :id, '{}', now() + interval '1 hour')",
    "refresh_tokens": "INSERT INTO refresh_tokens (digest, grant_id, expires_at) "
    "VALUES ('x', :id, now() + interval '1 hour')",
}


async def test_a_deleted_account_leaves_nothing_of_the_person(world, token):
    await world.send("PUT", f"{ME}/parental-controls", {"content_rating_limit": "R", "pin": "2468"}, token)
    await world.post("/api/v1/auth/password/forgot", email=ANN)
    user_id = str((await world.rows("SELECT id FROM users"))[0][0])
    for statement in BELONGINGS.values():
        await world.rows(statement, id=UUID(user_id))
    assert (await world.send("DELETE", ME, {"password": NEW}, token)).status == 403
    assert (await world.send("DELETE", ME, {"password": PASSWORD}, token)).status == 204
    assert await world.mailed("Your account was deleted")
    await world.all_sent()
    for table in BELONGINGS:
        assert await world.rows(f"SELECT 1 FROM {table}") == [], table
    tables = await world.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for (table,) in tables:
        kept = str(await world.rows(f"SELECT * FROM {table}"))
        for trace in (ANN, "'Ann'", "argon2", "127.0.0.1", "Python/"):
            assert trace not in kept, (table, trace)
    events = [Event.from_json(body) for (body,) in await world.rows("SELECT body FROM outbox")]
    assert [(e.type, e.key, e.topic.value) for e in events] == [
        ("user.deleted", user_id, "media-gateway.user")
    ]
    assert world.issuer.signed_out == [UUID(user_id)]
    assert (await world.login()).status == 401
    assert (await world.send("GET", ME, token=token)).status == 404
    assert (await world.register()).status == 202, "the address is free again"
    assert (await world.login()).status == 200
    (again,) = await world.rows("SELECT id FROM users WHERE email IS NOT NULL")
    await world.rows(BELONGINGS["oauth_identities"], id=again[0])


async def _admin(world: AccountWorld) -> tuple[str, dict[str, str]]:
    await world.register(BEN)
    await world.rows("UPDATE users SET roles = '{user,admin}' WHERE email = :email", email=BEN)
    ids = {email: str(user_id) for user_id, email in await world.rows("SELECT id, email FROM users")}
    return await world.token(BEN), ids


async def test_an_admin_locks_an_account_and_its_tokens_end(world):
    token, ids = await _admin(world)
    path = f"/api/v1/admin/users/{ids[ANN]}"
    answer = await world.send("PATCH", path, {"locked": True, "tier": "pro"}, token)
    assert (answer.status, answer.body["tier"], answer.body["locked_at"] is not None) == (200, "pro", True)
    assert world.issuer.signed_out == [UUID(ids[ANN])]
    assert (await world.login()).status == 403
    assert (await world.send("PATCH", path, {"locked": False}, token)).body["locked_at"] is None
    assert (await world.login()).status == 200
    query = f"/api/v1/admin/audit-logs?action=account.administered&user_id={ids[BEN]}&limit=1"
    first = (await world.send("GET", query, token=token)).body
    assert first["entries"][0]["details"]["locked"] == {"from": True, "to": False}
    second = (await world.send("GET", f"{query}&cursor={first['next_cursor']}", token=token)).body
    assert second["entries"][0]["details"]["tier"] == {"from": "free", "to": "pro"}
    assert second["next_cursor"] is None


async def test_accounts_are_listed_in_pages_by_prefix_and_lock(world):
    token, _ = await _admin(world)
    first = (await world.send("GET", "/api/v1/admin/users?limit=1", token=token)).body
    assert [user["email"] for user in first["users"]] == [BEN]
    query = f"/api/v1/admin/users?limit=1&cursor={first['next_cursor']}"
    assert [user["email"] for user in (await world.send("GET", query, token=token)).body["users"]] == [ANN]
    for query, found in (("email_prefix=AN", [ANN]), ("email_prefix=%25", []), ("locked=true", [])):
        users = (await world.send("GET", f"/api/v1/admin/users?{query}", token=token)).body["users"]
        assert [user["email"] for user in users] == found


async def test_the_last_admin_stays_one(world):
    token, ids = await _admin(world)
    path = f"/api/v1/admin/users/{ids[BEN]}"
    for body in ({"locked": True}, {"roles": ["user"]}):
        assert (await world.send("PATCH", path, body, token)).status == 409
    assert (await world.send("DELETE", path, token=token)).status == 409
    assert (await world.send("DELETE", ME, {"password": PASSWORD}, token)).status == 409
    await world.rows("UPDATE users SET roles = '{user,admin}'")
    both = (world.send("PATCH", f"/api/v1/admin/users/{i}", {"roles": ["user"]}, token) for i in ids.values())
    assert sorted([answer.status for answer in await asyncio.gather(*both)]) == [200, 409]


@pytest.mark.parametrize(
    "query",
    [
        "admin/users?cursor=x",
        "admin/users?limit=0",
        "admin/users?locked=maybe",
        "admin/users?bogus=1",
        "admin/users/not-an-id",
        "admin/audit-logs?since=yesterday",
        "admin/audit-logs?since=2026-01-01T00:00:00",
        "admin/audit-logs?since=0001-01-01T00:00:00%2B10:00",
        "admin/audit-logs?until=9999-12-31T23:59:59-10:00",
        "admin/audit-logs?user_id=%00",
    ],
)
async def test_what_no_admin_should_ask_is_refused(world, query):
    token, _ = await _admin(world)
    answer = await world.send("GET", f"/api/v1/{query}", token=token)
    assert (answer.status, len(answer.fields)) == (400, 1), answer.body


async def test_an_account_that_is_not_there_is_not_found(world):
    token, _ = await _admin(world)
    for method, body in (("GET", None), ("PATCH", {"tier": "pro"}), ("DELETE", None)):
        assert (await world.send(method, f"/api/v1/admin/users/{uuid4()}", body, token)).status == 404


BAD = [
    ("PATCH", ME, {"display_name": "x" * 999}, "display_name"),
    ("PATCH", ME, {"display_name": "a\x1bb"}, "display_name"),
    ("PATCH", ME, {"profile": {"language": "\ud800"}}, "profile.language"),
    ("PATCH", ME, {"tier": "enterprise"}, "tier"),
    ("PUT", f"{ME}/preferences", {"favorite_genres": ["nonsense"]}, "favorite_genres.0"),
    ("PUT", f"{ME}/preferences", {"subscribed_platforms": ["Bad Name"]}, "subscribed_platforms.0"),
    ("PATCH", f"{ME}/preferences", {"autoplay_next": "yes"}, "autoplay_next"),
    ("PUT", f"{ME}/parental-controls", {"content_rating_limit": "NR"}, "content_rating_limit"),
    ("PUT", f"{ME}/parental-controls", {"content_rating_limit": None, "pin": "12a4"}, "pin"),
    (
        "PUT",
        f"{ME}/parental-controls",
        {"content_rating_limit": None, "pin": "\uff11\uff12\uff13\uff14"},
        "pin",
    ),
    ("PUT", f"{ME}/parental-controls", {"content_rating_limit": None, "new_pin": "1234"}, "new_pin"),
    ("POST", f"{ME}/parental-controls/verify-pin", {"pin": 1234}, "pin"),
    ("POST", f"{ME}/password", {"current": PASSWORD}, "new"),
    ("DELETE", ME, {}, "password"),
]


@pytest.mark.parametrize(("method", "path", "body", "named"), BAD)
async def test_bad_input_is_refused_by_the_name_of_its_field(world, token, method, path, body, named):
    answer = await world.send(method, path, body, token)
    assert (answer.status, answer.fields) == (400, [named])


async def test_without_its_database_nothing_is_half_made(world, redis_url):
    # The tests' own log draws pictures of tracebacks, which takes seconds.
    configure_logging(Settings(), service="auth", stream=io.StringIO())
    away = f"postgresql://nobody@127.0.0.1:{unused_port()}/none"
    running = await serve(world, away, redis_url)
    try:
        for path in ("register", "login"):
            answer = await world.post(f"/api/v1/auth/{path}", email=BEN, password=PASSWORD)
            assert (answer.status, answer.body["code"]) == (503, "unavailable"), answer.body
        assert (await world.post("/api/v1/auth/password/forgot", email=ANN)).status == 503
    finally:
        await running.drain()
    assert len(await world.rows("SELECT 1 FROM users")) == 1


async def test_no_secret_gets_into_the_log(database_url, redis_url, tmp_path):
    log = io.StringIO()
    configure_logging(Settings(log_level="debug"), service="auth", stream=log)
    async with account_world(database_url, redis_url, tmp_path / "mails") as world:
        await world.register()
        confirm = await world.code("Confirm your e-mail address")
        async with world.http.get(f"{world.url}/auth/verify-email", params={"token": confirm}):
            pass
        await world.post("/api/v1/auth/verify-email", token=confirm)
        await world.login(ANN, "Wrong-Horse-1")
        token = await world.token()
        await world.send(
            "PUT", f"{ME}/parental-controls", {"content_rating_limit": None, "pin": "24681357"}, token
        )
        await world.send("POST", f"{ME}/parental-controls/verify-pin", {"pin": "97531864"}, token)
        await world.post("/api/v1/auth/password/forgot", email=ANN)
        reset = await world.code("Set a new password")
        await world.post("/api/v1/auth/password/reset", token=reset, password=NEW)
        await world.send("DELETE", ME, {"password": NEW}, token)
    text = log.getvalue()
    assert '"route": "/api/v1/auth/login"' in text or '"route":"/api/v1/auth/login"' in text
    for secret in (
        PASSWORD,
        NEW,
        "Wrong-Horse-1",
        "24681357",
        "97531864",
        confirm,
        reset,
        token,
        ANN,
        "argon2id",
    ):
        assert secret not in text
