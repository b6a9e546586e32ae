"""The limits that auth brings along, on running servers; and what its logs never hold."""

import json
import logging
from typing import Any

import pytest
from structlog.testing import capture_logs

from media_gateway.auth.clients import CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN
from media_gateway.auth.settings import Settings
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.tokens import mint_token
from tests.support.redis_clock import moment, until
from tests.support.signing_in import (
    CLIENT_SECRET,
    PASSWORD,
    SECRET,
    UNLIMITED,
    VERIFIER,
    Answer,
    Stand,
    auth_stand,
    basic,
    request_of,
)
from tests.support.waiting import eventually

DEFAULTS = {name: Settings.model_fields[name].default for name in UNLIMITED}
PROXIED = {"trusted_proxies": "127.0.0.0/8"}


@pytest.fixture
async def stand(tmp_path, database_url, redis_url, database: Database):
    deployed = {**DEFAULTS, **PROXIED}
    async with auth_stand(tmp_path, database_url, redis_url, database, replicas=2, **deployed) as stand:
        yield stand


def at(source: str) -> dict[str, str]:
    return {"X-Forwarded-For": source}


async def for_firm(stand: Stand, secret: str = CLIENT_SECRET, **headers: str) -> Answer:
    form = {"grant_type": CLIENT_CREDENTIALS}
    return await stand.send("POST", "/auth/token", data=form, headers={**basic("firm", secret), **headers})


async def statuses(stand: Stand, times: int, method: str, path: str, **options: Any) -> list[int]:
    return [(await stand.send(method, path, **options)).status for _ in range(times)]


