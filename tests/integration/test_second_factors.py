"""Second factors through two listening servers on one Postgres and one Redis."""

import asyncio
import base64
import logging
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import pytest
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from media_gateway.auth.actors import Actor
from media_gateway.auth.sealing import read_key
from media_gateway.auth.second_factor_routes import FACTORS
from media_gateway.auth.settings import Settings
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.tokens import mint_token
from tests.support.credentials import (
    SECRET,
    Answer,
    App,
    Clock,
    Door,
    add_person,
    audited,
    open_door,
    run,
    serve,
)

POSTS = ("enroll", "verify", "disable", "backup-codes")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def door(database_url: str, redis_url: str, clock: Clock) -> AsyncIterator[Door]:
    async with open_door(database_url, redis_url, clock) as door:
        yield door


class Person:
    """Somebody with a token and, once enrolled, an app."""

    def __init__(self, door: Door, clock: Clock, user_id: UUID) -> None:
        self.door, self.clock, self.user_id = door, clock, user_id
        self.token = mint_token(SECRET, str(user_id))
        self.app: App

    async def post(self, what: str, code: Any = None) -> Answer:
        options = {} if code is None else {"json": {"code": code}}
        return await self.door.send("POST", f"/api/v1/mfa/{what}", self.token, **options)

    async def state(self) -> dict[str, Any]:
        answer = await self.door.send("GET", "/api/v1/mfa/state", self.token)
        assert answer.status == 200
        return dict(answer.body)

    async def enrol(self) -> App:
        answer = await self.post("enroll")
        assert answer.status == 201, answer.body
        self.app = App(answer.body["otpauth_uri"], self.clock)
        return self.app

    async def confirm(self) -> list[str]:
        app = await self.enrol()
        answer = await self.post("verify", app.code())
        assert answer.status == 200, answer.body
        return list(answer.body["backup_codes"])


@pytest.fixture
async def ann(door: Door, clock: Clock, database: Database) -> Person:
    return Person(door, clock, await add_person(database))


async def test_nothing_is_on_until_the_app_has_shown_a_right_code(ann: Person):
    assert await ann.state() == {
        "enabled": False,
        "pending": False,
        "confirmed_at": None,
        "backup_codes_left": 0,
    }
    app = await ann.enrol()
    assert (await ann.state())["enabled"] is False
    assert (await ann.state())["pending"] is True
    assert (await ann.post("verify", app.wrong())).status == 400
    assert (await ann.state())["enabled"] is False
    answer = await ann.post("verify", app.code())
    assert answer.status == 200
    assert "no-store" in answer.headers["Cache-Control"]
    state = await ann.state()
    assert (state["enabled"], state["pending"], state["backup_codes_left"]) == (True, False, 10)


async def test_the_address_for_the_app_names_installation_and_account(ann: Person):
    answer = await ann.post("enroll")
    parts = urlsplit(answer.body["otpauth_uri"])
    assert unquote(parts.path) == "/Media Gateway:ann@tv.example"
    query = parse_qs(parts.query)
    assert query["issuer"] == ["Media Gateway"]
    assert (query["algorithm"], query["digits"], query["period"]) == (["SHA1"], ["6"], ["30"])
    assert query["secret"] == [answer.body["secret"]]
    assert len(base64.b32decode(answer.body["secret"])) == 20


async def test_the_secret_is_not_in_the_database(ann: Person, database: Database):
    app = await ann.enrol()
    kept = bytes((await run(database, "SELECT sealed_secret FROM second_factors"))[0].sealed_secret)
    assert app.secret not in kept
    assert base64.b32encode(app.secret) not in kept


async def test_enrolling_again_replaces_an_app_that_was_not_confirmed(ann: Person):
    first = await ann.enrol()
    second = await ann.enrol()
    assert first.secret != second.secret
    assert (await ann.post("verify", first.code())).status == 400
    assert (await ann.post("verify", second.shown())).status == 200


async def test_a_confirmed_app_is_not_replaced(ann: Person):
    await ann.confirm()
    assert (await ann.post("enroll")).status == 409
    assert (await ann.post("verify", ann.app.code())).status == 409
    assert (await ann.state())["enabled"] is True


async def test_the_code_that_confirmed_is_not_accepted_again(ann: Person):
    await ann.confirm()
    assert (await ann.post("backup-codes", ann.app.shown())).status == 400
    assert (await ann.post("backup-codes", ann.app.code())).status == 200


