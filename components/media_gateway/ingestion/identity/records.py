"""A source's record inside identity resolution, with the link that ties it to its content. Pure data."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Self
from uuid import UUID

import orjson

from media_gateway.core.domain.content import LinkReason, SourceRecord
from media_gateway.ingestion.identity.keys import ExactKey, TitleKeys, exact_keys, title_keys

RecordKey = tuple[str, str]
"""Source and the source's own id."""

NOT_STORED = {"embedding"}
"""Fields that are used while resolving and then dropped: the vector store keeps vectors."""


@dataclass(frozen=True, slots=True)
class Link:
    """Why a record belongs to its content.

    Attributes
    ----------
    reason : LinkReason
        The rule that linked it.
    confidence : float
        In (0, 1]; `keys.CONFIDENCE` and `resolution` say where the values come from.
    anchor : RecordKey | None
        The record it was found equal to by title or embedding. Such a link holds as long as both records say the same
        of title, year and type and their exact ids don't contradict each other.
    """

    reason: LinkReason
    confidence: float
    anchor: RecordKey | None = None


FOUNDER = Link(LinkReason.NEW, 1.0)
"""Link of a record for which a content was made."""

PINNED = Link(LinkReason.ADMIN, 1.0)
"""Link of a record that an administrator placed."""


@dataclass(slots=True)
class Member:
    """A record that takes part in a resolution: stored, new or changed.

    Attributes
    ----------
    record : SourceRecord
        What the source says now, with its earlier non-null fields.
    key : RecordKey
        Source and source id.
    order : tuple
        Place in the fold: priority of the source, then key.
    body : bytes
        JSON of ``record`` as it is stored.
    digest : bytes
        Of the statement as it last came, before earlier fields were added.
    ids, title
        What it is compared by.
    content_id : UUID | None
        Content it is linked to; None until it has one.
    link : Link
        Why.
    pin : UUID | None
        Content an administrator placed it in: it goes there, whatever its ids say.
    delisted : bool
        Its source's last Full run did not list it; its facts count, its offerings don't.
    loose : bool
        New, or says something else of ids, title, year or type than when it was linked: its link is to be found.
    is_stored : bool
        Whether the database has a row of it.
    """

    record: SourceRecord
    key: RecordKey
    order: tuple[int, RecordKey]
    body: bytes
    digest: bytes
    ids: tuple[ExactKey, ...]
    title: TitleKeys
    content_id: UUID | None = None
    link: Link = FOUNDER
    pin: UUID | None = None
    delisted: bool = False
    loose: bool = False
    is_stored: bool = False

    @classmethod
    def arriving(cls, record: SourceRecord, priority: int) -> Self:
        """A record as a source has just sent it."""
        exclude = NOT_STORED if record.embedding is not None else None
        body = record.__pydantic_serializer__.to_json(record, exclude_defaults=True, exclude=exclude)
        key = (record.source, record.source_id)
        return cls(
            record=record,
            key=key,
            order=(priority, key),
            body=body,
            digest=blake2b(body, digest_size=16).digest(),
            ids=exact_keys(record),
            title=title_keys(record),
            loose=True,
        )


@dataclass(slots=True)
class Arrival:
    """One record of a batch: the places at which it stood (a source may repeat itself) and its last statement."""

    member: Member
    indexes: list[int] = field(default_factory=list)


def overlay(old: SourceRecord, new: SourceRecord) -> SourceRecord:
    """A source's new statement over its earlier one: what the new one leaves out (null) keeps its old value.

    Sets that are given replace the old ones, an empty set included. External ids, images and series data are overlaid
    member by member.
    """
    changes = {name: value for name, value in old if value is not None and getattr(new, name) is None}
    for name in ("images", "series"):
        before, after = getattr(old, name), getattr(new, name)
        if before is not None and after is not None and before != after:
            said = {member: value for member, value in after if value not in {None, ()}}
            changes[name] = before.model_copy(update=said)
    if old.external_ids != new.external_ids:
        ids = {member: value for member, value in new.external_ids if value is not None}
        ids["platforms"] = old.external_ids.platforms | new.external_ids.platforms
        changes["external_ids"] = old.external_ids.model_copy(update=ids)
    changes.pop("embedding", None)
    return new.model_copy(update=changes) if changes else new


def is_outdated(statement: SourceRecord, known: SourceRecord) -> bool:
    """Whether a source says itself that a statement is older than the one we have."""
    if statement.updated_at is None or known.updated_at is None:
        return False
    return aware(statement.updated_at) < aware(known.updated_at)


def aware(moment: datetime) -> datetime:
    """A time with its zone; a source that names none means UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_record(body: bytes | str) -> SourceRecord:
    """A stored body as a record."""
    return SourceRecord.model_validate_json(body)


def nul_field(body: bytes) -> str | None:
    """Path of the first field that holds a NUL character, which Postgres can't store; None if there is none."""
    if b"\\u0000" not in body:
        return None
    return _find_nul(orjson.loads(body), "")


def _find_nul(value: object, path: str) -> str | None:
    if isinstance(value, str):
        return path if "\0" in value else None
    if isinstance(value, dict):
        children = [(f"{path}.{name}" if path else name, child) for name, child in value.items()]
        if any("\0" in name for name in value):
            return path
    elif isinstance(value, list):
        children = [(f"{path}.{index}", child) for index, child in enumerate(value)]
    else:
        return None
    return next((found for place, child in children if (found := _find_nul(child, place)) is not None), None)
