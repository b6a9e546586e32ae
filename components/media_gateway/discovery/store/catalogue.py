"""Discovery's reading of the catalogue in Postgres. Called by the service and the index feed; never writes.

Contents that were removed are invisible here; ids that were merged away lead to the content that took them in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.content import CanonicalContent, Offering
from media_gateway.core.errors import NotFoundError
from media_gateway.discovery.documents import (
    AvailabilitySummary,
    ContentDetails,
    Expiring,
    IndexedContent,
    ListedOffering,
    Offer,
    Person,
)
from media_gateway.discovery.fingerprint import Fingerprint

PEOPLE_LIMIT = 100
"""People of one content that can be searched for. Many catalogues list a cast by alphabet, so a short list would lose
stars; a longer one is a crowd."""

BULK_TIMEOUT_MS = 30_000
"""Longest a statement of the index feed may take: nobody waits for it, so it may outlast a request's limit."""

IN_EFFECT = """o.ended_at IS NULL AND (o.available_from IS NULL OR o.available_from <= now())
    AND (o.available_until IS NULL OR o.available_until > now())"""
"""Condition on an offering ``o`` that one can watch by now."""

_FOLLOW = sa.text("""
    WITH RECURSIVE hops (id, hop) AS (
        SELECT CAST(:content_id AS uuid), 0
        UNION ALL
        SELECT r.content_id, hops.hop + 1 FROM content_redirects r JOIN hops ON r.old_id = hops.id WHERE hops.hop < 16
    )
    SELECT c.id, c.removed_at FROM hops LEFT JOIN contents c ON c.id = hops.id ORDER BY hops.hop DESC LIMIT 1
""")

# To JSON and back, because the text form of `real` is its shortest: 0.9 instead of 0.8999999761581421.
_DETAILS = sa.text(f"""
    SELECT to_jsonb(c) AS facts,
        (SELECT jsonb_agg(to_jsonb(p) - 'content_id' ORDER BY p.role, p.position) FROM credits p WHERE p.content_id = c.id)
            AS credits,
        (SELECT jsonb_agg(jsonb_build_array(e.id_type, e.id_value) ORDER BY e.id_type, e.id_value) FROM external_ids e
            WHERE e.content_id = c.id) AS external_ids,
        (SELECT jsonb_build_object('offerings', count(*), 'demo', coalesce(bool_or(o.demo), false),
                'platforms', coalesce(jsonb_agg(DISTINCT o.platform), '[]'),
                'regions', coalesce(jsonb_agg(DISTINCT o.region), '[]'))
            FROM offerings o WHERE o.content_id = c.id AND {IN_EFFECT}) AS availability
    FROM contents c WHERE c.id = :id
""")  # noqa: S608 - constants of this module

_OFFERINGS = sa.text(f"""
    SELECT to_jsonb(o) - 'content_id' AS offering FROM offerings o
    WHERE o.content_id = :id AND (CAST(:region AS text) IS NULL OR o.region = :region)
        AND (CAST(:platform AS text) IS NULL OR o.platform = :platform) AND (:include_ended OR ({IN_EFFECT}))
    ORDER BY o.platform, o.region, o.availability_type, o.source
""")  # noqa: S608 - constants of this module

# In hours, for a day of the server's time zone may have 23 or 25. Popular contents first among those that end at one moment: catalogues end many on the last day of a month.
_EXPIRING = sa.text(f"""
    SELECT o.content_id, o.platform, o.region, o.availability_type, min(o.available_until) AS available_until
    FROM offerings o JOIN contents c ON c.id = o.content_id
    WHERE {IN_EFFECT} AND o.available_until <= now() + make_interval(hours => 24 * :days) AND c.removed_at IS NULL
        AND (CAST(:region AS text) IS NULL OR o.region = :region)
        AND (CAST(:platform AS text) IS NULL OR o.platform = :platform)
    GROUP BY o.content_id, o.platform, o.region, o.availability_type, c.popularity_score
    ORDER BY min(o.available_until), c.popularity_score DESC NULLS LAST, o.content_id, o.platform, o.region,
        o.availability_type
    LIMIT :limit
""")  # noqa: S608 - constants of this module

_BILLING = "array_position(ARRAY['director', 'actor', 'writer', 'producer'], role), position"

_REVISION = "CAST(extract(epoch FROM updated_at) * 1000000 AS bigint)"

_REVISIONS = sa.text(f"""
    SELECT id, {_REVISION} AS revision FROM contents
    WHERE removed_at IS NULL AND (CAST(:after AS uuid) IS NULL OR id > :after) ORDER BY id LIMIT :limit
""")  # noqa: S608 - constants of this module

# As `fingerprint.checksum_of`.
_FINGERPRINT = sa.text(f"""
    SELECT count(*) AS contents, coalesce(bit_xor(CAST(CAST(
        'x' || encode(substr(sha256(uuid_send(id) || int8send({_REVISION})), 1, 8), 'hex') AS bit(64)) AS bigint)), 0) AS checksum
    FROM contents WHERE removed_at IS NULL
""")  # noqa: S608 - constants of this module

