"""Registering, signing in and mailed links, through HTTP on real servers."""

import asyncio

import argon2
import pytest

from tests.support.account_world import ANN, PASSWORD, AccountWorld, account_world
from tests.support.waiting import eventually

CONFIRM, RESET, AGAIN = "Confirm your e-mail address", "Set a new password", "You have an account already"
NEW = "Another-Horse-2"


@pytest.fixture
async def world(database_url, redis_url, tmp_path):
    async with account_world(database_url, redis_url, tmp_path / "mails") as world:
        yield world


async def test_a_new_address_and_a_known_one_get_the_same_answer_after_the_same_work(world):
    first = await world.register()
    once = dict(world.passwords.work)
    second = await world.register(ANN.upper(), NEW)
    assert (first.status, first.raw) == (second.status, second.raw) == (202, first.raw)
    assert world.passwords.work == {name: 2 * count for name, count in once.items()} == {"hashed": 2}
    assert "token=" in await world.mailed(CONFIRM)
    assert "reset-password?token=" in await world.mailed(AGAIN)
    assert (await world.login(ANN, NEW)).status == 401, "whoever registers again changes nothing"


async def test_an_address_registered_many_times_at_once_gets_one_account(world):
    answers = await asyncio.gather(*(world.register(f"{'aA'[i % 2]}nn@tv.example") for i in range(12)))
    assert {answer.raw for answer in answers} == {answers[0].raw}
    assert len(await world.rows("SELECT id FROM users")) == 1


async def test_all_faults_of_a_password_are_named(world):
    answer = await world.register(password="short")
    assert (answer.status, set(answer.fields), len(answer.fields)) == (400, {"password"}, 3)
    assert not await world.rows("SELECT 1 FROM users")


async def test_a_wrong_address_and_a_wrong_password_read_the_same_after_the_same_work(world):
    await world.register()
    seen = set()
    for address in (ANN, "nobody@tv.example", "no address"):
        before = dict(world.passwords.work)
        answer = await world.login(address, "Wrong-Horse-1")
        body = {name: value for name, value in answer.body.items() if name != "request_id"}
        work = {name: count - before.get(name, 0) for name, count in world.passwords.work.items()}
        seen.add((answer.status, str(sorted(body.items())), str(sorted(work.items()))))
    assert len(seen) == 1
    assert next(iter(seen))[0] == 401


async def test_a_locked_account_says_so_to_its_owner_only(world):
    await world.register()
    await world.rows("UPDATE users SET locked_at = now()")
    wrong, nobody = await world.login(ANN, "Wrong-Horse-1"), await world.login("nobody@tv.example")
    assert (wrong.status, wrong.body["detail"]) == (401, nobody.body["detail"])
    assert (await world.login()).status == 403
    assert not world.issuer.issued


async def test_a_second_factor_is_asked_for_after_the_right_password_only(world):
    await world.register()
    world.second_factors.code = "123456"
    assert "second_factor_needed" not in (await world.login(ANN, "Wrong-Horse-1")).body
    for more in ({}, {"second_factor": "654321"}):
        answer = await world.login(**more)
        assert (answer.status, answer.body["second_factor_needed"]) == (401, True)
    assert (await world.login(second_factor="123456")).status == 200


async def test_failures_slow_down_and_are_written_down_without_the_password(world):
    await world.register()
    answers = [await world.login(ANN, "Wrong-Horse-1") for _ in range(8)]
    late = [answer for answer in answers if answer.status == 429]
    assert late
    assert late[0].body["retry_after_ms"] > 0
    entries = await world.rows(
        "SELECT action, details::text, source FROM audit_logs WHERE action LIKE 'sign_in%'"
    )
    assert {entry.action for entry in entries} == {"sign_in.failed"}
    assert "Horse" not in str(entries)


async def test_tokens_made_while_everything_was_signed_out_are_taken_back(world):
    await world.register()
    issue = world.issuer.issue

    async def issue_late(grant):
        pair = await issue(grant)
        await world.rows("UPDATE users SET signed_out_at = now()")
        return pair

    world.issuer.issue = issue_late
    assert (await world.login()).status == 401
    assert world.issuer.revoked == [world.issuer.issued[0].grant_id]


