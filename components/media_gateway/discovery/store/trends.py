"""SQL of what is in demand: the contents with most activity, and the catalogue's standing of contents. Never writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import log2
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from media_gateway.core.adapters.postgres import Database
from media_gateway.discovery.activity import WORLD
from media_gateway.discovery.decay import HALF_LIVES, USUAL_HALF_LIFE, Window, count, exponent
from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.store.catalogue import IN_EFFECT, as_uuid, read_contents

HALF_LIFE_YEARS = 6.0
"""Years after which a film's standing counts half."""

UNKNOWN_AGE_YEARS = 50.0
"""Age of a content without a release year."""

ACTIVE_LIMIT = 1_000
"""Most active contents that are looked at, before kind and offerings are asked for. It bounds the time of a question: who
asks for a hundred of a rare kind gets those among them, then the catalogue's. What is not among them is no trend."""

LEAST_COUNT = 1 / 16
"""Decayed count below which a content is not active: a click, two window lengths ago."""

# In double precision throughout: the numeric type, which times and decimal constants lead to, takes ten times as long.
_STANDING: Final = f"""coalesce(c.popularity_score, 0) * power(CAST(0.5 AS float8), greatest(0, coalesce(
    CAST(CAST(now() AT TIME ZONE 'UTC' AS date) - coalesce(c.release_date, make_date(c.release_year, 7, 1)) AS float8) / 365.25,
    {UNKNOWN_AGE_YEARS})) / {HALF_LIFE_YEARS})"""

_WANTED: Final = (
    """c.removed_at IS NULL AND (CAST(:content_type AS text) IS NULL OR c.content_type = :content_type)"""
)

_SCORED: Final = f"""
    SELECT c.id, {_STANDING} AS standing FROM contents c WHERE {_WANTED} ORDER BY standing DESC, c.id
"""  # noqa: S608 - constants of this module

_BEST = sa.text(f"{_SCORED} LIMIT :limit")

# The best are looked up one by one until enough are offered there; all offerings are a hundred times more rows. A row
# limit inside makes it so: without one the planner joins everything first.
_BEST_IN_REGION = sa.text(f"""
    SELECT c.id, c.standing FROM ({_SCORED}) c
    CROSS JOIN LATERAL (
        SELECT 1 FROM offerings o WHERE o.content_id = c.id AND o.region = :region AND {IN_EFFECT} LIMIT 1) AS here
    ORDER BY c.standing DESC, c.id LIMIT :limit
""")  # noqa: S608 - constants of this module

_STANDINGS = sa.text(f"""
    SELECT c.id, {_STANDING} AS standing FROM contents c
    WHERE c.id = ANY(:ids) AND {_WANTED} AND (CAST(:region AS text) IS NULL OR EXISTS (
        SELECT FROM offerings o WHERE o.content_id = c.id AND o.region = :region AND {IN_EFFECT}))
""")  # noqa: S608 - constants of this module

# The index of the window's level gives the rows in order, and no more of them than are looked at.
_MOST_ACTIVE: Final = {
    window: sa.text(f"""
        SELECT content_id, {window}_level AS level, usual_level FROM content_activity
        WHERE region = :area AND {window}_level > :least ORDER BY {window}_level DESC LIMIT {ACTIVE_LIMIT}
    """)  # noqa: S608 - constants of this module
    for window in Window
}


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose demand for what: activity in a region for contents offered there now, or in the world; None asks nothing."""

    region: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Active:
    """A content that people do something with, and its decayed counts: of a window, and of the time that says what is usual."""

    content_id: UUID
    counted: float
    usual: float


class TrendStore:
    """Reads demand; every method raises `UnavailableError` or `DeadlineExceededError` as `Database` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def most_active(self, window: Window, region: str | None) -> list[Active]:
        """The `ACTIVE_LIMIT` contents that most is done with in a region or in the world, whatever they are, the first first."""
        now = datetime.now(UTC)
        parameters = {
            "area": region or WORLD,
            "least": log2(LEAST_COUNT) + exponent(now, HALF_LIVES[window]),
        }
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_MOST_ACTIVE[window], parameters)).all()
        return [
            Active(
                as_uuid(row.content_id),
                count(row.level, now, HALF_LIVES[window]),
                count(row.usual_level, now, USUAL_HALF_LIFE),
            )
            for row in rows
        ]

    async def standings(self, content_ids: Sequence[UUID], scope: Scope) -> dict[UUID, float]:
        """Standing in the catalogue of those contents that are in the scope.

        It is the popularity with age counted against it (half in `HALF_LIFE_YEARS`), 0 to 1.
        """
        parameters = {
            "ids": list(content_ids),
            "content_type": scope.content_type,
            "region": scope.region,
        }
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_STANDINGS, parameters)).all()
        return {as_uuid(row.id): row.standing for row in rows}

    async def best(self, scope: Scope, *, limit: int) -> dict[UUID, float]:
        """The contents of the scope with the highest standing, best first, and their standing."""
        parameters: dict[str, Any] = {"content_type": scope.content_type, "limit": limit}
        statement = _BEST
        if scope.region is not None:
            parameters["region"], statement = scope.region, _BEST_IN_REGION
        async with self._database.transaction() as connection:
            rows = (await connection.execute(statement, parameters)).all()
        return {as_uuid(row.id): row.standing for row in rows}

    async def contents(self, content_ids: Sequence[UUID]) -> dict[UUID, IndexedContent]:
        """Those of the ids that are in the catalogue now."""
        async with self._database.transaction() as connection:
            return {content.content_id: content for content in await read_contents(connection, content_ids)}
