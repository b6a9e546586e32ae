"""Rate limits over HTTP: who is charged, what answers say, how limits change, on a real Redis."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.limiting import LimitDocument, tier_limits
from media_gateway.core.limiting.book import LOOK_TIMEOUT_MS, POLL_S
from media_gateway.core.service_tokens import mint_internal
from media_gateway.core.tokens import mint_token
from tests.support.limited_component import CODE, GO_ON, SECRET, STARTED, document, limit, limited
from tests.support.redis_clock import moment, until
from tests.support.waiting import eventually
from tests.support.web_session import problem

MINUTE = 60_000
PROXIED = {"trusted_proxies": "127.0.0.0/8"}


def bearer(subject: str, **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {mint_token(SECRET, subject, **claims)}"}


def basic(client: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()}


def at(source: str) -> dict[str, str]:
    return {"X-Forwarded-For": source}


async def statuses(call: Callable[[], Any], times: int) -> list[int]:
    return [(await call()).status for _ in range(times)]


async def test_the_limit_is_told_on_every_answer_and_a_refusal_says_when_to_come_back(redis_url: str):
    built_in = document(limit("search", {MINUTE: 2}, endpoints=["search"]))
    async with limited(redis_url, built_in) as (_, session):
        first = await session.get("/search")
        assert first.status == 200
        assert first.headers["RateLimit-Policy"] == '"search";q=2;w=60'
        assert first.headers["RateLimit"] == '"search";r=1;t=60'
        assert "X-RateLimit-Limit" not in first.headers
        await session.get("/search")
        refused = await session.get("/search")
        told = await problem(refused, 429)
        assert told["code"] == "rate_limited"
        assert told["violated-policies"] == ["search"]
        assert told["retryable"] is True
        assert 0 < told["retry_after_ms"] <= MINUTE
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["RateLimit"] == f'"search";r=0;t={refused.headers["Retry-After"]}'
        free = await session.get("/unlimited")
        assert free.status == 200
        assert "RateLimit" not in free.headers
        assert (await session.get("/health/live")).status == 200


async def test_a_call_after_retry_after_passes(redis_url: str, redis: RedisHandle):
    built_in = document(limit("search", {1_000: 2}, endpoints=["search"]))
    async with limited(redis_url, built_in) as (_, session):
        while (answer := await session.get("/search")).status == 200:
            pass
        assert answer.headers["Retry-After"] == "1"
        await until(redis, await moment(redis) + 1_000_000)
        assert (await session.get("/search")).status == 200


async def test_old_headers_come_by_setting(redis_url: str):
    built_in = document(limit("wide", {MINUTE: 50}), limit("narrow", {MINUTE: 2}))
    async with limited(redis_url, built_in, ratelimit_legacy_headers=True) as (_, session):
        answer = await session.get("/search")
        assert answer.headers["RateLimit-Policy"] == '"wide";q=50;w=60, "narrow";q=2;w=60'
        assert answer.headers["X-RateLimit-Limit"] == "2"
        assert answer.headers["X-RateLimit-Remaining"] == "1"
        assert int(answer.headers["X-RateLimit-Reset"]) > 1_700_000_000


async def test_a_limit_may_answer_in_words_and_with_a_status_of_its_own(redis_url: str):
    response = {"status": 503, "headers": "None", "message": "come back after the match"}
    built_in = document(limit("search", {MINUTE: 1}, response=response))
    async with limited(redis_url, built_in) as (_, session):
        assert "RateLimit" not in (await session.get("/search")).headers
        answer = await session.get("/search")
        assert (await problem(answer, 503))["detail"] == "come back after the match"
        assert int(answer.headers["Retry-After"]) >= 1


async def test_callers_are_counted_by_subject_and_without_a_token_by_source(redis_url: str):
    built_in = document(limit("all", {MINUTE: 2}, key=[{"source": "User"}]))
    async with limited(redis_url, built_in, **PROXIED) as (_, session):
        for headers in (bearer("a"), bearer("b"), at("203.0.113.1"), at("203.0.113.2"), {}):
            assert await statuses(partial(session.get, "/search", headers=headers), 3) == [200, 200, 429]
        # The left end of the header is anybody's words.
        forged = at("198.51.100.7, 203.0.113.1")
        assert (await session.get("/search", headers=forged)).status == 429


async def test_without_trusted_proxies_no_header_gives_another_source(redis_url: str):
    built_in = document(limit("all", {MINUTE: 2}, key=[{"source": "IP"}]))
    async with limited(redis_url, built_in) as (_, session):
        told = [
            (
                await session.get(
                    "/search", headers={name: f"for=1.1.1.{n}" if name == "Forwarded" else f"1.1.1.{n}"}
                )
            ).status
            for n, name in enumerate(["X-Forwarded-For", "Forwarded", "X-Real-IP"])
        ]
        assert told == [200, 200, 429]


async def test_guessing_tokens_is_limited_too(redis_url: str):
    built_in = document(limit("all", {MINUTE: 3}, key=[{"source": "User"}]))
    async with limited(redis_url, built_in) as (_, session):
        wrong = {"Authorization": "Bearer nonsense"}
        assert await statuses(lambda: session.get("/mine", headers=wrong), 3) == [401] * 3
        assert (await session.get("/mine", headers=wrong)).status == 429
        assert (await session.get("/mine")).status == 429
        assert (await session.get("/mine", headers=bearer("a"))).status == 200


TOKEN = document(
    limit("token", {MINUTE: 2}, endpoints=["token"], key=[{"source": "Client"}]),
    limit("poll", {MINUTE: 5}, endpoints=["poll"], key=[{"source": "IP"}]),
)


async def test_clients_are_counted_by_form_or_basic_and_the_handler_still_has_the_form(redis_url: str):
    form = {"client_id": "shop", "client_secret": "right"}
    async with limited(redis_url, TOKEN) as (_, session):
        answer = await session.post("/token", data=form)
        assert await answer.json() == {"subject": "shop"}
        answer = await session.post("/token", data={}, headers=basic("shop", "right"))
        assert answer.status == 200
        refused = await session.post("/token", data=form)
        assert refused.status == 429
        assert await refused.json() == {"error": "rate_limited"}  # the shape of the route
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.headers["RateLimit-Policy"] == '"token";q=2;w=60'


async def test_wrong_secrets_are_charged_to_their_source_and_lock_nobody_out(redis_url: str):
    async with limited(redis_url, TOKEN, **PROXIED) as (_, session):

        async def ask(secret: str, source: str) -> int:
            form = {"client_id": "shop", "client_secret": secret}
            return (await session.post("/token", data=form, headers=at(source))).status

        attacker, victim = "203.0.113.1", "203.0.113.2"
        assert [await ask("wrong", attacker) for _ in range(4)] == [401, 401, 429, 429]
        assert [await ask("right", victim) for _ in range(2)] == [200, 200]
        # The client's own count holds wherever it calls from.
        assert await ask("right", "203.0.113.3") == 429
        assert await ask("wrong", "203.0.113.4") == 429


async def test_shared_clients_are_counted_by_source_and_made_up_ones_share_their_source(redis_url: str):
    async with limited(redis_url, TOKEN, **PROXIED) as (_, session):

        async def ask(client: str, source: str) -> int:
            return (await session.post("/token", data={"client_id": client}, headers=at(source))).status

        assert [await ask("tv", "203.0.113.1") for _ in range(3)] == [200, 200, 429]
        assert await ask("tv", "203.0.113.2") == 200
        assert [await ask(f"made-up-{n}", "203.0.113.3") for n in range(3)] == [200, 200, 429]


async def test_device_code_polls_have_a_count_of_their_own(redis_url: str):
    async with limited(redis_url, TOKEN) as (_, session):
        form = {"client_id": "tv", "grant_type": CODE}
        assert await statuses(lambda: session.post("/token", data=form), 6) == [200] * 5 + [429]
        assert (await session.post("/token", data={"client_id": "tv"})).status == 200


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"client_id=shop&client_id=tv", "application/x-www-form-urlencoded"),
        (b"client_id=%ff", "application/x-www-form-urlencoded"),
        (b"&".join(b"a=b" for _ in range(200)), "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
    ],
)
async def test_a_form_that_can_not_be_read_is_charged_to_its_source(
    redis_url: str, body: bytes, content_type: str
):
    async with limited(redis_url, TOKEN) as (_, session):
        headers = {"Content-Type": content_type}
        told = await statuses(lambda: session.post("/token", data=body, headers=headers), 3)
        assert told == [400, 400, 429]


async def test_an_endless_form_is_cut_off_and_charged(redis_url: str):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 1_000

    async with limited(redis_url, TOKEN, body_limit_bytes=2_000) as (_, session):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        told = await statuses(lambda: session.post("/token", data=chunks(), headers=headers), 3)
        assert told == [400, 400, 429]


async def test_services_with_a_token_are_not_limited_and_a_bare_header_helps_nobody(redis_url: str):
    built_in = document(limit("all", {MINUTE: 1}))
    async with limited(redis_url, built_in) as (_, session):
        assert (await session.get("/search")).status == 200
        good = {"X-Service-Token": mint_internal(SECRET, "gateway")}
        before = REGISTRY.get_sample_value("mgw_internal_requests_total", {"service": "gateway"}) or 0.0
        assert await statuses(lambda: session.get("/search", headers=good), 3) == [200] * 3
        assert REGISTRY.get_sample_value("mgw_internal_requests_total", {"service": "gateway"}) == before + 3
        for name, value in (
            ("X-Service-Token", "true"),
            ("X-Service-Token", SECRET),
            ("X-Service-Token", mint_token(SECRET, "gateway", audience="internal")),
            ("X-Service-Token", mint_internal(SECRET, "gateway", ttl_s=-3600)),
            ("X-Internal-Service", SECRET),
        ):
            assert (await session.get("/search", headers={name: value})).status == 429


async def test_requests_in_progress_are_bounded_and_their_places_come_back(redis_url: str):
    built_in = document(
        {
            **limit("busy", {}, endpoints=["wait"]),
            "algorithm": "Concurrency",
            "rates": [{"limit": 1}],
        }
    )
    async with limited(redis_url, built_in) as (running, session):
        held = asyncio.create_task(session.get("/wait"))
        await asyncio.wait_for(running.app[STARTED].wait(), 10)
        second = await session.get("/wait")
        assert second.status == 429
        assert second.headers["RateLimit-Policy"] == '"busy";q=1;qu="concurrent-requests"'
        running.app[GO_ON].set()
        assert (await held).status == 200
        assert (await session.get("/wait")).status == 200
        # A caller who goes away takes its place along.
        running.app[GO_ON].clear()
        running.app[STARTED].clear()
        gone = asyncio.create_task(session.get("/wait"))
        await asyncio.wait_for(running.app[STARTED].wait(), 10)
        gone.cancel()

        async def is_free() -> bool:
            running.app[GO_ON].set()
            return (await session.get("/wait")).status == 200

        await eventually(is_free)


async def test_tiers_have_their_own_limits(redis_url: str):
    ours = tier_limits("limited")
    async with limited(redis_url, ours) as (_, session):
        policies = {
            tier: (await session.get("/search", headers=bearer("u", tier=tier))).headers["RateLimit-Policy"]
            for tier in ("free", "pro", "enterprise", "gold")
        }
        policies["anonymous"] = (await session.get("/search")).headers["RateLimit-Policy"]
        assert policies == {
            "anonymous": '"anonymous-second";q=5;w=1, "anonymous-minute";q=100;w=60',
            "free": '"free-second";q=10;w=1, "free-minute";q=200;w=60',
            "pro": '"pro-second";q=50;w=1, "pro-minute";q=1000;w=60',
            "enterprise": '"enterprise-second";q=200;w=1, "enterprise-minute";q=5000;w=60',
            "gold": '"free-second";q=10;w=1, "free-minute";q=200;w=60',
        }
        answers = await asyncio.gather(*(session.get("/search") for _ in range(9)))
        assert {answer.status for answer in answers} == {200}  # with the first one a burst of ten


def revision(name: str) -> float | None:
    return REGISTRY.get_sample_value("mgw_ratelimit_revision", {"component": "limited", "revision": name})


def refused_document() -> float | None:
    return REGISTRY.get_sample_value("mgw_ratelimit_document_refused", {"component": "limited"})


def swap(folder: Path, number: int, data: bytes) -> None:
    """As Kubernetes renews a mounted ConfigMap: a new folder, and a link turned round to it."""
    (folder / f"..{number}").mkdir()
    (folder / f"..{number}" / "limits.json").write_bytes(data)
    (folder / "..next").symlink_to(f"..{number}")
    (folder / "..next").replace(folder / "..data")
    if not (folder / "limits.json").exists():
        (folder / "limits.json").symlink_to("..data/limits.json")


@pytest.mark.parametrize("place", ["file", "swapped link", "key"])
async def test_changed_limits_hold_within_a_second_and_bad_ones_change_nothing(
    redis_url: str, redis: RedisHandle, tmp_path: Path, place: str
):
    # By design; the machine of the tests may be late.
    assert POLL_S * 1000 + LOOK_TIMEOUT_MS < 1_000
    path, number = tmp_path / "limits.json", 0

    async def write(data: bytes) -> None:
        nonlocal number
        number += 1
        if place == "key":
            await redis.client.set("limits", data)
        elif place == "file":
            path.write_bytes(data)
        else:
            swap(tmp_path, number, data)

    where = {"ratelimit_key": "limits"} if place == "key" else {"ratelimit_path": path}
    one, two = (document(limit("search", {MINUTE: n}), replicas=3) for n in (7, 8))
    await write(one.canonical())
    async with limited(redis_url, LimitDocument(), **where) as (_, session):

        async def policy() -> str | None:
            return (await session.get("/search")).headers.get("RateLimit-Policy")

        assert await policy() == '"search";q=7;w=60'
        assert revision(one.revision) == 1
        await write(two.canonical())
        await eventually(lambda: revision(two.revision) == 1, timeout_s=5.0)
        assert revision(one.revision) is None
        assert await policy() == '"search";q=8;w=60'
        await write(b'{"limits": [{"name": "search"}]}')
        await eventually(lambda: refused_document() == 1)
        assert revision(two.revision) == 1
        assert await policy() == '"search";q=8;w=60'

        async def told() -> str:
            report = await (await session.get("/health")).json()
            assert report["status"] == "degraded"
            return str(next(p for p in report["components"] if p["name"] == "rate limits")["message"])

        message = await eventually(told)
        assert "limits.0.component: required" in message
        assert two.revision in message
        assert (await session.get("/health/ready")).status == 200
        await write(one.canonical())
        await eventually(lambda: revision(one.revision) == 1, timeout_s=5.0)
        assert refused_document() == 0


async def test_a_lost_document_leaves_the_last_one_in_force(redis_url: str, tmp_path: Path):
    path = tmp_path / "limits.json"
    async with limited(redis_url, document(limit("own", {MINUTE: 3})), ratelimit_path=path) as (_, session):
        assert refused_document() == 1
        assert (await session.get("/search")).headers["RateLimit-Policy"] == '"own";q=3;w=60'
        path.write_bytes(json.dumps({"builtIn": False, "limits": [limit("new", {MINUTE: 4})]}).encode())
        await eventually(lambda: refused_document() == 0)
        path.unlink()
        await eventually(lambda: refused_document() == 1)
        assert (await session.get("/search")).headers["RateLimit-Policy"] == '"new";q=4;w=60'


async def test_a_dry_run_of_everything_refuses_nothing_and_shows_nothing(redis_url: str):
    built_in = document(limit("search", {MINUTE: 1}))
    async with limited(redis_url, built_in, ratelimit_dry_run=True) as (_, session):
        assert await statuses(lambda: session.get("/search"), 4) == [200] * 4
        assert "RateLimit" not in (await session.get("/search")).headers
    labels = {"rule": "search", "decision": "would_refuse"}
    assert (REGISTRY.get_sample_value("mgw_ratelimit_decisions_total", labels) or 0) >= 3


async def test_without_redis_a_closed_limit_answers_503_and_names_itself(free_port: int):
    built_in = document(limit("search", {MINUTE: 1}, endpoints=["search"], failureMode="Closed"))
    async with limited(f"redis://127.0.0.1:{free_port}/0", built_in) as (_, session):
        answer = await session.get("/search")
        told = await problem(answer, 503)
        assert told["unchecked-policies"] == ["search"]
        assert answer.headers["Retry-After"] == "1"
        assert (await session.get("/unlimited")).status == 200
