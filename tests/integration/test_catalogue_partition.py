"""With exact links the partition is that of the records, whatever their order, batches and writers."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings, strategies as st

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.content import SourceRecord
from media_gateway.ingestion.services.catalogue import CatalogueWriter
from tests.support.catalogue import check_consistency, connected, homes, partition_of, record, run_of

WRITERS = 4
EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    # The database is emptied at the start of each example.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

IDS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "imdb": st.integers(1, 7).map(lambda number: f"tt{number:07d}"),
        "tmdb": st.integers(1, 7),
        "wikidata": st.integers(1, 7).map(lambda number: f"Q{number}"),
    },
)
KEYS = st.tuples(st.sampled_from(["one", "two"]), st.integers(0, 11).map(str))
RECORDS = st.dictionaries(KEYS, IDS, min_size=2, max_size=18).map(
    lambda drawn: [record(key[1], source=key[0], **ids) for key, ids in drawn.items()]
)


def batches_of(records: Sequence[SourceRecord], sizes: Iterable[int]) -> list[list[SourceRecord]]:
    """Batches of one source each, as a run would cut them."""
    batches: list[list[SourceRecord]] = []
    rest, cuts = list(records), list(sizes) or [3]
    while rest:
        size = cuts[len(batches) % len(cuts)]
        mine = [each for each in rest if each.source == rest[0].source][:size]
        rest = [each for each in rest if each not in mine]
        batches.append(mine)
    return batches


async def empty(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            sa.text(
                "TRUNCATE contents, external_ids, offerings, credits, source_records, content_redirects, outbox"
            )
        )


async def partition(database: Database) -> set[frozenset[tuple[str, str]]]:
    await check_consistency(database)
    return partition_of(await homes(database))


@EXAMPLES
@given(
    records=RECORDS, order=st.randoms(use_true_random=False), sizes=st.lists(st.integers(1, 6), max_size=3)
)
async def test_partition_is_the_same_for_any_order_and_any_batches(database, records, order, sizes):
    await empty(database)
    writer = CatalogueWriter(database)
    for batch in batches_of(order.sample(records, len(records)), sizes):
        assert not (await writer.write(batch, run=run_of(batch[0].source))).rejected
    assert await partition(database) == connected(records)


@EXAMPLES
@given(
    records=RECORDS, order=st.randoms(use_true_random=False), sizes=st.lists(st.integers(1, 6), max_size=3)
)
async def test_partition_is_the_same_for_writers_at_one_time(database, records, order, sizes):
    await empty(database)
    writer = CatalogueWriter(database)
    queue = batches_of(order.sample(records, len(records)), sizes)

    async def work() -> None:
        while queue:
            batch = queue.pop()
            assert not (await writer.write(batch, run=run_of(batch[0].source))).rejected

    await asyncio.gather(*(work() for _ in range(WRITERS)))
    assert await partition(database) == connected(records)


@EXAMPLES
@given(records=RECORDS, corrections=st.lists(st.tuples(KEYS, IDS.filter(bool)), min_size=1, max_size=6))
async def test_partition_follows_corrected_ids(database, records, corrections):
    await empty(database)
    writer = CatalogueWriter(database)
    known = {(each.source, each.source_id): each for each in records}
    for batch in batches_of(records, [18]):
        assert not (await writer.write(batch, run=run_of(batch[0].source))).rejected
    for key, ids in corrections:
        said = record(key[1], source=key[0], **ids)
        before = known.get(key, said).external_ids
        # What a source leaves out it does not take back.
        kept = {name: value for name, value in said.external_ids if value is not None}
        known[key] = said.model_copy(update={"external_ids": before.model_copy(update=kept)})
        assert not (await writer.write([said], run=run_of(key[0]))).rejected
    assert await partition(database) == connected(known.values())


async def test_many_writers_of_overlapping_works_neither_block_each_other_nor_make_twins(database):
    rng = random.Random(7)
    records = [
        record(
            f"{number:03}",
            source=f"s{number % 4}",
            title=f"work {number // 4} {'x' * (number // 4)}",
            imdb=f"tt{number // 4:07d}",
        )
        for number in range(240)
    ]
    rng.shuffle(records)
    writer = CatalogueWriter(database)

    async def work(source: str) -> None:
        mine = [each for each in records if each.source == source]
        for start in range(0, len(mine), 20):
            assert not (await writer.write(mine[start : start + 20], run=run_of(source))).rejected

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(f"s{number}") for number in range(4)))
    assert await partition(database) == connected(records)


async def test_one_new_work_brought_by_many_writers_at_once_is_one_content(database):
    async def bring(number: int) -> None:
        film = record("1", source=f"s{number}", title="The Matrix")
        report = await CatalogueWriter(database).write([film], run=run_of(f"s{number}"))
        assert report.content_ids != [None]

    for _ in range(5):
        await empty(database)
        await asyncio.gather(*(bring(number) for number in range(8)))
        assert len(set((await homes(database)).values())) == 1


async def test_one_record_written_by_many_writers_at_once_is_stored_once(database):
    async def bring(number: int) -> None:
        film = record("1", title=f"title of its own {number} {'y' * number * 9}")
        report = await CatalogueWriter(database).write([film], run=run_of())
        assert report.content_ids != [None]

    for _ in range(3):
        await empty(database)
        await asyncio.gather(*(bring(number) for number in range(8)))
        await check_consistency(database)
        assert len(await homes(database)) == 1
