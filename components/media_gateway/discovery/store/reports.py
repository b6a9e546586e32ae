"""SQL of the reports on searches and on the catalogue's completeness. `reports` asks it; nothing here writes.

A report reads every event of its window once or twice; it is for administrators and may take seconds over millions.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from media_gateway.core.adapters.postgres import Database
from media_gateway.discovery.store.analytics import MIN_SEARCHERS

REPORT_TIMEOUT_MS = 20_000
"""Longest a statement of a report may take, in milliseconds: a few million events, below a request's limit."""

POSITIONS = 20
"""Ranks of which clicks are reported: a page of results."""

_ONE_STATE = sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

# A report sorts and groups every event of its window; with the usual 4 MB all of that would go through files.
_MEMORY = sa.text("SET LOCAL work_mem = '64MB'")

_WINDOW = "e.created_at >= :since AND e.created_at < :until"

# A click belongs to the window of its search, and comes after it.
_CLICKS = "SELECT DISTINCT k.search_id FROM search_clicks k WHERE k.clicked_at >= :since"

_TOTALS = sa.text(f"""
    SELECT e.variant, count(*) AS searches, count(*) FILTER (WHERE e.result_count = 0) AS zero_results,
        count(*) FILTER (WHERE e.degraded) AS degraded, count(*) FILTER (WHERE e.anonymous) AS anonymous,
        count(*) FILTER (WHERE e.cache IN ('hit', 'stale')) AS cached, count(clicks.search_id) AS clicked,
        percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY e.latency_ms) AS latencies_ms
    FROM search_events e LEFT JOIN ({_CLICKS}) AS clicks ON clicks.search_id = e.id
    WHERE {_WINDOW} GROUP BY GROUPING SETS ((), (e.variant)) ORDER BY e.variant NULLS FIRST
""")  # noqa: S608 - constants of this module


def _top(condition: str) -> sa.TextClause:
    # Enough searchers in the window itself, not only among all that is kept: a narrow window would else single one out.
    return sa.text(f"""
        WITH by_searcher AS (
            SELECT e.query_hash, count(*) AS searches, count(*) FILTER (WHERE e.result_count = 0) AS zero_results,
                count(clicks.search_id) AS clicked
            FROM search_events e LEFT JOIN ({_CLICKS}) AS clicks ON clicks.search_id = e.id
            WHERE {_WINDOW} AND {condition} GROUP BY e.query_hash, e.searcher_hash
        ), by_query AS (
            SELECT query_hash, CAST(sum(searches) AS bigint) AS searches, count(*) AS searchers,
                CAST(sum(zero_results) AS bigint) AS zero_results, CAST(sum(clicked) AS bigint) AS clicked
            FROM by_searcher GROUP BY query_hash HAVING count(*) >= {MIN_SEARCHERS}
        )
        SELECT p.query_text AS query, q.searches, q.searchers, q.zero_results, q.clicked
        FROM by_query q JOIN popular_searches p USING (query_hash)
        ORDER BY q.searchers DESC, q.searches DESC, p.query_text LIMIT :limit
    """)  # noqa: S608 - constants of this module


_TOP = _top("true")
_TOP_ZERO_RESULTS = _top("e.result_count = 0")

# Few pages have one first rank and length, so ranks are counted per such page and not per search. Materialised, because
# the planner would else ask for each rank anew.
_BY_POSITION = sa.text(f"""
    WITH pages AS MATERIALIZED (
        SELECT e.first_position, e.shown, count(*) AS searches FROM search_events e WHERE {_WINDOW} GROUP BY 1, 2
    ), clicks AS MATERIALIZED (
        SELECT k.position, count(*) AS clicks FROM search_clicks k JOIN search_events e ON e.id = k.search_id
        WHERE {_WINDOW} AND k.clicked_at >= :since AND k.position <= {POSITIONS}
            AND k.position >= e.first_position AND k.position < e.first_position + e.shown GROUP BY 1
    )
    SELECT number AS position, CAST(coalesce((SELECT sum(p.searches) FROM pages p
            WHERE number >= p.first_position AND number < p.first_position + p.shown), 0) AS bigint) AS shown,
        coalesce((SELECT c.clicks FROM clicks c WHERE c.position = number), 0) AS clicks
    FROM generate_series(1, {POSITIONS}) AS number ORDER BY number
""")  # noqa: S608 - constants of this module

