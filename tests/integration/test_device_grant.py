"""The device grant through two listening servers on one Redis."""

import asyncio
import time
from dataclasses import replace
from hashlib import sha256
from typing import Any

import aiohttp
import pytest

from media_gateway.auth.store.device import Asking, DeviceRules, DeviceStore, Limited, Polled
from media_gateway.auth.store.device_hints import CHANNEL
from media_gateway.auth.user_codes import make_user_code
from media_gateway.core.errors import UnavailableError
from media_gateway.core.tokens import mint_token
from tests.support.devices import SECRET, Door, Program, World, person, serve
from tests.support.servers import unused_port

UNKNOWN = "BCDF-GHJK"


@pytest.fixture
def anna():
    return person("anna")


@pytest.fixture
def ben():
    return person("ben")


@pytest.fixture
def world(anna, ben):
    world = World(
        programs={
            "tv": Program(client_id="tv", name="Living-room TV"),
            "box": Program(client_id="box", name="Box"),
            "web": Program(client_id="web", name="Web", grant_types=frozenset({"authorization_code"})),
            "firm": Program(client_id="firm", name="Firm", secret="s3cret"),
        }
    )
    world.add(anna, ben)
    return world


@pytest.fixture
async def open_door(world, redis_url):
    """Starts two servers with given settings."""
    running = []
    async with aiohttp.ClientSession() as http:

        async def start(**settings):
            servers = [await serve(world, redis_url, **settings) for _ in range(2)]
            running.extend(servers)
            return Door(http, *(server.url for server in servers))

        yield start
    await asyncio.gather(*(server.drain() for server in running))


@pytest.fixture
async def door(open_door):
    return await open_door(drain_delay_s=0)


async def begun(door: Door, **more: str) -> dict[str, Any]:
    answer = await door.begin(**more)
    assert answer.status == 200, answer.body
    return answer.body


async def test_a_device_gets_codes_that_no_cache_keeps(door):
    answer = await door.begin(scope="read:content")
    assert answer.status == 200
    assert "no-store" in answer.headers["Cache-Control"]
    body = answer.body
    assert len(body["device_code"]) >= 43
    assert body["verification_uri"].endswith("/device")
    assert body["verification_uri_complete"] == f"{body['verification_uri']}?user_code={body['user_code']}"
    assert (body["expires_in"], body["interval"]) == (900, 5)


async def test_an_approved_device_gets_its_tokens_at_the_next_poll(door, world, anna):
    codes = await begun(door, scope="read:content")
    assert (await door.poll(codes["device_code"])).error == "authorization_pending"
    seen = (await door.look(anna, codes["user_code"].lower().replace("-", ""))).body
    assert (seen["client_name"], seen["scopes"], seen["source"]) == (
        "Living-room TV", ["read:content"], "127.0.0.1",
    )  # fmt: skip
    assert (await door.decide(anna, codes["user_code"])).status == 200
    # At once, though the interval is not over: it holds while nobody has decided.
    tokens = await door.poll(codes["device_code"])
    assert tokens.status == 200
    assert tokens.body["token_type"] == "Bearer"
    assert tokens.body["scope"] == "read:content"
    assert "no-store" in tokens.headers["Cache-Control"]
    assert [grant.subject for grant in world.issued] == [anna]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_old_address_of_polls_does_the_same(door, anna, method):
    codes = await begun(door)
    await door.decide(anna, codes["user_code"])
    fields = {"device_code": codes["device_code"], "client_id": "tv"}
    sent = {"params" if method == "GET" else "data": fields}
    assert (await door.send(method, "/auth/device/poll", **sent)).body["access_token"]
    assert (await door.send(method, "/auth/device/poll", **sent)).error == "invalid_grant"