async def test_of_many_with_the_same_code_at_once_one_is_let_in(ann: Person, redis: RedisHandle):
    await ann.confirm()
    code = ann.app.code()
    answers = await asyncio.gather(*(ann.post("backup-codes", code) for _ in range(8)))
    statuses = sorted(answer.status for answer in answers)
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 400, 429}
    good = next(answer for answer in answers if answer.status == 200)
    # The set that the answer tells is the one that holds.
    await redis.client.flushdb()
    assert (await ann.post("disable", good.body["backup_codes"][0])).status == 204


async def test_of_two_confirmations_at_once_one_tells_codes_that_hold(ann: Person):
    app = await ann.enrol()
    code = app.code()
    answers = await asyncio.gather(*(ann.post("verify", code) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    told = next(answer for answer in answers if answer.status == 200).body["backup_codes"]
    assert (await ann.post("disable", told[3])).status == 204


async def test_a_backup_code_is_accepted_once_also_at_once(ann: Person, database: Database):
    codes = await ann.confirm()
    assert len(set(codes)) == 10
    assert all(len(code) == 8 for code in codes)
    typed = f"{codes[0][:4]}-{codes[0][4:]}".lower()
    answers = await asyncio.gather(*(ann.post("backup-codes", typed) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400, 400]
    assert (await audited(database)).count("backup_code.used") == 1


async def test_new_backup_codes_replace_all_old_ones(ann: Person):
    old = await ann.confirm()
    answer = await ann.post("backup-codes", ann.app.code())
    new = answer.body["backup_codes"]
    assert not set(old) & set(new)
    assert (await ann.post("disable", old[0])).status == 400
    assert (await ann.post("disable", new[0])).status == 204


async def test_backup_codes_of_one_person_let_nobody_else_in(
    ann: Person, door: Door, clock: Clock, database: Database
):
    codes = await ann.confirm()
    ben = Person(door, clock, await add_person(database, "ben"))
    await ben.confirm()
    assert (await ben.post("disable", codes[0])).status == 400
    assert (await ben.post("disable", ann.app.code())).status == 400


async def test_after_disabling_nothing_is_left(ann: Person, database: Database):
    await ann.confirm()
    assert (await ann.post("disable", ann.app.code())).status == 204
    assert (await ann.state())["enabled"] is False
    assert (await ann.post("disable", ann.app.code())).status == 409
    for table in ("second_factors", "backup_codes"):
        assert await run(database, f"SELECT 1 FROM {table}") == []
    await ann.confirm()
    assert await audited(database) == [
        "second_factor.enabled",
        "second_factor.disabled",
        "second_factor.enabled",
    ]


async def test_after_five_wrong_codes_no_code_is_looked_at(ann: Person, redis: RedisHandle):
    await ann.confirm()
    answers = await asyncio.gather(*(ann.post("disable", ann.app.wrong()) for _ in range(12)))
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [400] * 5 + [429] * 7
    limited = await ann.post("disable", ann.app.code())
    assert limited.status == 429
    assert 0 < limited.body["retry_after_ms"] <= 60_000
    assert 0 < int(limited.headers["Retry-After"]) <= 60
    assert await redis.client.pttl(f"auth:mfa:attempts:{ann.user_id}") > 0
    await redis.client.delete(f"auth:mfa:attempts:{ann.user_id}")  # what its expiry does
    assert (await ann.post("disable", ann.app.code())).status == 204


async def test_right_codes_are_not_counted(ann: Person):
    codes = await ann.confirm()
    for _ in range(4):
        assert (await ann.post("backup-codes", ann.app.wrong())).status == 400
    for _ in range(3):
        answer = await ann.post("backup-codes", ann.app.code())
        assert answer.status == 200
    assert (await ann.post("backup-codes", codes[0])).status == 400
    assert (await ann.post("backup-codes", ann.app.code())).status == 429


async def test_one_persons_wrong_codes_do_not_hold_up_another(
    ann: Person, door: Door, clock: Clock, database: Database
):
    await ann.confirm()
    ben = Person(door, clock, await add_person(database, "ben"))
    await ben.confirm()
    await asyncio.gather(*(ann.post("disable", ann.app.wrong()) for _ in range(6)))
    assert (await ben.post("disable", ben.app.code())).status == 204


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"code": ""},
        {"code": None},
        {"code": 123456},
        {"code": ["123456"]},
        {"code": "1" * 33},
        {"code": "a\x00b"},
        {"code": "123456", "more": 1},
        [],
        "123456",
    ],
)
@pytest.mark.parametrize("what", ["verify", "disable", "backup-codes"])
async def test_bad_input_is_named(ann: Person, what: str, body: Any):
    answer = await ann.door.send("POST", f"/api/v1/mfa/{what}", ann.token, json=body)
    assert answer.status == 400
    assert answer.body["errors"]


