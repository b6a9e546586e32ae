"""Webhook deliveries: signed, taken once, written in the end, whatever is away meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.errors import UnavailableError
from media_gateway.ingestion.services.catalogue import CatalogueWriter
from media_gateway.ingestion.services.webhooks import Signed, WebhookIntake, WebhookWorker
from media_gateway.ingestion.store_runs import RunStore
from media_gateway.ingestion.store_webhooks import STREAM
from tests.support.ingestion import bad_film, film, scalar
from tests.support.ingestion_service import Api, now, service_settings, serving, sign
from tests.support.waiting import eventually

PATH = "/api/v1/webhooks/streamflix"


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(service_settings(database_url, redis_url, tmp_path)) as api:
        yield api


def body_of(*records: dict[str, Any]) -> bytes:
    return json.dumps(records).encode()


async def written(database: Database) -> int:
    return int(await scalar(database, "SELECT count(*) FROM source_records WHERE source = 'streamflix'"))


async def intake_run(api: Api) -> dict[str, Any] | None:
    jobs = (await api.call("GET", "/api/v1/ingestion/jobs")).document["jobs"]
    return jobs[0] if jobs else None


async def test_signed_delivery_is_accepted_and_written(api: Api, database: Database):
    answer = await api.deliver(body_of(film(1), film(2), bad_film(3)))

    assert answer.status == 202
    assert answer.document["duplicate"] is False
    await eventually(lambda: written(database))
    assert await written(database) == 2

    async def counted() -> bool:
        run = await intake_run(api)
        return run is not None and run["progress"]["failed"] == 1

    await eventually(counted)
    run = await intake_run(api)
    assert run is not None
    assert (run["name"], run["origin"], run["state"]) == ("webhook-streamflix", "webhook", "Running")
    letters = (await api.call("GET", f"/api/v1/ingestion/jobs/{run['id']}/dead-letters")).document[
        "dead_letters"
    ]
    assert [(letter["field"], letter["source_id"]) for letter in letters] == [("release_year", "film-3")]


async def test_repeated_delivery_is_taken_once(api: Api, database: Database):
    body = body_of(film(1), bad_film(2))
    answers = [await api.deliver(body) for _ in range(3)]
    named = [await api.deliver(body_of(film(n)), X_Webhook_Delivery="d-1") for n in (5, 6)]

    assert [answer.document["duplicate"] for answer in answers + named] == [False, True, True, False, True]
    await eventually(lambda: written(database))

    async def all_read() -> bool:
        run = await intake_run(api)
        return run is not None and run["progress"]["read"] == 3

    await eventually(all_read)
    assert await scalar(database, "SELECT count(*) FROM ingestion_dead_letters") == 1


async def test_delivery_without_a_good_recent_signature_is_refused(api: Api, redis: RedisHandle):
    body = body_of(film(1))
    for headers in (
        {"X_Webhook_Signature": ""},
        {"X_Webhook_Signature": "sha256="},
        {"X_Webhook_Signature": "sha1=abc"},
        {"X_Webhook_Signature": sign(b"something else")},
        {"X_Webhook_Signature": sign(body, secret="a wrong secret of theirs")},
        {"X_Webhook_Signature": "sha256=\u00fc"},
        {"X_Webhook_Timestamp": str(now())},
        {"X_Webhook_Timestamp": "yesterday", "X_Webhook_Signature": sign(body, at="yesterday")},
        {"X_Webhook_Timestamp": "9" * 30, "X_Webhook_Signature": sign(body, at="9" * 30)},
        {"X_Webhook_Timestamp": "1000000000", "X_Webhook_Signature": sign(body, at=1_000_000_000)},
    ):
        answer = await api.deliver(body, **headers)
        assert answer.status == 401, headers
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert await redis.client.xlen(STREAM) == 0


async def test_signature_over_timestamp_and_body_is_accepted_while_recent(api: Api):
    body, at = body_of(film(1)), now()
    answer = await api.deliver(body, X_Webhook_Timestamp=str(at), X_Webhook_Signature=sign(body, at=at))
    assert answer.status == 202


async def test_unknown_platform_is_not_found(api: Api):
    body = body_of(film(1))
    assert (await api.deliver(body, platform="other")).status == 404
    assert (await api.deliver(body, platform="x" * 41)).status == 400


async def test_signed_nonsense_is_refused(api: Api):
    for body in (b"", b"{", b"1", b"[1]", b'{"records": [null]}', b"\xff", b"[" * 10_000, b'["\\ud800"]'):
        answer = await api.deliver(body)
        assert answer.status == 400, body[:20]
        assert answer.document["errors"]


async def test_too_many_records_and_too_large_bodies_are_refused(api: Api):
    assert (await api.deliver(b"[" + b",".join([b"{}"] * 1001) + b"]")).status == 400
    assert (await api.deliver(b" " * 2_000_000)).status == 413


async def test_full_backlog_is_answered_with_retry_after(
    database_url: str, redis_url: str, tmp_path: Path, redis: RedisHandle
):
    for _ in range(3):
        await redis.client.xadd(STREAM, {"x": "y"})
    intake = WebhookIntake(redis, service_settings(database_url, redis_url, tmp_path, webhook_backlog=3))
    body = body_of(film(1))
    with pytest.raises(UnavailableError, match="too many deliveries") as caught:
        await intake.accept(
            Signed(platform="streamflix", body=body, signature=sign(body), timestamp=None, delivery_id=None)
        )
    assert caught.value.retryable
    assert caught.value.retry_after_ms


async def test_deliveries_are_mapped_by_the_platforms_preset(
    database_url: str, redis_url: str, tmp_path: Path, database: Database
):
    settings = service_settings(database_url, redis_url, tmp_path, webhook_presets={"streamflix": "tmdb"})
    record = {
        "id": 550,
        "title": "Fight Club",
        "release_date": "1999-10-15",
        "genres": [{"id": 18, "name": "Drama"}],
    }
    async with serving(settings) as api:
        assert (await api.deliver(json.dumps(record).encode())).status == 202
        await eventually(lambda: written(database))
    assert await scalar(database, "SELECT title FROM contents") == "Fight Club"


async def test_delivery_of_a_worker_that_died_is_written_by_the_next_one(
    database: Database, database_url: str, redis_url: str, tmp_path: Path, redis: RedisHandle
):
    settings = service_settings(database_url, redis_url, tmp_path)
    intake = WebhookIntake(redis, settings)
    body = body_of(film(1), bad_film(2))
    await intake.accept(
        Signed(platform="streamflix", body=body, signature=sign(body), timestamp=None, delivery_id=None)
    )

    def worker() -> WebhookWorker:
        return WebhookWorker(redis, CatalogueWriter(database), RunStore(database), {}, idle_ms=50)

    dying = worker()
    dying._stream.done = _die  # type: ignore[method-assign, assignment]  # the process ends after the commit, before the stream is told
    with pytest.raises(SystemExit):
        await dying.run()
    assert await written(database) == 1

    task = asyncio.create_task(worker().run())

    async def is_empty() -> bool:
        return int(await redis.client.xlen(STREAM)) == 0

    await eventually(is_empty)
    task.cancel()
    await asyncio.wait([task])
    assert await scalar(database, "SELECT count(*) FROM ingestion_dead_letters") == 1
    assert await scalar(database, "SELECT read FROM ingestion_runs") == 2


async def _die(*_: object) -> None:
    raise SystemExit


async def test_without_redis_a_delivery_is_not_answered_as_accepted(
    database_url: str, database: Database, tmp_path: Path
):
    server = EmbeddedRedis(tmp_path / "redis")
    url = await server.start()
    try:
        async with serving(service_settings(database_url, url, tmp_path, redis_timeout_ms=500)) as api:
            await server.stop()
            away = await api.deliver(body_of(film(1)))
            assert away.status in {503, 504}
            assert away.document["retryable"]
            await server.start()
            assert (await api.deliver(body_of(film(1)))).status == 202
            await eventually(lambda: written(database), timeout_s=30)
    finally:
        await server.stop()
