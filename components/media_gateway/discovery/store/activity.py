"""SQL of activity: decayed counts by content and region, and who has been counted. `activity_feed` writes through it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import log2
from typing import Final
from uuid import UUID

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.postgres.direct import DirectConnection
from media_gateway.core.consumed import not_yet_consumed
from media_gateway.discovery.activity import Interaction
from media_gateway.discovery.decay import USUAL_HALF_LIFE, Levels, exponent
from media_gateway.discovery.pseudonyms import Pseudonyms
from media_gateway.discovery.store.erasure import erased_among

CONSUMER = "discovery activity"
"""Name under which events are marked as counted."""

FORGOTTEN_COUNT = 1 / 16
"""What is left of a count when its row goes: a single click after four half-lives of 45 days."""

PURGE_LIMIT = 10_000
"""Rows deleted by one statement: small enough to hold no lock for long."""

BATCH_TIMEOUT_MS = 30_000
"""Longest a statement may take: nobody waits for it, so it may outlast a request's limit."""

_CURRENT: Final = """
    SELECT asked.id, coalesce(r.content_id, c.id) AS current FROM unnest($1::uuid[]) AS asked (id)
    LEFT JOIN contents c ON c.id = asked.id LEFT JOIN content_redirects r ON r.old_id = asked.id
    WHERE c.id IS NOT NULL OR r.old_id IS NOT NULL
"""

# Rows are locked in one order everywhere, so that two transactions don't wait for each other.
_NEW_VOTES: Final = """
    INSERT INTO activity_votes (day, vote, weight)
    SELECT * FROM unnest($1::date[], $2::bytea[], $3::real[]) ORDER BY 1, 2
    ON CONFLICT (day, vote) DO NOTHING RETURNING day, vote
"""
_RAISED_VOTES: Final = """
    UPDATE activity_votes v SET weight = raised.weight FROM (
        SELECT o.day, o.vote, o.weight AS before, new.weight
        FROM unnest($1::date[], $2::bytea[], $3::real[]) AS new (day, vote, weight)
        JOIN activity_votes o ON o.day = new.day AND o.vote = new.vote ORDER BY o.day, o.vote FOR UPDATE OF o
    ) raised
    WHERE v.day = raised.day AND v.vote = raised.vote AND raised.before < raised.weight
    RETURNING v.day, v.vote, raised.weight - raised.before AS gain
"""

# As `decay.added`. Powers that vanish are an error in SQL; 2^-64 is nothing beside 1 already.
_LEVELS: Final = [f"{name}_level" for name in Levels._fields]
_ADD: Final = f"""
    INSERT INTO content_activity AS old (content_id, region, {", ".join(_LEVELS)})
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::float8[], $4::float8[], $5::float8[], $6::float8[])
    ORDER BY 1, 2
    ON CONFLICT (content_id, region) DO UPDATE SET {
    ", ".join(
        f"{name} = greatest(old.{name}, excluded.{name}) + "
        f"ln(1 + power(CAST(2 AS float8), -least(abs(old.{name} - excluded.{name}), 64))) / ln(CAST(2 AS float8))"
        for name in _LEVELS
    )
}
"""  # noqa: S608 - constants of this module

_TAKE_MERGED: Final = f"""
    DELETE FROM content_activity a USING content_redirects r
    WHERE a.content_id = r.old_id {{}}
    RETURNING r.content_id AS survivor, a.region, {", ".join(f"a.{name}" for name in _LEVELS)}
"""  # noqa: S608 - constants of this module
_TAKE_ALL_MERGED: Final = _TAKE_MERGED.format("")
_TAKE_THESE_MERGED: Final = _TAKE_MERGED.format("AND r.old_id = ANY($1::uuid[])")

_PURGE_VOTES: Final = f"""
    DELETE FROM activity_votes WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM activity_votes WHERE day < $1 LIMIT {PURGE_LIMIT} FOR UPDATE SKIP LOCKED))
"""  # noqa: S608 - constants of this module
_PURGE_ACTIVITY: Final = f"""
    DELETE FROM content_activity WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM content_activity WHERE usual_level < $1 LIMIT {PURGE_LIMIT} FOR UPDATE SKIP LOCKED))
"""  # noqa: S608 - constants of this module

Vote = tuple[date, bytes]
Place = tuple[UUID, str]


@dataclass(frozen=True, slots=True)
class Folded:
    """What became of a batch of interactions.

    Attributes
    ----------
    counted : int
        Those that count, wholly or for what they say more than an earlier one of the same person.
    repeated : int
        Those that had been counted before.
    capped : int
        Those of somebody who has counted for that content on that day already.
    unknown : int
        Those with contents that never were in the catalogue.
    erased : int
        Those of people whose accounts are deleted.
    """

    counted: int = 0
    repeated: int = 0
    capped: int = 0
    unknown: int = 0
    erased: int = 0