async def test_an_old_client_may_poll_without_its_name(door):
    codes = await begun(door)
    asked = {"params": {"device_code": codes["device_code"]}}
    assert (await door.send("GET", "/auth/device/poll", **asked)).error == "authorization_pending"
    confidential = await begun(door, client_id="firm", client_secret="s3cret")
    asked = {"params": {"device_code": confidential["device_code"]}}
    assert (await door.send("GET", "/auth/device/poll", **asked)).error == "invalid_client"


async def test_a_refused_device_is_told_so_at_once(door, world, anna):
    codes = await begun(door)
    await door.poll(codes["device_code"])
    assert (await door.decide(anna, codes["user_code"], action="deny")).status == 200
    refused = await door.poll(codes["device_code"])
    assert (refused.status, refused.error) == (400, "access_denied")
    assert world.issued == []


async def test_an_expired_code_is_told_apart_from_an_unknown_one_by_its_device_only(open_door, anna):
    door = await open_door(device_code_s=1)
    codes = await begun(door)
    async with asyncio.timeout(20):
        while (polled := await door.poll(codes["device_code"])).error != "expired_token":
            assert polled.error in {"authorization_pending", "slow_down"}
    assert (await door.poll("x" * 43)).error == "invalid_grant"
    expired, unknown = await door.decide(anna, codes["user_code"]), await door.decide(anna, UNKNOWN)
    assert expired.status == unknown.status == 404
    assert expired.body == unknown.body


async def test_unknown_and_somebody_elses_codes_answer_alike(door, anna, ben):
    codes = await begun(door)
    await door.decide(anna, codes["user_code"])
    foreign, unknown, none = [await door.decide(ben, c) for c in (codes["user_code"], UNKNOWN, "no code")]
    assert foreign.status == unknown.status == none.status == 404
    assert foreign.body == unknown.body == none.body
    assert (await door.decide(anna, codes["user_code"])).status == 409
    assert (await door.look(anna, codes["user_code"])).status == 409


async def test_polling_too_fast_raises_the_interval_for_good(redis):
    store = DeviceStore(redis, key=b"k", rules=DeviceRules(interval_s=5))
    codes = await store.create(client_id="tv", scopes=frozenset(), source="here")
    polls = [await store.poll(codes.device_code, client_id="tv") for _ in range(3)]
    assert [p.state for p in polls] == ["pending", "slow_down", "slow_down"]
    assert [p.interval_s for p in polls] == [5, 10, 15]
    record = f"{{auth:device}}:code:{sha256(codes.device_code.encode()).hexdigest()}"

    async def poll_after(seconds: float) -> Polled:
        await redis.client.hset(record, "polled", int(time.time() * 1000 - seconds * 1000))
        return await store.poll(codes.device_code, client_id="tv")

    # The raised interval is kept: 12 s would have done before. A tenth too early is tolerated.
    assert (await poll_after(14)).state == "pending"
    assert (await poll_after(12)).interval_s == 20
    assert (await poll_after(20)).state == "pending"


async def test_two_servers_keep_one_interval(door):
    codes = await begun(door)
    answers = [await door.poll(codes["device_code"]) for _ in range(3)]
    assert [answer.error for answer in answers] == ["authorization_pending", "slow_down", "slow_down"]
    assert {answer.status for answer in answers} == {400}