async def test_an_address_is_confirmed_once_by_its_link(world):
    await world.register()
    code = await world.code(CONFIRM)
    answers = await asyncio.gather(*(world.post("/api/v1/auth/verify-email", token=code) for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400, 400, 400]
    assert (await world.rows("SELECT email_verified_at FROM users"))[0][0] is not None
    kept = await world.rows("SELECT * FROM mailed_codes")
    assert code not in str(kept)


async def test_only_confirmed_addresses_sign_in_where_that_is_demanded(database_url, redis_url, tmp_path):
    settings = {"require_verified_email": True}
    async with account_world(database_url, redis_url, tmp_path / "mails", **settings) as world:
        await world.register()
        assert (await world.login()).body["email_verified"] is False
        await world.post("/api/v1/auth/verify-email", token=await world.code(CONFIRM))
        assert (await world.login()).status == 200


@pytest.mark.parametrize("path", ["/api/v1/auth/password/forgot", "/api/v1/auth/resend-verification"])
async def test_whoever_asks_for_a_mail_learns_nothing_of_the_address(world, path):
    await world.register()
    await world.all_sent()
    seen = set()
    for address in (ANN, "nobody@tv.example"):
        answer = await world.post(path, email=address)
        seen.add((answer.status, answer.raw))
    assert len(seen) == 1
    assert next(iter(seen))[0] == 202
    await world.all_sent()
    assert not world.mails("nobody@tv.example")


async def test_three_mails_an_hour_are_sent_to_one_address(world):
    await world.register()
    answers = [await world.post("/api/v1/auth/password/forgot", email=ANN) for _ in range(6)]
    assert {(answer.status, answer.raw) for answer in answers} == {(202, answers[0].raw)}
    await world.all_sent()
    assert [subject for subject, _ in world.mails()].count(RESET) == 3


async def test_a_link_sets_one_password_and_ends_everything_else(world):
    await world.register()
    await world.post("/api/v1/auth/password/forgot", email=ANN)
    code = await world.code(RESET)
    weak = await world.post("/api/v1/auth/password/reset", token=code, password=ANN)
    assert set(weak.fields) == {"password"}, "and the link stays good"
    passwords = [f"Another-Horse-{i}" for i in range(6)]
    answers = await asyncio.gather(
        *(world.post("/api/v1/auth/password/reset", token=code, password=one) for one in passwords)
    )
    won = [one for one, answer in zip(passwords, answers, strict=True) if answer.status == 200]
    assert len(won) == 1
    assert (await world.login(ANN, won[0])).status == 200
    assert (await world.login()).status == 401
    assert len(world.issuer.signed_out) == 1
    assert not await world.rows("SELECT 1 FROM mailed_codes"), "the other links are withdrawn"
    assert await world.mailed("Your password was changed")


async def test_a_sign_out_that_could_not_be_finished_is_kept(world):
    await world.register()
    await world.post("/api/v1/auth/password/forgot", email=ANN)
    code = await world.code(RESET)
    world.issuer.away = True
    assert (await world.post("/api/v1/auth/password/reset", token=code, password=NEW)).status == 200
    assert await world.rows("SELECT 1 FROM users WHERE sign_out_due")
    world.issuer.away = False
    await world.rows("UPDATE users SET signed_out_at = now() - interval '1 minute'")

    async def is_done() -> bool:
        return not await world.rows("SELECT 1 FROM users WHERE sign_out_due")

    await eventually(is_done, timeout_s=20)
    assert world.issuer.signed_out


async def test_an_expired_link_is_not_good(world):
    await world.register()
    code = await world.code(CONFIRM)
    await world.rows("UPDATE mailed_codes SET expires_at = now() - interval '1 second'")
    assert (await world.post("/api/v1/auth/verify-email", token=code)).fields == ["token"]


async def test_opening_a_link_changes_nothing_and_its_button_does(world: AccountWorld):
    await world.register()
    code = await world.code(CONFIRM)
    async with world.http.get(f"{world.url}/auth/verify-email", params={"token": code}) as answer:
        text = await answer.text()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert (await world.rows("SELECT email_verified_at FROM users"))[0][0] is None
    secret = text.split('name="form_secret" value="')[1].split('"')[0]
    for form_secret, status in (("forged", 403), (secret, 200)):
        form = {"token": code, "form_secret": form_secret}
        async with world.http.post(f"{world.url}/auth/verify-email", data=form) as answer:
            assert answer.status == status
    assert (await world.rows("SELECT email_verified_at FROM users"))[0][0] is not None


async def test_a_password_can_be_set_on_the_page_of_the_link(world: AccountWorld):
    await world.register()
    await world.post("/api/v1/auth/password/forgot", email=ANN)
    code = await world.code(RESET)
    async with world.http.get(f"{world.url}/auth/reset-password", params={"token": code}) as answer:
        secret = (await answer.text()).split('name="form_secret" value="')[1].split('"')[0]
    for password, status in (("weak", 400), (NEW, 200)):
        form = {"token": code, "form_secret": secret, "password": password}
        async with world.http.post(f"{world.url}/auth/reset-password", data=form) as answer:
            assert answer.status == status
    assert (await world.login(ANN, NEW)).status == 200


async def page_secret(world: AccountWorld, path: str) -> str:
    async with world.http.get(world.url + path) as answer:
        return (await answer.text()).split('name="form_secret" value="')[1].split('"')[0]


async def test_a_browser_that_signed_in_with_the_password_is_out_once_it_is_set_anew(world: AccountWorld):
    await world.register()
    world.second_factors.code = "123456"
    secret = await page_secret(world, "/auth/sign-in")
    form = {"email": ANN, "password": PASSWORD, "form_secret": secret}
    async with world.http.post(f"{world.url}/auth/sign-in", data=form) as answer:
        step = (await answer.text()).split('name="step" value="')[1].split('"')[0]
    form = {"step": step, "code": "123456", "form_secret": secret}
    async with world.http.post(f"{world.url}/auth/sign-in/code", data=form) as answer:
        assert "Signed in as" in await answer.text()
    await world.post("/api/v1/auth/password/forgot", email=ANN)
    await world.post("/api/v1/auth/password/reset", token=await world.code(RESET), password=NEW)
    async with world.http.get(f"{world.url}/device", allow_redirects=False) as answer:
        assert answer.status == 303


async def test_a_hash_of_older_parameters_is_replaced_by_signing_in(world):
    await world.register()
    weaker = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    await world.rows("UPDATE users SET password_hash = :weaker", weaker=weaker)
    assert (await world.login()).status == 200
    assert "m=19456" in (await world.rows("SELECT password_hash FROM users"))[0][0]
    assert (await world.login()).status == 200


async def test_second_factors_are_not_guessed_from_many_places(world):
    await world.register()
    world.second_factors.code = "123456"
    statuses = []
    for _ in range(12):
        for key in await world.redis.client.keys("auth:attempts:*"):
            await world.redis.client.delete(key)
        statuses.append((await world.login(second_factor="654321")).status)
    assert statuses == [401] * 10 + [429] * 2


BAD = [
    ("register", {"email": "no address", "password": PASSWORD}, "email"),
    ("register", {"email": f"{'a' * 250}@tv.example", "password": PASSWORD}, "email"),
    ("register", {"email": "ann@tv.example\r\nBcc: x@tv.example", "password": PASSWORD}, "email"),
    ("register", {"email": 7, "password": PASSWORD}, "email"),
    ("register", {"email": ANN, "password": "x" * 5_000}, "password"),
    ("register", {"email": ANN, "password": PASSWORD, "display_name": "a\x00b"}, "display_name"),
    ("register", {"email": ANN, "password": PASSWORD, "display_name": "\ud800"}, "display_name"),
    ("register", {"email": ANN, "password": PASSWORD, "roles": ["admin"]}, "roles"),
    ("login", {"email": ANN, "password": ["x"]}, "password"),
    ("login", {"email": ANN, "password": "\ud800"}, "password"),
    ("login", {"password": PASSWORD}, "email"),
    ("verify-email", {"token": ""}, "token"),
    ("verify-email", {"token": "x" * 999}, "token"),
    ("password/forgot", {"email": None}, "email"),
    ("password/reset", {"token": "é", "password": PASSWORD}, "token"),
    ("resend-verification", {"email": "a@b"}, "email"),
]


@pytest.mark.parametrize(("path", "body", "named"), BAD)
async def test_bad_input_is_refused_by_the_name_of_its_field(world, path, body, named):
    answer = await world.send("POST", f"/api/v1/auth/{path}", body)
    assert (answer.status, answer.fields) == (400, [named])
