"""Films written straight into the catalogue's tables, with the event that tells of them, for tests of readers."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.outbox import enqueue_events


@dataclass(kw_only=True)
class Offer:
    """An offering of a film."""

    platform: str
    region: str = "US"
    availability_type: str = "subscription"
    source: str = "demo"
    price_cents: int | None = None
    currency: str | None = None
    available_from: datetime | None = None
    available_until: datetime | None = None
    ended_at: datetime | None = None
    demo: bool = False


@dataclass(kw_only=True)
class Film:
    """A content with the facts a test cares about."""

    title: str
    id: UUID = field(default_factory=uuid4)
    content_type: str = "movie"
    original_title: str | None = None
    alternate_titles: dict[str, str] | None = None
    overview: str | None = None
    release_year: int | None = 1999
    release_date: date | None = None
    genres: tuple[str, ...] = ("drama",)
    keywords: tuple[str, ...] = ()
    popularity_score: float | None = 0.5
    average_rating: float | None = None
    maturity_rating: str | None = None
    original_language: str | None = None
    audio_languages: tuple[str, ...] = ()
    images: dict[str, str] | None = None
    people: tuple[tuple[str, str], ...] = ()
    """Role and name, in billing order."""
    external_ids: dict[str, str] = field(default_factory=dict)
    offerings: tuple[Offer, ...] = ()

    def row(self) -> dict[str, Any]:
        """Parameters of the content's own row."""
        facts = {
            name: value
            for name, value in vars(self).items()
            if name not in {"people", "external_ids", "offerings"}
        }
        return facts | {
            "title_key": self.title.casefold(),
            "alternate_titles": json.dumps(self.alternate_titles) if self.alternate_titles else None,
            "images": json.dumps(self.images) if self.images else None,
            "genres": list(self.genres),
            "keywords": list(self.keywords),
            "audio_languages": list(self.audio_languages),
        }


_CONTENT = """
    INSERT INTO contents (id, content_type, title, title_key, original_title, alternate_titles, overview, release_year,
        release_date, genres, keywords, popularity_score, average_rating, maturity_rating,
        original_language, audio_languages, images, sources, created_at, updated_at)
    VALUES (:id, :content_type, :title, :title_key, :original_title, CAST(:alternate_titles AS jsonb), :overview,
        :release_year, :release_date, :genres, :keywords, :popularity_score, :average_rating,
        :maturity_rating, :original_language, :audio_languages, CAST(:images AS jsonb), ARRAY['demo'],
        clock_timestamp(), clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET title = excluded.title, overview = excluded.overview, genres = excluded.genres,
        popularity_score = excluded.popularity_score, updated_at = clock_timestamp(), removed_at = NULL
"""
_CREDIT = "INSERT INTO credits (content_id, role, position, name) VALUES (:id, :role, :position, :name)"
_EXTERNAL_ID = "INSERT INTO external_ids (content_id, id_type, id_value) VALUES (:id, :kind, :value)"
_OFFERING = """
    INSERT INTO offerings (content_id, source, platform, region, availability_type, price_cents, currency,
        available_from, available_until, ended_at, demo, first_seen, last_seen)
    VALUES (:id, :source, :platform, :region, :availability_type, :price_cents, :currency,
        :available_from, :available_until, :ended_at, :demo, :now, :now)
"""


async def save(database: Database, *films: Film, announce: bool = True) -> None:
    """Write films and, unless a test wants the event to be missed, their events, in one transaction."""
    async with database.transaction(timeout_ms=60_000) as connection:
        await _write(connection, films)
        if announce:
            await enqueue_events(connection, [_event("content.updated", film.id) for film in films])


async def remove(database: Database, content_id: UUID) -> None:
    """Take a content out of the catalogue."""
    async with database.transaction() as connection:
        await connection.execute(
            sa.text("UPDATE contents SET removed_at = clock_timestamp() WHERE id = :id"), {"id": content_id}
        )
        await enqueue_events(connection, [_event("content.removed", content_id)])


async def merge(database: Database, old_id: UUID, into: UUID) -> None:
    """Let one content take in another, as an admin's merge does."""
    async with database.transaction() as connection:
        ids = {"old": old_id, "into": into}
        for statement in (
            "UPDATE content_redirects SET content_id = :into WHERE content_id = :old",
            "INSERT INTO content_redirects VALUES (:old, :into, 'admin', clock_timestamp())",
            "DELETE FROM contents WHERE id = :old",
        ):
            used = {name: value for name, value in ids.items() if f":{name}" in statement}
            await connection.execute(sa.text(statement), used)
        await enqueue_events(connection, [_event("content.merged", into, merged_id=str(old_id))])


async def _write(connection: AsyncConnection, films: Iterable[Film]) -> None:
    films = list(films)
    now = datetime.now(UTC)
    people = [
        {"id": film.id, "role": role, "position": position, "name": name}
        for film in films
        for position, (role, name) in enumerate(film.people)
    ]
    ids = [
        {"id": film.id, "kind": kind, "value": value}
        for film in films
        for kind, value in film.external_ids.items()
    ]
    offers = [{"id": film.id, "now": now, **vars(offer)} for film in films for offer in film.offerings]
    for table in ("credits", "external_ids", "offerings"):
        statement = sa.text(f"DELETE FROM {table} WHERE content_id = ANY(:ids)")
        await connection.execute(statement, {"ids": [film.id for film in films]})
    rows = [film.row() for film in films]
    for text, values in ((_CONTENT, rows), (_CREDIT, people), (_EXTERNAL_ID, ids), (_OFFERING, offers)):
        if values:
            await connection.execute(sa.text(text), values)


def _event(kind: str, content_id: UUID, **data: str) -> Event:
    return Event(
        topic=Topic.CONTENT,
        type=kind,
        key=str(content_id),
        data={"content_id": str(content_id), **data},
        source="ingestion",
    )
