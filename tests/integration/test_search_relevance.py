"""How good search is over the demo catalogue, held against what it has reached: a change that worsens ranking fails here.

After a change that is meant to move the values, record them again (docs/search.md says how). Without vectors, so that it
takes seconds: what text alone finds. ``MEDIA_GATEWAY_TEST_RELEVANCE_VECTORS=1`` embeds the films too, which takes minutes,
and holds the values against a file of their own.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from media_gateway.cli.evaluation.asking import Outcome, Target, measure
from media_gateway.cli.evaluation.pairs import read_pairs
from media_gateway.cli.evaluation.report import ClassReport, Report, report_on
from media_gateway.cli.evaluation.stored import record, stored_for, worse_than
from tests.support.relevance import demo_discovery
from tests.support.servers import Urls, fresh_database

WITH_VECTORS = os.environ.get("MEDIA_GATEWAY_TEST_RELEVANCE_VECTORS") == "1"
RECORDING = os.environ.get("MEDIA_GATEWAY_TEST_RELEVANCE_RECORD") == "1"

FOLDER = Path(__file__).parents[1] / "data" / "relevance"
PAIRS = FOLDER / "demo.jsonl"
STORED = FOLDER / ("demo-stored-vectors.json" if WITH_VECTORS else "demo-stored.json")

REDIS_DATABASE = 63
"""Above those that the workers of a run use: this discovery outlives single tests."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1_800 if WITH_VECTORS else 600),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("relevance"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def search_url(warm_servers: Urls, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A discovery over all films of the demo catalogue."""
    if WITH_VECTORS:
        request.getfixturevalue("models_path")
    redis_url = f"{warm_servers.redis.rpartition('/')[0]}/{REDIS_DATABASE}"
    async with (
        fresh_database(warm_servers.postgres) as database_url,
        demo_discovery(database_url, redis_url, vectors=WITH_VECTORS) as url,
    ):
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def report(search_url: str) -> Report:
    """Every judged query, measured once for all tests."""
    pairs, target = read_pairs(PAIRS), Target(url=search_url)
    outcomes: list[Outcome] = []
    await measure(pairs, target, outcomes.append)
    found = report_on(pairs, target, outcomes)
    if RECORDING:
        record(STORED, found)
    return found


async def test_no_class_of_queries_is_answered_worse_than_before(report: Report) -> None:
    stored = stored_for(STORED, report.pairs, report.target.depth)
    worse = worse_than(stored, report)
    told = [f"{one.kind} {one.measure}: {one.now} after {one.stored.value}" for one in worse]
    assert not worse, f"worse by more than the tolerance in {STORED.name}: {'; '.join(told)}"


async def test_a_whole_title_that_is_unique_comes_first(report: Report) -> None:
    assert _class(report, "exact").measures["mrr@10"] == 1.0


async def test_titles_with_one_and_two_typing_errors_are_found(report: Report) -> None:
    assert _class(report, "typo1").measures["ndcg@10"] >= 0.99
    assert _class(report, "typo2").measures["ndcg@10"] >= 0.97


def _class(report: Report, name: str) -> ClassReport:
    return next(found for found in report.variants[0].classes if found.name == name)