_CONTENTS = sa.text(f"""
    SELECT id, {_REVISION} AS revision, content_type, title, original_title, alternate_titles, overview, release_year,
        genres, keywords, popularity_score, average_rating, maturity_rating, original_language, audio_languages,
        images ->> 'poster' AS poster
    FROM contents WHERE id = ANY(:ids) AND removed_at IS NULL
""")  # noqa: S608 - constants of this module

# One row a content: hundreds of thousands of credits are a few seconds' work for the driver if each is a row.
_PEOPLE = sa.text(f"""
    SELECT content_id, array_agg(role ORDER BY {_BILLING}) AS roles, array_agg(name ORDER BY {_BILLING}) AS names
    FROM credits WHERE content_id = ANY(:ids) GROUP BY content_id
""")  # noqa: S608 - constants of this module

# One row a content here, too: a film can have hundreds of offerings.
_OFFERS = sa.text(f"""
    SELECT o.content_id, array_agg(DISTINCT o.platform ORDER BY o.platform) AS platforms,
        array_agg(DISTINCT o.platform) FILTER (WHERE NOT o.demo) AS real_platforms,
        array_agg(DISTINCT o.platform || '|' || o.region || '|' || o.availability_type) AS offers
    FROM offerings o WHERE o.content_id = ANY(:ids) AND {IN_EFFECT} GROUP BY o.content_id
""")  # noqa: S608 - constants of this module

_TURNED = sa.text("""
    SELECT DISTINCT content_id FROM offerings WHERE ended_at IS NULL
        AND (available_from > :since AND available_from <= :until OR available_until > :since AND available_until <= :until)
""")


class ContentRemovedError(NotFoundError):
    """The content was in the catalogue once and is no more."""

    code: ClassVar[str] = "content_removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferingFilter:
    """Which offerings are wanted; None asks nothing.

    Attributes
    ----------
    include_ended : bool
        Also those not in effect now: no longer listed, over, or not begun.
    """

    region: str | None = None
    platform: str | None = None
    include_ended: bool = False


