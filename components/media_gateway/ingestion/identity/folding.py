"""One content out of the records that speak of it. Pure: the same records in any order give the same content.

Records are folded in the order of source priority (lower first), then source, then source id:

- a scalar comes from the first record that has it; rating and its count, and season and episode numbers, come together;
- sets are united in that order; credits of one role and name are one credit, its gaps filled by later records;
- offerings keep the name of their source, so each source's set replaces only its own; a delisted record has none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import orjson

from media_gateway.core.domain.content import Offering, SourceRecord
from media_gateway.ingestion.identity.keys import normalise_name
from media_gateway.ingestion.identity.records import Member

OfferingKey = tuple[str, str, str, str]
"""Source, platform, region and availability type: what names an offering within a content."""

FoldedCredit = tuple[str, int, str, str | None, str | None]
"""Role, position (from 0 within the role), name, character and external id: a row of ``credits``."""

_Part = tuple[str, str, str | None, str | None]

FIELDS = (
    "content_type",
    "title",
    "original_title",
    "alternate_titles",
    "overview",
    "release_year",
    "release_date",
    "runtime_minutes",
    "genres",
    "maturity_rating",
    "average_rating",
    "rating_count",
    "popularity_score",
    "original_language",
    "audio_languages",
    "production_countries",
    "production_companies",
    "keywords",
    "images",
    "series",
    "sources",
    "quality_score",
)
"""Folded columns of ``contents``, in the order of `Work.fields`; what is left is derived from them or book-keeping."""

_SCALARS = (
    "original_title",
    "overview",
    "release_year",
    "release_date",
    "runtime_minutes",
    "maturity_rating",
)
_LATER_SCALARS = ("popularity_score", "original_language")
_SETS = ("genres", "audio_languages", "production_countries", "production_companies", "keywords")

_BY_POSITION = attrgetter("position")

QUALITY_WEIGHTS = {
    "title": 0.1,
    "overview": 0.2,
    "release_year": 0.1,
    "runtime_minutes": 0.1,
    "genres": 0.2,
    "maturity_rating": 0.1,
    "average_rating": 0.1,
    "images": 0.1,
}
"""Share of each known fact in the quality score, sum 1. The original system's weights; its last tenth was for having
an embedding, which every content has here, so it goes to images."""

TEXT_FIELDS = frozenset(
    {
        "content_type",
        "title",
        "original_title",
        "overview",
        "release_year",
        "genres",
        "keywords",
        "production_countries",
        "credits",
    }
)
"""Facts an embedded text may be composed of: a change of one of them asks for a new vector."""


@dataclass(slots=True)
class Work:
    """A folded content.

    Attributes
    ----------
    facts : dict
        Value by name of `FIELDS`; sets are tuples, ``images``, ``series`` and ``alternate_titles`` JSON text.
    offerings : dict
        By `OfferingKey`.
    credits : tuple of FoldedCredit
        In billing order within each role.
    """

    facts: dict[str, Any]
    offerings: dict[OfferingKey, Offering]
    credits: tuple[FoldedCredit, ...]

    def platforms(self) -> frozenset[str]:
        """Platforms that offer it."""
        return frozenset(offering.platform for offering in self.offerings.values())


def fold(members: Sequence[Member]) -> Work:
    """Fold the records of one content (at least one), given in any order."""
    ordered = sorted(members, key=attrgetter("order")) if len(members) > 1 else members
    records = [member.record for member in ordered]
    facts = _single(records[0]) if len(records) == 1 else _several(records)
    facts["sources"] = tuple(dict.fromkeys(record.source for record in records))
    facts["quality_score"] = quality_score(facts)
    return Work(facts, _offerings(ordered), _credits(records))


def quality_score(facts: dict[str, Any]) -> float:
    """How complete facts are, in [0, 1], by `QUALITY_WEIGHTS`."""
    # An empty set is as little known as null.
    return round(sum(weight for name, weight in QUALITY_WEIGHTS.items() if facts[name] not in {None, ()}), 3)


def changed_fields(old: Work, new: Work) -> list[str]:
    """Names of facts that differ, ``credits`` included, offerings not."""
    changes = [name for name in FIELDS if old.facts[name] != new.facts[name]]
    if old.credits != new.credits:
        changes.append("credits")
    return changes


def is_enrichment(old: Work, changes: Iterable[str]) -> bool:
    """Whether the changed facts were all unknown before (or merely count sources and completeness)."""
    return all(
        name in {"sources", "quality_score"}
        or (not old.credits if name == "credits" else old.facts[name] in {None, ()})
        for name in changes
    )


def _single(record: SourceRecord) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "content_type": record.content_type,
        "title": record.title,
        "alternate_titles": _json(record.alternate_titles),
        "average_rating": record.average_rating,
        "rating_count": record.rating_count,
        "images": _model_json(record.images),
        "series": _model_json(record.series),
    }
    for name in (*_SCALARS, *_LATER_SCALARS):
        facts[name] = getattr(record, name)
    for name in _SETS:
        values = getattr(record, name)
        facts[name] = tuple(dict.fromkeys(values)) if values else ()
    return facts


def _several(records: Sequence[SourceRecord]) -> dict[str, Any]:
    facts = _single(records[0])
    for name in (*_SCALARS, *_LATER_SCALARS):
        facts[name] = _first(getattr(record, name) for record in records)
    for name in _SETS:
        facts[name] = tuple(
            dict.fromkeys(value for record in records for value in getattr(record, name) or ())
        )
    rated = next((record for record in records if record.average_rating is not None), None)
    rated = rated or next((record for record in records if record.rating_count is not None), records[0])
    facts["average_rating"], facts["rating_count"] = rated.average_rating, rated.rating_count
    titles = [record.alternate_titles for record in reversed(records) if record.alternate_titles]
    facts["alternate_titles"] = _json({name: title for some in titles for name, title in some.items()})
    facts["images"] = _overlaid([record.images for record in records])
    facts["series"] = _overlaid([record.series for record in records])
    return facts


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)


def _json(value: dict[str, Any] | None) -> str | None:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if value else None


def _model_json(value: Any) -> str | None:
    return _json(value.model_dump(mode="json", exclude_defaults=True)) if value is not None else None


def _overlaid(values: Sequence[Any]) -> str | None:
    """Nested facts, each member from the first that has it (later ones are laid under earlier ones)."""
    merged: dict[str, Any] = {}
    for value in values:
        if value is not None:
            found = value.model_dump(mode="json", exclude_defaults=True)
            # Season and episode number mean something only together with their series.
            if "episode_number" in merged or "season_number" in merged:
                found = {
                    k: v
                    for k, v in found.items()
                    if k not in {"season_number", "episode_number", "series_id"}
                }
            merged = found | merged
    return _json(merged)


def _offerings(members: Sequence[Member]) -> dict[OfferingKey, Offering]:
    offerings: dict[OfferingKey, Offering] = {}
    for member in members:
        record = member.record
        if record.offerings and not member.delisted:
            for offering in record.offerings:
                key = (record.source, offering.platform, offering.region, offering.availability_type)
                offerings.setdefault(key, offering)
    return offerings


def _credits(records: Sequence[SourceRecord]) -> tuple[FoldedCredit, ...]:
    if len(records) == 1:
        credits_ = records[0].credits or ()
        parts = dict.fromkeys(
            (c.role, c.name, c.character, c.external_id) for c in sorted(credits_, key=_BY_POSITION)
        )
        return _numbered(parts)
    united: dict[tuple[str, str, int], _Part] = {}
    for record in records:
        said: dict[tuple[str, str], int] = {}
        once = dict.fromkeys(
            (c.role, c.name, c.character, c.external_id)
            for c in sorted(record.credits or (), key=_BY_POSITION)
        )
        for role, name, character, external_id in once:
            person = (role, normalise_name(name))
            # A person may play several characters; another source's first one is taken for the same as ours.
            place = said.get(person, 0)
            said[person] = place + 1
            known = united.setdefault((*person, place), (role, name, character, external_id))
            united[*person, place] = (*known[:2], known[2] or character, known[3] or external_id)
    return _numbered(united.values())


def _numbered(parts: Iterable[_Part]) -> tuple[FoldedCredit, ...]:
    counts: dict[str, int] = {}
    numbered = []
    for role, name, character, external_id in parts:
        position = counts.get(role, 0)
        counts[role] = position + 1
        numbered.append((role, position, name, character, external_id))
    return tuple(numbered)