class ActivityStore:
    """Adds to the counts; every method raises `UnavailableError` or `DeadlineExceededError` as `Database` does.

    Parameters
    ----------
    pseudonyms
        What stands for people in the database.
    """

    def __init__(self, database: Database, pseudonyms: Pseudonyms) -> None:
        self._database = database
        self._pseudonyms = pseudonyms

    async def fold(self, interactions: Sequence[Interaction]) -> Folded:
        """Count interactions, and remember that they are counted, in one transaction. Repeating it changes nothing.

        Of what one person does with one content on one day (UTC) only the weightiest counts.
        """
        events = {one.event_id: one for one in interactions}
        async with self._database.transaction(timeout_ms=BATCH_TIMEOUT_MS) as connection:
            fresh = await not_yet_consumed(connection, CONSUMER, list(events))
            direct = await DirectConnection.under(connection)
            erased = await erased_among(direct, {self._person(one) for one in events.values()})
            kept = [one for key, one in events.items() if key in fresh and self._person(one) not in erased]
            known = await _with_current_ids(direct, kept)
            votes = self._votes(known)
            gains = await _vote(direct, votes)
            await _add(direct, _levels(votes, gains))
        return Folded(
            counted=len(gains),
            repeated=len(interactions) - len(fresh),
            erased=len(fresh) - len(kept),
            capped=len(known) - len(gains),
            unknown=len(kept) - len(known),
        )

    async def move_merged(self, old_ids: Sequence[UUID] | None = None) -> int:
        """Let the counts of contents that were merged away count for those that took them in; says how many rows moved.

        Parameters
        ----------
        old_ids
            Ids that were merged away; all that there are if None.
        """
        async with self._database.transaction(timeout_ms=BATCH_TIMEOUT_MS) as connection:
            direct = await DirectConnection.under(connection)
            if old_ids is None:
                gone = await direct.fetch(_TAKE_ALL_MERGED)
            else:
                gone = await direct.fetch(_TAKE_THESE_MERGED, list(old_ids))
            levels: dict[Place, Levels] = {}
            for survivor, region, *of_row in gone:
                _put(levels, (survivor, region), Levels(*of_row))
            await _add(direct, levels)
        return len(gone)

    async def purge(self, now: datetime, *, votes_kept: timedelta) -> int:
        """Delete votes of days that are over for longer, and counts that have faded to nothing; says how many rows."""
        faded = log2(FORGOTTEN_COUNT) + exponent(now, USUAL_HALF_LIFE)
        # The day on which the oldest event that still counts may have happened stays.
        day = (now - votes_kept).astimezone(UTC).date()
        return await self._purge(_PURGE_VOTES, day) + await self._purge(_PURGE_ACTIVITY, faded)

    async def _purge(self, statement: str, limit: date | float) -> int:
        total, gone = 0, PURGE_LIMIT
        while gone >= PURGE_LIMIT:
            async with self._database.transaction(timeout_ms=BATCH_TIMEOUT_MS) as connection:
                direct = await DirectConnection.under(connection)
                gone = await direct.execute(statement, limit)
            total += gone
        return total

    def _person(self, one: Interaction) -> bytes:
        return self._pseudonyms.erased(one.person)

    def _votes(self, interactions: Iterable[Interaction]) -> dict[Vote, Interaction]:
        """The weightiest interaction of each person with each content on each day, the first of equals."""
        votes: dict[Vote, Interaction] = {}
        for one in sorted(interactions, key=lambda one: (-one.weight, one.at)):
            day = one.at.astimezone(UTC).date()
            votes.setdefault((day, self._pseudonyms.vote(day, one.content_id, one.person)), one)
        return votes


async def _with_current_ids(
    connection: DirectConnection, interactions: Sequence[Interaction]
) -> list[Interaction]:
    """The interactions with contents that are or were in the catalogue, by the ids that the contents have now."""
    if not interactions:
        return []
    ids = list({one.content_id for one in interactions})
    current: Mapping[UUID, UUID] = {
        row["id"]: row["current"] for row in await connection.fetch(_CURRENT, ids)
    }
    return [
        one if current[one.content_id] == one.content_id else one.with_content(current[one.content_id])
        for one in interactions
        if one.content_id in current
    ]


async def _vote(connection: DirectConnection, votes: Mapping[Vote, Interaction]) -> dict[Vote, float]:
    """Put votes down; the weight that each has won by it, of those that have."""
    if not votes:
        return {}
    new = await connection.fetch(_NEW_VOTES, *_columns(votes))
    gains: dict[Vote, float] = {
        (row["day"], row["vote"]): votes[row["day"], row["vote"]].weight for row in new
    }
    again = {vote: one for vote, one in votes.items() if vote not in gains}
    if again:
        raised = await connection.fetch(_RAISED_VOTES, *_columns(again))
        gains |= {(row["day"], row["vote"]): row["gain"] for row in raised}
    return gains


def _columns(votes: Mapping[Vote, Interaction]) -> tuple[list[date], list[bytes], list[float]]:
    return [day for day, _ in votes], [vote for _, vote in votes], [one.weight for one in votes.values()]


def _levels(votes: Mapping[Vote, Interaction], gains: Mapping[Vote, float]) -> dict[Place, Levels]:
    levels: dict[Place, Levels] = {}
    for vote, gain in gains.items():
        for region in votes[vote].regions:
            _put(levels, (votes[vote].content_id, region), Levels.of(gain, votes[vote].at))
    return levels


def _put(levels: dict[Place, Levels], place: Place, more: Levels) -> None:
    levels[place] = levels[place].plus(more) if place in levels else more


async def _add(connection: DirectConnection, levels: Mapping[Place, Levels]) -> None:
    if levels:
        places = ([content_id for content_id, _ in levels], [region for _, region in levels])
        await connection.execute(
            _ADD, *places, *(list(column) for column in zip(*levels.values(), strict=True))
        )