async def test_many_polls_at_once_give_one_token_pair(door, world, anna):
    codes = await begun(door)
    await door.decide(anna, codes["user_code"])
    answers = await asyncio.gather(*(door.poll(codes["device_code"]) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 19
    assert {answer.error for answer in answers if answer.status == 400} == {"invalid_grant"}
    assert len(world.issued) == 1


async def test_a_second_use_of_a_code_ends_the_tokens_of_the_first(door, world, anna):
    codes = await begun(door)
    await door.decide(anna, codes["user_code"])
    assert (await door.poll(codes["device_code"])).status == 200
    assert world.revoked == []
    assert (await door.poll(codes["device_code"])).error == "invalid_grant"
    assert world.revoked == [world.issued[0].grant_id]


async def test_deciding_at_the_same_time_has_one_winner(door, world, anna, ben):
    for _ in range(5):
        codes = await begun(door)
        asked = [(anna, "approve"), (ben, "deny")]
        answers = await asyncio.gather(
            *(door.decide(who, codes["user_code"], action=action) for who, action in asked)
        )
        assert sorted(answer.status for answer in answers) == [200, 404]
        polled = await door.poll(codes["device_code"])
        assert polled.status == (200 if answers[0].status == 200 else 400)
    assert {grant.subject for grant in world.issued} <= {anna}


async def test_no_other_client_can_use_a_code(door, world, anna):
    codes = await begun(door)
    await door.decide(anna, codes["user_code"])
    assert (await door.poll(codes["device_code"], client_id="box")).error == "invalid_grant"
    assert (await door.poll(codes["device_code"])).status == 200


async def test_clients_are_held_to_what_they_are_registered_for(door):
    assert (await door.begin("web")).error == "unauthorized_client"
    assert (await door.begin("nobody")).error == "invalid_client"
    assert (await door.begin("tv", scope="admin:full")).error == "invalid_scope"
    assert (await door.begin("firm")).error == "invalid_client"
    assert (await door.begin("firm", client_secret="s3cret")).status == 200


async def test_somebody_who_guesses_is_stopped_and_others_are_not(door, world, anna, ben, redis):
    answers = [await door.decide(anna, make_user_code(8)) for _ in range(6)]
    assert [answer.status for answer in answers] == [404] * 5 + [429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 600
    assert answers[-1].error == "rate_limit_exceeded"
    codes = await begun(door)
    # Also the right code, and from another account at the same address.
    assert (await door.decide(anna, codes["user_code"])).status == 429
    assert (await door.look(ben, codes["user_code"])).status == 429
    for key in [key async for key in redis.client.scan_iter("*wrong:source*")]:
        await redis.client.delete(key)
    assert (await door.decide(anna, codes["user_code"])).status == 429
    assert (await door.decide(ben, codes["user_code"])).status == 200


async def test_many_who_guess_a_little_are_stopped_together(open_door, world):
    door = await open_door(device_guesses=1_000, device_guesses_of_all=4)
    crowd = [person(f"guest{number}") for number in range(5)]
    world.add(*crowd)
    answers = [await door.look(guest, make_user_code(8)) for guest in crowd]
    assert [answer.status for answer in answers] == [404] * 4 + [429]


async def test_waiting_as_told_after_too_many_guesses_is_enough(redis, anna):
    rules = DeviceRules(guess_window_s=0.5, guesses_per_user=1)
    store = DeviceStore(redis, key=b"k", rules=rules)
    guess = Asking(user_code="BCDFGHJK", user_id=anna.user_id, source="here", action="look")
    assert await store.ask(guess) is None
    limited = await store.ask(guess)
    assert isinstance(limited, Limited)
    await asyncio.sleep(limited.wait_ms / 1000)
    assert await store.ask(guess) is None


async def test_codes_grow_when_many_are_live(redis):
    store = DeviceStore(redis, key=b"k", rules=DeviceRules(long_codes_from=2))
    made = [await store.create(client_id="tv", scopes=frozenset(), source="here") for _ in range(3)]
    assert [len(codes.user_code) for codes in made] == [8, 8, 10]


async def test_redis_holds_neither_code(door, redis):
    codes = await begun(door)
    secrets = (codes["device_code"], codes["user_code"], codes["user_code"].replace("-", ""))
    for key in [key async for key in redis.client.scan_iter()]:
        dump = key + (await redis.client.dump(key) or b"")
        assert not any(secret.encode() in dump for secret in secrets)
        assert await redis.client.pttl(key) > 0


@pytest.mark.parametrize("fate", ["locked", "deleted", "client off"])
async def test_an_approval_is_worth_nothing_once_its_person_or_client_is_locked(door, world, anna, fate):
    codes = await begun(door)
    await door.decide(anna, codes["user_code"])
    if fate == "locked":
        world.add(replace(anna, enabled=False))
    elif fate == "deleted":
        del world.people[anna.user_id]
    else:
        world.programs["tv"] = replace(world.programs["tv"], enabled=False)
    refused = await door.poll(codes["device_code"])
    assert (refused.status, refused.error) == (
        400, "unauthorized_client" if fate == "client off" else "access_denied",
    )  # fmt: skip
    assert world.issued == []


async def test_scopes_are_those_still_allowed_at_redemption(door, world, anna):
    codes = await begun(door)
    await door.decide(anna, codes["user_code"])
    world.add(replace(anna, scopes=frozenset({"read:content"})))
    assert (await door.poll(codes["device_code"])).body["scope"] == "read:content"


async def test_a_device_tries_again_when_its_tokens_could_not_be_made(door, world, anna):
    codes = await begun(door)
    await door.decide(anna, codes["user_code"])
    world.issue_error = UnavailableError("the database can't be reached")
    assert (await door.poll(codes["device_code"])).status == 503
    world.issue_error = None
    assert (await door.poll(codes["device_code"])).status == 200
    assert len(world.issued) == 1


async def test_only_people_decide(door, anna):
    codes = await begun(door)
    body = {"user_code": codes["user_code"]}
    path = "/auth/device/approve"
    assert (await door.send("POST", path, json=body)).status == 401
    service = mint_token(SECRET, "media-gateway-cli")
    stranger = mint_token(SECRET, str(person("nobody").user_id))
    for token in (service, stranger):
        headers = {"Authorization": f"Bearer {token}"}
        assert (await door.send("POST", path, json=body, headers=headers)).status == 403
    locked = {"user_code": codes["user_code"], "action": "maybe"}
    headers = {"Authorization": f"Bearer {mint_token(SECRET, str(anna.user_id))}"}
    wrong = await door.send("POST", path, json=locked, headers=headers)
    assert (wrong.status, wrong.error) == (400, "invalid_request")


async def test_a_repeated_or_missing_field_is_an_error_that_names_it(door):
    twice = aiohttp.FormData([("client_id", "tv"), ("client_id", "box")])
    answer = await door.send("POST", "/auth/device", data=twice)
    assert (answer.status, answer.error) == (400, "invalid_request")
    assert "client_id" in answer.body["error_description"]
    missing = await door.send("POST", "/auth/token", data={"client_id": "tv"})
    assert (missing.status, missing.error) == (400, "invalid_request")
    assert "device_code" in missing.body["error_description"]


async def test_a_waiting_device_is_told_on_the_channel_of_its_code(door, redis, anna):
    codes = await begun(door)
    async with redis.client.pubsub() as channel:
        await channel.subscribe(CHANNEL + sha256(codes["device_code"].encode()).hexdigest())
        assert (await channel.get_message(timeout=5))["type"] == "subscribe"
        await door.decide(anna, codes["user_code"])
        assert (await channel.get_message(timeout=5))["data"] == b'{"event":"decided"}'


async def test_without_redis_a_device_is_told_to_come_back(world):
    server = await serve(world, f"redis://127.0.0.1:{unused_port()}/0", drain_delay_s=0)
    async with aiohttp.ClientSession() as http:
        door = Door(http, server.url)
        for answer in (await door.begin(), await door.poll("x" * 43)):
            assert (answer.status, answer.error) == (503, "temporarily_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
    await server.drain()


async def test_cookies_are_bound_to_https_where_there_is_https(world, redis_url):
    server = await serve(world, redis_url, public_url="https://media.example", drain_delay_s=0)
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/auth/sign-in") as answer:
        (cookie,) = answer.headers.getall("Set-Cookie")
    await server.drain()
    assert cookie.startswith("__Host-mgw-form=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Domain" not in cookie