@pytest.mark.parametrize(
    "code",
    [
        "é" * 6,
        "12345",
        "\uff11\uff12\uff13\uff14\uff15\uff16",
        "ABCDEFGH",
        "' OR 1=1",
        "      ",
        "\u202e123456",
    ],
)
async def test_what_is_no_code_is_wrong(ann: Person, code: str):
    await ann.confirm()
    assert (await ann.post("disable", code)).status == 400


@pytest.mark.parametrize("what", POSTS)
async def test_only_people_may_ask(ann: Person, what: str):
    address = f"/api/v1/mfa/{what}"
    body = {"code": "123456"}
    assert (await ann.door.send("POST", address, json=body)).status == 401
    key = mint_token(SECRET, str(ann.user_id), more={"via": "api_key"})
    assert (await ann.door.send("POST", address, key, json=body)).status == 403
    program = mint_token(SECRET, "media-gateway-cli")
    assert (await ann.door.send("POST", address, program, json=body)).status == 403


async def test_who_is_locked_gets_no_app(ann: Person, database: Database):
    await run(database, "UPDATE users SET locked_at = now()")
    assert (await ann.post("enroll")).status == 403


async def test_without_any_secret_second_factors_say_what_is_missing(
    database_url: str, redis_url: str, database: Database
):
    server = await serve(database_url, redis_url, auth_secret=None)
    try:
        # Nobody has a token that such a server believes: what stands behind the routes is asked.
        user_id = await add_person(database)
        with pytest.raises(MediaGatewayError, match="MEDIA_GATEWAY_SEALING_KEY"):
            await server.app[FACTORS].enrol(Actor(user_id=user_id, scopes=frozenset()))
        assert not await server.app[FACTORS].is_needed(user_id)
    finally:
        await server.drain()


async def test_another_key_says_that_it_is_another(
    ann: Person, database_url: str, redis_url: str, clock: Clock
):
    await ann.confirm()
    key = SecretStr(secrets.token_hex(32))
    async with open_door(database_url, redis_url, clock, sealing_key=key) as door:
        body = {"code": ann.app.code()}
        for _ in range(7):  # not counted as wrong codes
            answer = await door.send("POST", "/api/v1/mfa/disable", ann.token, json=body)
            assert answer.status == 503
            assert "MEDIA_GATEWAY_SEALING_KEY" in answer.body["detail"]
    assert (await ann.post("disable", ann.app.code())).status == 204


async def test_without_redis_no_code_is_looked_at(ann: Person, database_url: str, free_port: int):
    await ann.confirm()
    async with open_door(database_url, f"redis://127.0.0.1:{free_port}/0", ann.clock) as door:
        body = {"code": ann.app.code()}
        answer = await door.send("POST", "/api/v1/mfa/disable", ann.token, json=body)
        assert answer.status == 503
        assert "Retry-After" in answer.headers
    assert (await ann.state())["enabled"] is True


@pytest.mark.parametrize("text", ["x" * 32, "00" * 31, "00" * 33, "", "zz" * 32])
def test_a_sealing_key_of_another_size_is_refused(text: str):
    with pytest.raises(ValidationError, match="32 bytes in hex or base64"):
        Settings(sealing_key=SecretStr(text))


def test_a_sealing_key_may_be_hex_or_base64():
    key = secrets.token_bytes(32)
    for text in (
        key.hex(),
        base64.b64encode(key).decode(),
        base64.urlsafe_b64encode(key).decode().rstrip("="),
    ):
        assert read_key(text) == key


async def test_no_code_and_no_secret_is_in_the_logs(ann: Person, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with capture_logs() as lines:
        codes = await ann.confirm()
        used = ann.app.code()
        assert (await ann.post("backup-codes", used)).status == 200
        assert (await ann.post("backup-codes", codes[0])).status == 400
        wrong = ann.app.wrong()
        assert (await ann.post("disable", wrong)).status == 400
        assert (await ann.post("verify", {"nested": codes[1]})).status == 400
    assert lines
    text = f"{lines} {caplog.text}"
    secret = base64.b32encode(ann.app.secret).decode()
    for hidden in (secret, used, wrong, ann.token, *codes):
        assert hidden not in text