async def test_the_eleventh_token_of_a_client_in_a_minute_has_to_wait(stand):
    assert [(await for_firm(stand)).status for _ in range(10)] == [200] * 10
    refused = await for_firm(stand)
    assert (refused.status, refused.error) == (429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    # Another source does not help, and other clients are not touched.
    assert (await for_firm(stand, **at("203.0.113.9"))).status == 429
    form = {"grant_type": REFRESH_TOKEN, "refresh_token": "made-up", "client_id": "web"}
    assert (await stand.token(**form)).status == 400


async def test_who_waits_as_long_as_told_gets_a_token(
    tmp_path, database_url, redis_url, database: Database, redis: RedisHandle
):
    limit = {
        "name": "token",
        "component": "auth",
        "endpoints": ["token"],
        "algorithm": "SlidingWindow",
        "rates": [{"limit": 10, "windowMs": 3_000}],
        "key": [{"source": "Client"}],
    }
    path = tmp_path / "limits.json"
    path.write_text(json.dumps({"version": 1, "limits": [limit]}))
    async with auth_stand(
        tmp_path, database_url, redis_url, database, replicas=2, ratelimit_path=path
    ) as stand:
        for server in stand.servers:
            await limits_read(server, stand)
        refused = await for_firm(stand)
        while refused.status == 200:
            refused = await for_firm(stand)
        assert refused.status == 429
        await until(redis, await moment(redis) + int(refused.headers["Retry-After"]) * 1_000_000)
        assert (await for_firm(stand)).status == 200


async def limits_read(server, stand: Stand) -> None:
    """Wait until a server holds to the limits of the document."""

    async def told() -> bool:
        form = {"grant_type": CLIENT_CREDENTIALS}
        headers = basic("firm", CLIENT_SECRET)
        async with stand.http.post(f"{server.url}/auth/token", data=form, headers=headers) as answer:
            return '"token";q=10;w=3' in answer.headers.get("RateLimit-Policy", "")

    await eventually(told, interval_s=0.2)


async def test_naming_a_client_locks_it_out_for_nobody(stand):
    wrong = [(await for_firm(stand, "wrong", **at("203.0.113.1"))).status for _ in range(15)]
    assert set(wrong) == {401, 429}
    assert [(await for_firm(stand)).status for _ in range(10)] == [200] * 10


async def test_a_public_client_is_counted_for_each_source(stand):
    form = {"grant_type": REFRESH_TOKEN, "refresh_token": "made-up", "client_id": "web"}
    for source in ("203.0.113.1", "203.0.113.2"):
        told = await statuses(stand, 11, "POST", "/auth/token", data=form, headers=at(source))
        assert told == [400] * 10 + [429]


async def test_polls_have_a_limit_of_their_own_that_slows_down(tmp_path, database_url, redis_url, database):
    deployed = {**DEFAULTS, "rate_limit_poll": 20}
    async with auth_stand(tmp_path, database_url, redis_url, database, **deployed) as stand:
        codes = (await stand.send("POST", "/auth/device", data={"client_id": "tv"})).body
        form = {"grant_type": DEVICE_CODE, "device_code": codes["device_code"], "client_id": "tv"}
        answers = [await stand.token(**form) for _ in range(21)]
        # Past the ten of other token requests it is still the interval alone that counts.
        assert {answer.status for answer in answers[:20]} == {400}
        assert {answer.error for answer in answers[:20]} == {"authorization_pending", "slow_down"}
        last = answers[20]
        assert (last.status, last.error) == (429, "slow_down")
        assert 1 <= int(last.headers["Retry-After"]) <= 60


async def test_device_codes_are_limited_for_each_source_of_a_public_client(stand):
    for source in ("203.0.113.1", "203.0.113.2"):
        told = await statuses(stand, 6, "POST", "/auth/device", data={"client_id": "tv"}, headers=at(source))
        assert told == [200] * 5 + [429]


async def test_sign_ins_are_limited_by_source_at_the_api_and_at_the_page(stand):
    body = {"email": "anna@tv.example", "password": PASSWORD}
    sent = {"json": body, "headers": at("203.0.113.1")}
    assert await statuses(stand, 11, "POST", "/api/v1/auth/login", **sent) == [200] * 10 + [429]
    page = {"data": {"email": "anna@tv.example", "password": PASSWORD}, "headers": at("203.0.113.1")}
    assert (await stand.send("POST", "/auth/sign-in", **page)).status == 429
    other = {"json": body, "headers": at("203.0.113.2")}
    assert (await stand.send("POST", "/api/v1/auth/login", **other)).status == 200


async def test_registrations_are_limited_by_source(stand):
    told = [
        (
            await stand.send(
                "POST",
                "/api/v1/auth/register",
                json={"email": f"p{n}@tv.example", "password": PASSWORD},
                headers=at("203.0.113.1"),
            )
        ).status
        for n in range(6)
    ]
    assert told == [202] * 5 + [429]


async def test_the_logs_of_a_whole_round_hold_no_secret(tmp_path, database_url, redis_url, database, caplog):
    caplog.set_level(logging.DEBUG)
    secrets = {PASSWORD, CLIENT_SECRET, VERIFIER, SECRET}
    with capture_logs() as logs:
        async with auth_stand(tmp_path, database_url, redis_url, database, log_level="debug") as stand:
            async with stand.browser() as browser:
                await browser.sign_in("anna@tv.example")
                back = await browser.agree(request_of(scope="openid read:content"))
                secrets |= {cookie.value for cookie in browser.http.cookie_jar}
            code = back.returned["code"]
            wrong = await stand.redeem(code, code_verifier="w" * 43)
            assert wrong.status == 400
            tokens = (await stand.redeem(code)).body
            fresh = (await stand.refresh(tokens["refresh_token"])).body
            again = await stand.refresh(tokens["refresh_token"])
            assert again.status == 400
            bearer = {"Authorization": f"Bearer {fresh['access_token']}"}
            await stand.send("GET", "/auth/userinfo", headers=bearer)
            firm = (await stand.token_of_firm(grant_type=CLIENT_CREDENTIALS)).body
            await stand.token_of_firm("a wrong secret", grant_type=CLIENT_CREDENTIALS)
            await stand.is_active(firm["access_token"])
            codes = (await stand.send("POST", "/auth/device", data={"client_id": "tv"})).body
            person = {"Authorization": f"Bearer {mint_token(SECRET, str(stand.people['anna']))}"}
            decision = {"user_code": codes["user_code"]}
            await stand.send("POST", "/auth/device/approve", json=decision, headers=person)
            poll = {"grant_type": DEVICE_CODE, "device_code": codes["device_code"], "client_id": "tv"}
            device = (await stand.token(**poll)).body
            form = {"token": device["refresh_token"], "client_id": "tv"}
            await stand.send("POST", "/auth/revoke", data=form)
            for answer in (tokens, fresh, firm, device):
                secrets |= {answer[name] for name in answer if name.endswith("_token")}
            secrets |= {
                code,
                codes["device_code"],
                codes["user_code"],
                "a wrong secret",
                "w" * 43,
                person["Authorization"],
            }
            secrets |= {key["d"] for key in json.loads((tmp_path / "keys.json").read_text())["keys"]}
    text = "\n".join([*map(repr, logs), caplog.text])
    assert "/auth/token" in text  # what was asked for is there
    assert [secret for secret in secrets if secret and secret in text] == []