_MISSING: Final[Mapping[str, str]] = {
    "overview": "c.overview IS NULL OR c.overview = ''",
    "poster": "c.images ->> 'poster' IS NULL",
    "genres": "c.genres = '{}'",
    "release_year": "c.release_year IS NULL",
    "people": "NOT EXISTS (SELECT FROM credits p WHERE p.content_id = c.id)",
    "maturity_rating": "c.maturity_rating IS NULL",
    "average_rating": "c.average_rating IS NULL",
    "popularity_score": "c.popularity_score IS NULL",
    "offering": "NOT EXISTS (SELECT FROM offerings o WHERE o.content_id = c.id AND o.ended_at IS NULL)",
    "embedding": "NOT EXISTS (SELECT FROM content_vectors v WHERE v.content_id = c.id)",
}

_COMPLETENESS = sa.text(
    "SELECT count(*) AS contents, "  # noqa: S608 - constants of this module
    + ", ".join(f"count(*) FILTER (WHERE {test}) AS {name}" for name, test in _MISSING.items())
    + " FROM contents c WHERE c.removed_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time, its end excluded."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchCounts:
    """Searches of a window, of one variant or (``variant`` is None) of all.

    Attributes
    ----------
    latencies_ms : tuple of float
        50th, 95th and 99th percentile, in milliseconds; empty without searches.
    """

    variant: str | None
    searches: int
    zero_results: int
    degraded: int
    anonymous: int
    cached: int
    clicked: int
    latencies_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryCounts:
    """A popular query of a window."""

    query: str
    searches: int
    searchers: int
    zero_results: int
    clicked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionCounts:
    """How often a result stood at a rank, and how often it was clicked there."""

    position: int
    shown: int
    clicks: int


@dataclass(frozen=True, slots=True)
class Completeness:
    """Contents of the catalogue, and how many of them lack each fact."""

    contents: int
    missing: Mapping[str, int]


class ReportStore:
    """Where reports are read from."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["Snapshot"]:
        """One state of the database, so that the parts of a report agree.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            As `Database`.
        """
        async with self._database.transaction(timeout_ms=REPORT_TIMEOUT_MS) as connection:
            await connection.execute(_ONE_STATE)
            await connection.execute(_MEMORY)
            yield Snapshot(connection)


class Snapshot:
    """The database as it was at one moment."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def counts(self, window: Window) -> list[SearchCounts]:
        """All searches first, then those of each variant."""
        rows = await self._rows(_TOTALS, window)
        return [SearchCounts(**{**row, "latencies_ms": tuple(row["latencies_ms"] or ())}) for row in rows]

    async def top_queries(
        self, window: Window, *, limit: int, zero_results_only: bool = False
    ) -> list[QueryCounts]:
        """Queries of enough different searchers in the window, those of the most first."""
        statement = _TOP_ZERO_RESULTS if zero_results_only else _TOP
        return [QueryCounts(**row) for row in await self._rows(statement, window, limit=limit)]

    async def by_position(self, window: Window) -> list[PositionCounts]:
        """The first `POSITIONS` ranks."""
        return [PositionCounts(**row) for row in await self._rows(_BY_POSITION, window)]

    async def completeness(self) -> Completeness:
        """What the contents lack."""
        row = dict((await self._connection.execute(_COMPLETENESS)).mappings().one())
        return Completeness(row.pop("contents"), row)

    async def _rows(
        self, statement: sa.TextClause, window: Window, **more: int
    ) -> Sequence[Mapping[Any, Any]]:
        values = {"since": window.since, "until": window.until, **more}
        return (await self._connection.execute(statement, values)).mappings().all()
