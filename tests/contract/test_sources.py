"""What holds for every source: the same items each time, and reading continues right after any item's checkpoint."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from media_gateway.core.errors import InvalidInputError
from media_gateway.ingestion.sources import RawRecord, Source, SourceItem, later
from tests.support.ingestion_sources import films, ndjson, read_all, source_of, write_database, write_files
from tests.support.kafka_mock import MockKafka
from tests.support.waiting import eventually

FILES = (
    "ndjson",
    "gzip",
    "bzip2",
    "csv",
    "json list",
    "json records path",
    "xmltv",
    "folder",
    "glob",
    "parquet",
)
OTHERS = ("http pages", "http download", "database", "database by cursor", "kafka", "demo")


def told(items: list[SourceItem]) -> list[object]:
    """What an item says, without its checkpoint."""
    return [
        (item.payload, item.line) if isinstance(item, RawRecord) else (item.reason, item.line, item.excerpt)
        for item in items
    ]


@pytest.fixture
async def site() -> AsyncIterator[TestServer]:
    async def page(request: web.Request) -> web.Response:
        number = int(request.query.get("page", 1))
        return web.json_response({"results": films(5, number * 5) if number <= 4 else []})

    async def download(request: web.Request) -> web.Response:
        return web.Response(body=ndjson(films(12)))

    app = web.Application()
    app.add_routes([web.get("/films", page), web.get("/films.ndjson", download)])
    server = TestServer(app)
    async with server:
        yield server


@pytest.fixture
def topic() -> Iterator[MockKafka]:
    cluster = MockKafka()
    for record in films(20):
        cluster.put_raw("films", json.dumps(record).encode())
    cluster.put_raw("films", b"{broken")
    yield cluster
    cluster.close()


@pytest.fixture(params=[*FILES, *OTHERS])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    kind = request.param
    if kind in FILES:
        return source_of(write_files(tmp_path)[kind])
    if kind.startswith("http"):
        site = request.getfixturevalue("site")
        if kind == "http download":
            return source_of(
                {"type": "HTTP", "format": "NDJSON", "http": {"url": str(site.make_url("/films.ndjson"))}}
            )
        pagination = {"type": "Page", "parameter": "page"}
        http = {"url": str(site.make_url("/films")), "pagination": pagination}
        return source_of({"type": "HTTP", "format": "JSON", "json": {"recordsPath": "results"}, "http": http})
    if kind.startswith("database"):
        database = {"url": write_database(tmp_path / "films.db"), "table": "films", "fetchSize": 4}
        field = "changed" if kind == "database by cursor" else None
        return source_of({"type": "Database", "database": database}, cursor_field=field)
    if kind == "kafka":
        cluster = request.getfixturevalue("topic")
        brokers = cluster.url.removeprefix("kafka://").split(",")
        return source_of({"type": "Kafka", "kafka": {"brokers": brokers, "topic": "films"}})
    return source_of({"type": "Demo", "demo": {"limit": 25}})


async def test_reading_again_gives_the_same_items(source: Source) -> None:
    first = await read_all(source)
    assert len(first) >= 10
    assert sorted(map(repr, told(first))) == sorted(map(repr, told(await read_all(source))))


async def test_reading_with_an_items_checkpoint_gives_exactly_what_comes_after_it(source: Source) -> None:
    everything = await read_all(source)
    for index in {0, 1, len(everything) // 3, len(everything) // 2, len(everything) - 2, len(everything) - 1}:
        rest = await read_all(source, everything[index].checkpoint)
        # A topic's partitions are not ordered among each other; every other source is ordered.
        assert sorted(map(repr, told(rest))) == sorted(map(repr, told(everything[index + 1 :]))), index
        if "TopicSource" not in type(source).__name__:
            assert told(rest) == told(everything[index + 1 :])
            assert [item.checkpoint for item in rest] == [item.checkpoint for item in everything[index + 1 :]]


async def test_leaving_a_read_early_lets_go_of_files_and_connections(source: Source) -> None:
    await read_all(source)  # what is opened once and kept: driver packages, thread pools
    before = psutil.Process().num_fds()
    async with aclosing(source.read(None, None)) as items:
        await anext(items)
    await eventually(lambda: psutil.Process().num_fds() <= before)


async def test_progress_ends_at_the_estimate(source: Source) -> None:
    await read_all(source)
    estimate = await source.estimate()
    if estimate is not None:
        assert source.units_read == estimate


async def test_a_checkpoint_of_another_kind_of_source_is_refused(source: Source) -> None:
    for checkpoint in ("rubbish", "[]", '{"other": 1}'):
        with pytest.raises(InvalidInputError, match="checkpoint"):
            await read_all(source, checkpoint)


@pytest.mark.parametrize(
    ("one", "other", "greater"),
    [
        (None, "5", "5"),
        ("9", "10", "10"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:30:00+01:00", "2026-01-01T00:00:00Z"),
        ("2026-02-01", "2026-01-31T23:59:59Z", "2026-02-01"),
        ("abc", "abd", "abd"),
        ('{"0":5,"1":2}', '{"0":3,"2":9}', '{"0":5,"1":2,"2":9}'),
    ],
)
def test_the_later_cursor_stands_for_both(one: str | None, other: str, greater: str) -> None:
    assert later(one, other) == greater
    assert later(other, one) == greater