class CatalogueReader:
    """Reads contents; every method raises `UnavailableError` or `DeadlineExceededError` as `Database` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def details(self, content_id: UUID) -> ContentDetails:
        """Everything about a content.

        Raises
        ------
        NotFoundError
            There is no such content; `ContentRemovedError` if there was.
        """
        async with self._database.transaction() as connection:
            current = await _current_id(connection, content_id)
            row = (await connection.execute(_DETAILS, {"id": current})).mappings().one()
        return _details(row)

    async def offerings(self, content_id: UUID, wanted: OfferingFilter) -> tuple[UUID, list[ListedOffering]]:
        """The content's present id and its offerings, by platform and region.

        Raises
        ------
        NotFoundError
            As `details`.
        """
        parameters = {
            "region": wanted.region,
            "platform": wanted.platform,
            "include_ended": wanted.include_ended,
        }
        async with self._database.transaction() as connection:
            current = await _current_id(connection, content_id)
            rows = (await connection.execute(_OFFERINGS, {"id": current, **parameters})).scalars().all()
        return current, [_offering(_json(row)) for row in rows]

    async def expiring(
        self, *, days: int, limit: int, region: str | None, platform: str | None
    ) -> list[Expiring]:
        """Offerings in effect that end within so many days, the soonest first."""
        parameters = {"days": days, "limit": limit, "region": region, "platform": platform}
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_EXPIRING, parameters)).all()
            ids = list({row.content_id for row in rows})
            contents = {content.content_id: content for content in await read_contents(connection, ids)}
        return [
            Expiring(
                contents[row.content_id], row.platform, row.region, row.availability_type, row.available_until
            )
            for row in rows
            if row.content_id in contents
        ]

    async def current_id(self, content_id: UUID) -> UUID:
        """The id a content has now: that of the content that took it in, if it was merged.

        Raises
        ------
        NotFoundError
            As `details`.
        """
        async with self._database.transaction() as connection:
            return await _current_id(connection, content_id)

    async def contents(self, content_ids: Sequence[UUID]) -> list[IndexedContent]:
        """Those of the ids that are in the catalogue now, in any order."""
        async with self._database.transaction(timeout_ms=BULK_TIMEOUT_MS) as connection:
            return await read_contents(connection, content_ids)

    async def revisions(self, after: UUID | None, *, limit: int) -> list[tuple[UUID, int]]:
        """Ids and revisions of the contents that follow an id, in the order of ids; empty at the end."""
        async with self._database.transaction(timeout_ms=BULK_TIMEOUT_MS) as connection:
            rows = (await connection.execute(_REVISIONS, {"after": after, "limit": limit})).all()
        return [(as_uuid(row.id), row.revision) for row in rows]

    async def fingerprint(self) -> Fingerprint:
        """Of all contents and their revisions; read in a fifth of the time of `revisions`, and sent as two numbers."""
        async with self._database.transaction(timeout_ms=BULK_TIMEOUT_MS) as connection:
            row = (await connection.execute(_FINGERPRINT)).one()
        return Fingerprint(row.contents, row.checksum)

    async def turned_between(self, since: datetime, until: datetime) -> list[UUID]:
        """Ids of contents of which an offering came into effect or went out of it by the clock alone."""
        async with self._database.transaction(timeout_ms=BULK_TIMEOUT_MS) as connection:
            rows = await connection.execute(_TURNED, {"since": since, "until": until})
            return [as_uuid(content_id) for content_id in rows.scalars()]


async def _current_id(connection: AsyncConnection, content_id: UUID) -> UUID:
    row = (await connection.execute(_FOLLOW, {"content_id": content_id})).one()
    if row.id is None:
        raise NotFoundError(f"there is no content {content_id}")
    if row.removed_at is not None:
        raise ContentRemovedError(f"content {content_id} was removed from the catalogue")
    return as_uuid(row.id)


async def read_contents(connection: AsyncConnection, content_ids: Sequence[UUID]) -> list[IndexedContent]:
    """Those of the ids that are in the catalogue now, in any order."""
    wanted = {"ids": list(content_ids)}
    rows = (await connection.execute(_CONTENTS, wanted)).all()
    people = {
        content_id: tuple(map(_person, roles[:PEOPLE_LIMIT], names[:PEOPLE_LIMIT]))
        for content_id, roles, names in await connection.execute(_PEOPLE, wanted)
    }
    offers = {row.content_id: row for row in await connection.execute(_OFFERS, wanted)}
    return [_indexed(row, people.get(row.id, ()), offers.get(row.id)) for row in rows]


def _indexed(row: sa.Row[Any], people: tuple[Person, ...], offered: sa.Row[Any] | None) -> IndexedContent:
    languages = (row.original_language, *row.audio_languages)
    real = set((offered.real_platforms or ()) if offered else ())
    return IndexedContent(
        content_id=as_uuid(row.id),
        revision=row.revision,
        content_type=row.content_type,
        title=row.title,
        original_title=row.original_title,
        alternate_titles=tuple((_json(row.alternate_titles) or {}).values()),
        overview=row.overview,
        release_year=row.release_year,
        genres=tuple(row.genres),
        keywords=tuple(row.keywords),
        people=people,
        platforms=tuple(offered.platforms) if offered else (),
        demo_platforms=tuple(one for one in offered.platforms if one not in real) if offered else (),
        offers=tuple(map(_offer, offered.offers)) if offered else (),
        languages=tuple(dict.fromkeys(language for language in languages if language)),
        popularity_score=_rounded(row.popularity_score),
        average_rating=_rounded(row.average_rating),
        maturity_rating=row.maturity_rating,
        poster=row.poster,
    )


_person = lru_cache(maxsize=1 << 13)(Person)
"""Remembered: those who are in many contents are most of all that is read."""


@lru_cache(maxsize=1 << 12)
def _offer(text: str) -> Offer:
    """Remembered: a catalogue has few combinations of platform, region and way to watch, on most of its contents."""
    return Offer(*text.split("|"))


def _details(row: Mapping[Any, Any]) -> ContentDetails:
    facts: dict[str, Any] = _json(row["facts"])
    known = {name: value for name, value in facts.items() if name in CanonicalContent.model_fields}
    ids: dict[str, Any] = {"platforms": {}}
    for id_type, value in _json(row["external_ids"]) or ():
        kind, _, rest = id_type.partition(":")
        if kind == "platform":
            ids["platforms"][rest] = value
        else:
            # Registries that number films and series apart carry that in the kind (``tmdb:movie``).
            ids[kind] = int(value) if kind in {"tmdb", "tvdb"} else value
    content = CanonicalContent.model_validate(
        {**known, "external_ids": ids, "credits": _json(row["credits"]) or ()}
    )
    summary = _json(row["availability"])
    return ContentDetails(
        content=content,
        availability=AvailabilitySummary(
            platforms=tuple(summary["platforms"]),
            regions=tuple(summary["regions"]),
            offerings=summary["offerings"],
            demo=summary["demo"],
        ),
    )


def _offering(raw: dict[str, Any]) -> ListedOffering:
    facts = {name: value for name, value in raw.items() if name in Offering.model_fields}
    seen = {name: _time(raw[name]) for name in ("first_seen", "last_seen")}
    ended_at = _time(raw["ended_at"]) if raw["ended_at"] else None
    return ListedOffering(
        source=raw["source"], offering=Offering.model_validate(facts), ended_at=ended_at, **seen
    )


def as_uuid(value: UUID) -> UUID:
    """The driver gives a subclass that JSON writers refuse."""
    return UUID(bytes=value.bytes)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _json(value: Any) -> Any:
    """The driver gives JSON as text."""
    return orjson.loads(value) if isinstance(value, str) else value


def _rounded(value: float | None) -> float | None:
    """Columns are single precision: six digits are all there are."""
    return None if value is None else round(value, 6)
