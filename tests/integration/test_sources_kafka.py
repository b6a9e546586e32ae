"""A Kafka topic (librdkafka's mock brokers): bounded reads over several partitions, cursors, outages."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from media_gateway.core.errors import UnavailableError
from media_gateway.ingestion.sources import BadItem, RawRecord, Source, SourceItem, later
from tests.support.ingestion_sources import films, read_all, source_of
from tests.support.kafka_mock import MockKafka


@pytest.fixture
def cluster() -> Iterator[MockKafka]:
    made = MockKafka()
    yield made
    made.close()


def put(cluster: MockKafka, records: list[dict[str, Any]]) -> None:
    for record in records:
        cluster._owner.produce("films", orjson.dumps(record), key=str(record["id"]))
    assert cluster._owner.flush(10) == 0


def topic(cluster: MockKafka, **more: object) -> Source:
    brokers = cluster.url.removeprefix("kafka://").split(",")
    return source_of({"type": "Kafka", "kafka": {"brokers": brokers, "topic": "films", **more}})


def ids(items: list[SourceItem]) -> list[int]:
    return sorted(item.payload["id"] for item in items if isinstance(item, RawRecord))


async def test_a_read_ends_at_the_ends_it_found_and_the_cursor_continues_there(cluster: MockKafka) -> None:
    put(cluster, films(50))
    source = topic(cluster)
    first = await read_all(source)
    assert ids(first) == list(range(1, 51))
    assert (
        len(
            {
                key
                for item in first
                for key in orjson.loads(item.cursor if isinstance(item, RawRecord) and item.cursor else "{}")
            }
        )
        > 1
    )  # several partitions
    cursor = None
    for item in first:
        cursor = later(cursor, item.cursor if isinstance(item, RawRecord) else None)
    put(cluster, films(10, 51))
    assert ids(await read_all(source, first[19].checkpoint)) == sorted(ids(first[20:]))
    assert ids(await read_all(source, None, cursor)) == list(range(51, 61))
    assert await read_all(source, (await read_all(source))[-1].checkpoint) == []


async def test_a_bad_message_is_told_with_partition_and_offset(cluster: MockKafka) -> None:
    put(cluster, films(1))
    cluster.put_raw("films", b"\xff\xfe")
    cluster.put_raw("films", b'{"id": 1, "id": 2}')
    cluster._owner.produce("films", None, key="gone")
    assert cluster._owner.flush(10) == 0
    bad = [item for item in await read_all(topic(cluster)) if isinstance(item, BadItem)]
    assert len(bad) == 3
    assert all(item.reason.startswith("partition ") and "offset" in item.reason for item in bad)


async def test_an_outage_ends_the_read_as_retryable_and_reading_goes_on_afterwards(
    cluster: MockKafka,
) -> None:
    put(cluster, films(5))
    source = topic(cluster, timeoutSeconds=2)
    cluster.down()
    with pytest.raises(UnavailableError):
        await read_all(source)
    cluster.up()
    assert ids(await read_all(source)) == [1, 2, 3, 4, 5]


async def test_brokers_that_are_not_there_are_told(cluster: MockKafka) -> None:
    with pytest.raises(UnavailableError):
        await read_all(topic(cluster, timeoutSeconds=1, brokers=["127.0.0.1:1"]))
