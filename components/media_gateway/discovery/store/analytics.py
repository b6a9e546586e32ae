"""SQL of search analytics: searches and clicks in batches, with the events that tell of them, and their retention.

`analytics` writes and purges through it. Text of a query reaches the database in one case only: enough different people
have searched for it (`MIN_SEARCHERS`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import orjson
import sqlalchemy as sa

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.postgres.direct import DirectConnection
from media_gateway.core.domain.events import Event
from media_gateway.core.outbox import EVENTS, enqueue_copied
from media_gateway.discovery.search_events import ClickEvent, SearchEvent
from media_gateway.discovery.store.erasure import erased_among

MIN_SEARCHERS = 5
"""Different searchers among the kept events from whom on a query's text is kept and shown (k-anonymity with k = 5): a
name that one family searches for stays unreadable."""

PURGE_LIMIT = 10_000
"""Rows deleted by one statement of the retention: small enough to hold no lock for long."""

TEXTS_LIMIT = 1_000
"""Texts counted again by one statement of the retention."""

# Walks the index (query_hash, searcher_hash) from one searcher to the next, so that somebody who searches for the same
# thing all day costs no more than somebody who did once.
_SEARCHERS = f"""(
    WITH RECURSIVE walk (searcher_hash, number) AS (
        (SELECT e.searcher_hash, 1 FROM search_events e WHERE e.query_hash = candidate.query_hash
            ORDER BY e.searcher_hash LIMIT 1)
        UNION ALL
        SELECT (SELECT e.searcher_hash FROM search_events e WHERE e.query_hash = candidate.query_hash
            AND e.searcher_hash > walk.searcher_hash ORDER BY e.searcher_hash LIMIT 1), walk.number + 1
        FROM walk WHERE walk.searcher_hash IS NOT NULL AND walk.number < {MIN_SEARCHERS}
    )
    SELECT count(searcher_hash) FROM walk
)"""  # noqa: S608 - constants of this module

_INSERT_SEARCHES: Final = """
    INSERT INTO search_events (id, created_at, query_hash, searcher_hash, anonymous, variant, filters, result_count,
        first_position, shown, latency_ms, degraded, cache)
    SELECT id, created_at, query_hash, searcher_hash, anonymous, variant, CAST(filters AS jsonb), result_count,
        first_position, shown, latency_ms, degraded, cache
    FROM unnest($1::uuid[], $2::timestamptz[], $3::bytea[], $4::bytea[], $5::boolean[], $6::text[], $7::text[],
        $8::integer[], $9::integer[], $10::integer[], $11::real[], $12::boolean[], $13::text[])
        AS new (id, created_at, query_hash, searcher_hash, anonymous, variant, filters, result_count,
            first_position, shown, latency_ms, degraded, cache)
    ON CONFLICT (id) DO NOTHING RETURNING id
"""

_PASSING: Final = f"""
    SELECT candidate.query_hash FROM unnest($1::bytea[]) AS candidate (query_hash)
    WHERE NOT EXISTS (SELECT FROM popular_searches p WHERE p.query_hash = candidate.query_hash)
        AND {_SEARCHERS} >= {MIN_SEARCHERS}
"""  # noqa: S608 - constants of this module

_INSERT_TEXTS: Final = """
    INSERT INTO popular_searches (query_hash, query_text) SELECT * FROM unnest($1::bytea[], $2::text[])
    ON CONFLICT (query_hash) DO NOTHING
"""

_INSERT_CLICKS: Final = """
    INSERT INTO search_clicks (search_id, content_id, position, clicked_at)
    SELECT new.* FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::timestamptz[])
        AS new (search_id, content_id, position, clicked_at)
    WHERE EXISTS (SELECT FROM contents c WHERE c.id = new.content_id)
        OR EXISTS (SELECT FROM content_redirects r WHERE r.old_id = new.content_id)
    ON CONFLICT (search_id, content_id) DO NOTHING RETURNING search_id, content_id
"""

# Rows that another process is deleting are left to it.
_PURGES = tuple(
    sa.text(
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("  # noqa: S608 - both names are literals of this statement
        f"SELECT ctid FROM {table} WHERE {column} < now() - :age ORDER BY {column} LIMIT {PURGE_LIMIT} "
        "FOR UPDATE SKIP LOCKED))"
    ).bindparams(sa.bindparam("age", type_=sa.Interval()))
    for table, column in (("search_events", "created_at"), ("search_clicks", "clicked_at"))
)
_PURGE_TEXTS = sa.text(f"""
    WITH candidate AS MATERIALIZED (
        SELECT query_hash FROM popular_searches WHERE query_hash > :after ORDER BY query_hash LIMIT {TEXTS_LIMIT}
    ), gone AS (
        DELETE FROM popular_searches p USING candidate
        WHERE p.query_hash = candidate.query_hash AND {_SEARCHERS} < {MIN_SEARCHERS}
    )
    SELECT query_hash FROM candidate ORDER BY query_hash DESC LIMIT 1
