"""SQL of erasure: all that discovery keeps of a person, and the note that the person is erased.

Writers of people's data ask `erased_among` in their transaction. The lock it shares makes the note wait for them, so what
is written before the note is there to be deleted after it, and nothing is written later.
"""

from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.postgres.direct import DirectConnection
from media_gateway.discovery.pseudonyms import Pseudonyms
from media_gateway.discovery.search_events import Searcher

QUERIES_AT_ONCE = 500
"""Queries hashed for the person between two turns of the event loop, and looked up by one statement."""

CONTENTS_AT_ONCE = 250
"""Contents hashed likewise, with each day of which votes are kept."""

TIMEOUT_MS = 30_000
"""Longest a statement may take: nobody waits for it."""

NOBODY = "deleted account"
"""Author of ranking versions whose author is erased."""

_SHARED: Final = "SELECT pg_advisory_xact_lock_shared(hashtextextended('media-gateway erasure', 0))"
_ALONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended('media-gateway erasure', 0))"
_ERASED: Final = "SELECT person FROM erased_people WHERE person = ANY($1::bytea[])"
_NOTE: Final = "INSERT INTO erased_people (person) VALUES ($1) ON CONFLICT DO NOTHING"
_FORGET_NOTES: Final = "DELETE FROM erased_people WHERE erased_at < now() - $1::interval"

_QUERIES: Final = f"""
    SELECT DISTINCT query_hash FROM search_events WHERE query_hash > $1 ORDER BY query_hash LIMIT {QUERIES_AT_ONCE}
"""  # noqa: S608 - constants of this module
_ERASE_SEARCHES: Final = """
    WITH gone AS (
        DELETE FROM search_events e USING unnest($1::bytea[], $2::bytea[]) AS own (query_hash, searcher_hash)
        WHERE e.query_hash = own.query_hash AND e.searcher_hash = own.searcher_hash RETURNING e.id
    )
    DELETE FROM search_clicks c USING gone WHERE c.search_id = gone.id
"""

_DAYS: Final = "SELECT DISTINCT day FROM activity_votes"
# Votes are for the id that a content had on that day, or for what has taken it in since.
_CONTENTS: Final = f"""
    SELECT id FROM (
        (SELECT content_id AS id FROM content_activity WHERE content_id > $1 AND region = '001'
            ORDER BY content_id LIMIT {CONTENTS_AT_ONCE})
        UNION (SELECT old_id FROM content_redirects WHERE old_id > $1 ORDER BY old_id LIMIT {CONTENTS_AT_ONCE})
    ) AS known ORDER BY id LIMIT {CONTENTS_AT_ONCE}
"""  # noqa: S608 - constants of this module
_ERASE_VOTES: Final = """
    DELETE FROM activity_votes v USING unnest($1::date[], $2::bytea[]) AS own (day, vote)
    WHERE v.day = own.day AND v.vote = own.vote
"""

_ERASE_REJECTED: Final = "DELETE FROM outbox_rejected WHERE key = $1"
_ERASE_AUTHOR: Final = "UPDATE ranking_versions SET author = $2 WHERE author = $1"


async def erased_among(connection: DirectConnection, people: Collection[bytes]) -> set[bytes]:
    """Those of the people (`Pseudonyms.erased`) that are erased; no other is until the transaction ends."""
    if not people:
        return set()
    # Two statements: the second one sees what was committed while the first one waited.
    await connection.execute(_SHARED)
    return {row["person"] for row in await connection.fetch(_ERASED, list(people))}


class ErasureStore:
    """Deletes; every method raises `UnavailableError` or `DeadlineExceededError` as `Database` does."""

    def __init__(self, database: Database, pseudonyms: Pseudonyms) -> None:
        self._database = database
        self._pseudonyms = pseudonyms

    async def erase(self, user_id: str) -> None:
        """Delete everything of a user, in many small transactions. Repeating it changes nothing."""
        await self._run((_ALONE,), (_NOTE, self._pseudonyms.erased(f"user:{user_id}")))
        await self._erase_searches(user_id)
        await self._erase_votes(user_id)
        await self._run((_ERASE_REJECTED, user_id), (_ERASE_AUTHOR, user_id, NOBODY))

    async def forget(self, age: timedelta) -> None:
        """Delete notes about people erased for longer."""
        await self._run((_FORGET_NOTES, age))

    async def _erase_searches(self, user_id: str) -> None:
        searcher, after = Searcher(subject=user_id), b""
        while queries := [row["query_hash"] for row in await self._fetch(_QUERIES, after)]:
            own = [self._pseudonyms.searcher(query, searcher) for query in queries]
            await self._run((_ERASE_SEARCHES, queries, own))
            after = queries[-1]

    async def _erase_votes(self, user_id: str) -> None:
        days = [row["day"] for row in await self._fetch(_DAYS)]
        after = UUID(int=0)
        while contents := [row["id"] for row in await self._fetch(_CONTENTS, after)]:
            votes = self._votes(days, contents, f"user:{user_id}")
            await self._run((_ERASE_VOTES, [day for day, _ in votes], [vote for _, vote in votes]))
            after = contents[-1]

    def _votes(self, days: Sequence[date], contents: Sequence[UUID], person: str) -> list[tuple[date, bytes]]:
        return [
            (day, self._pseudonyms.vote(day, UUID(str(content_id)), person))
            for day in days
            for content_id in contents
        ]

    async def _fetch(self, statement: str, *arguments: object) -> Sequence[Any]:
        async with self._database.transaction(timeout_ms=TIMEOUT_MS) as connection:
            direct = await DirectConnection.under(connection)
            return await direct.fetch(statement, *arguments)

    async def _run(self, *statements: tuple[object, ...]) -> None:
        async with self._database.transaction(timeout_ms=TIMEOUT_MS) as connection:
            direct = await DirectConnection.under(connection)
            for statement, *arguments in statements:
                await direct.execute(str(statement), *arguments)