""")  # noqa: S608 - constants of this module


@dataclass(frozen=True, slots=True)
class HashedSearch:
    """A search as it is stored, the text that is stored with it if it is popular, what others are told, and the user.

    ``person`` is the user's pseudonym of `Pseudonyms.erased`, None without a token; it is not stored.
    """

    event: SearchEvent
    text: str
    query_hash: bytes
    searcher_hash: bytes
    announcement: Event
    person: bytes | None


@dataclass(frozen=True, slots=True)
class AnnouncedClick:
    """A click, what others are told of it, and the user as in `HashedSearch`."""

    event: ClickEvent
    announcement: Event
    person: bytes | None

    @property
    def key(self) -> tuple[UUID, UUID]:
        """What makes two clicks one."""
        return self.event.search_id, self.event.content_id


@dataclass(frozen=True, slots=True)
class Written:
    """What was new of a batch: searches, and clicks on contents that are or were in the catalogue."""

    searches: int
    clicks: int


class AnalyticsStore:
    """Writes events; every method raises `UnavailableError` or `DeadlineExceededError` as `Database` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, searches: Sequence[HashedSearch], clicks: Sequence[AnnouncedClick]) -> Written:
        """Store a batch, and announce what is new of it, in one transaction. Repeating it changes nothing.

        What erased people did is left out.
        """
        named = [*(search.person for search in searches), *(click.person for click in clicks)]
        people = {person for person in named if person is not None}
        async with self._database.transaction() as connection:
            direct = await DirectConnection.under(connection)
            erased = await erased_among(direct, people)
            searches = [search for search in searches if search.person not in erased]
            clicks = [click for click in clicks if click.person not in erased]
            new_searches = await _insert_searches(direct, searches)
            new_clicks = await _insert_clicks(direct, clicks)
            if new_searches:
                await _keep_popular_texts(direct, searches)
            events = [search.announcement for search in searches if search.event.search_id in new_searches]
            events += [click.announcement for key, click in _by_key(clicks).items() if key in new_clicks]
            await enqueue_copied(direct, [(EVENTS, event.key, event.to_json()) for event in events])
        return Written(len(new_searches), len(new_clicks))

    async def purge(self, age: timedelta) -> int:
        """Delete up to `PURGE_LIMIT` events of each kind that are older; returns the most of one kind."""
        async with self._database.transaction() as connection:
            counts = [(await connection.execute(statement, {"age": age})).rowcount for statement in _PURGES]
        return max(counts)

    async def purge_texts(self) -> None:
        """Delete the texts of queries that are no longer popular among the kept events."""
        after: bytes | None = b""
        while after is not None:
            async with self._database.transaction() as connection:
                after = (await connection.execute(_PURGE_TEXTS, {"after": after})).scalar_one_or_none()


async def _insert_searches(connection: DirectConnection, searches: Sequence[HashedSearch]) -> set[UUID]:
    if not searches:
        return set()
    events = [search.event for search in searches]
    columns = (
        [event.search_id for event in events],
        [event.created_at for event in events],
        [search.query_hash for search in searches],
        [search.searcher_hash for search in searches],
        [event.searcher.subject is None for event in events],
        [event.variant for event in events],
        [orjson.dumps(event.filters).decode() for event in events],
        [event.result_count for event in events],
        [event.first_position for event in events],
        [event.shown for event in events],
        [event.latency_ms for event in events],
        [event.degraded for event in events],
        [event.cache for event in events],
    )
    return {row["id"] for row in await connection.fetch(_INSERT_SEARCHES, *columns)}


async def _keep_popular_texts(connection: DirectConnection, searches: Sequence[HashedSearch]) -> None:
    # In one order everywhere, so that two transactions never wait for each other.
    texts = dict(sorted((search.query_hash, search.text) for search in searches))
    passing = {row["query_hash"] for row in await connection.fetch(_PASSING, list(texts))}
    if passing:
        kept = {query_hash: text for query_hash, text in texts.items() if query_hash in passing}
        await connection.execute(_INSERT_TEXTS, list(kept), list(kept.values()))


async def _insert_clicks(
    connection: DirectConnection, clicks: Sequence[AnnouncedClick]
) -> set[tuple[UUID, UUID]]:
    if not clicks:
        return set()
    ordered = [click.event for _, click in sorted(_by_key(clicks).items())]
    columns = (
        [click.search_id for click in ordered],
        [click.content_id for click in ordered],
        [click.position for click in ordered],
        [click.created_at for click in ordered],
    )
    rows = await connection.fetch(_INSERT_CLICKS, *columns)
    return {(row["search_id"], row["content_id"]) for row in rows}


def _by_key(clicks: Sequence[AnnouncedClick]) -> dict[tuple[UUID, UUID], AnnouncedClick]:
    """One of each, the first that came, in the order in which they came."""
    first = dict[tuple[UUID, UUID], AnnouncedClick]()
    for click in clicks:
        first.setdefault(click.key, click)
    return first
