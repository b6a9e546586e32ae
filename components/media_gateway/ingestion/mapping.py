"""From a source's payload to a `SourceRecord`: carries out a mapping's rules and refuses what can't be right.

Called by the run for every record; it is the last place that sees the source's own shape. What it refuses goes to the
dead letters with field and reason. Rules are compiled once; a plain dotted path costs dictionary look-ups only.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from media_gateway.core.domain.content import Genre, SourceRecord
from media_gateway.core.domain.specs import FieldRule, IngestionJobSpec, ItemRule, MappingSpec
from media_gateway.core.errors import FieldError, InvalidInputError
from media_gateway.ingestion.offerings import minor_units, united
from media_gateway.ingestion.presets import load_preset
from media_gateway.ingestion.rules import RuleError, compile_path, compile_rule, walk
from media_gateway.ingestion.texts import UnusableTextError, cleaned, shortened
from media_gateway.ingestion.transforms import MappedGenres, genres

OVERVIEW_LENGTH = 5000
"""Characters of an overview; a longer one is cut at a word, every other text that is too long is refused."""

_SETS = ("genres", "audio_languages", "production_countries", "production_companies", "keywords")
_GENRES = frozenset(genre.value for genre in Genre)
_PARTS = {"external_ids", "images", "series"}
_NEEDED = {"offerings": ("platform", "region", "availability_type"), "credits": ("name", "role")}


class RecordRejectedError(InvalidInputError):
    """A record can't be taken.

    Attributes
    ----------
    field : str
        Canonical field, dotted (``offerings.0.price_cents``), or the source's field if it is about the key.
    reason : str
        Why, for a person.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}", errors=[FieldError(field, reason)])
        self.field = field
        self.reason = reason


class Mapper:
    """Maps the records of one job.

    Without a mapping in the spec records are taken to have canonical fields under their own names; the demo films and
    XMLTV guides never have, and get the presets ``demo`` and ``xmltv``. Of canonical records a field that the model does not know is
    refused, but for those named in ``dedupe.keys`` and ``cursorField``; genres are still brought to the canonical words.

    Parameters
    ----------
    spec
        The job's spec; ``source.name`` must be filled in, as it is in every loaded manifest.

    Raises
    ------
    InvalidInputError
        A rule can't be used (a wrong JMESPath, an unknown field); the message names it by its path in the manifest.
    """

    def __init__(self, spec: IngestionJobSpec) -> None:
        self._source = spec.source.name or ""
        self._key_names = spec.dedupe.keys
        self._keys = [walk(tuple(name.split("."))) for name in spec.dedupe.keys]
        beside = {name.split(".")[0] for name in (*spec.dedupe.keys, *filter(None, [spec.cursor_field]))}
        self._beside = beside - SourceRecord.model_fields.keys()
        mapping = spec.mapping
        if mapping is None and spec.source.type == "Demo":
            mapping = MappingSpec(preset="demo")
        elif mapping is None and spec.source.format == "XMLTV":
            mapping = MappingSpec(preset="xmltv")
        self._rules = None if mapping is None else _Rules(mapping)

    def map(self, payload: dict[str, Any]) -> SourceRecord:
        """The canonical statement of a payload.

        Raises
        ------
        RecordRejectedError
            Something in it can't be right.
        """
        values = self._canonical(payload) if self._rules is None else self._rules.apply(payload)
        values["source"] = self._source
        if values.get("source_id") is None:
            values["source_id"] = self._source_id(payload)
        elif isinstance(values["source_id"], int):
            values["source_id"] = str(values["source_id"])
        _finish(values)
        try:
            return SourceRecord.model_validate(cleaned(values))
        except UnusableTextError as error:
            raise RecordRejectedError(error.field, error.reason) from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            field = ".".join(str(part) for part in first["loc"] if part != "[key]")
            raise RecordRejectedError(field or "record", first["msg"]) from error

    def source_id(self, payload: dict[str, Any]) -> str | None:
        """The key of a record that `map` refuses, for its dead letter; None where that can't be read either."""
        try:
            found = (
                payload.get("source_id") if self._rules is None else self._rules.value(payload, "source_id")
            )
            if isinstance(found, str | int) and not isinstance(found, bool) and found != "":
                return str(found).strip()
            return self._source_id(payload)
        except (RecordRejectedError, RuleError):
            return None

    def _canonical(self, payload: dict[str, Any]) -> dict[str, Any]:
        values = {name: value for name, value in payload.items() if name not in self._beside and value != ""}
        words = values.get("genres")
        if isinstance(words, list) and not all(isinstance(word, str) and word in _GENRES for word in words):
            try:
                _put_genres(values, genres(words))
            except ValueError as error:
                raise RecordRejectedError("genres", str(error)) from error
        offerings = values.get("offerings")
        if isinstance(offerings, list) and all(isinstance(item, dict) for item in offerings):
            values["offerings"] = united(offerings)
        return values

    def _source_id(self, payload: dict[str, Any]) -> str:
        parts = []
        for name, find in zip(self._key_names, self._keys, strict=True):
            value = find(payload)
            if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
                raise RecordRejectedError(name, "the record's key is missing or no text or whole number")
            parts.append(str(value).strip())
        return ":".join(parts)


class _Rules:
    """A mapping's compiled rules."""

    def __init__(self, mapping: MappingSpec) -> None:
        base = load_preset(mapping.preset) if mapping.preset is not None else None
        fields = {**(base.fields if base else {}), **mapping.fields}
        offerings = mapping.offerings or (base.offerings if base else ())
        credits_ = mapping.credits or (base.credits if base else ())
        self._fields = [_field(name, rule) for name, rule in fields.items()]
        self._offerings = [_Items("offerings", n, rule) for n, rule in enumerate(offerings)]
        self._credits = [_Items("credits", n, rule) for n, rule in enumerate(credits_)]

    def value(self, payload: dict[str, Any], field: str) -> Any:
        """What the rule of one field, not in a part, finds; None if there is no such rule."""
        return next((rule(payload) for name, part, rule in self._fields if name == field and not part), None)

    def apply(self, payload: dict[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, part, rule in self._fields:
            try:
                value = rule(payload)
            except RuleError as error:
                raise RecordRejectedError(f"{part}.{name}" if part else name, str(error)) from error
            if value is None:
                continue
            if part:
                values.setdefault(part, {})[name] = value
            elif isinstance(value, MappedGenres):
                _put_genres(values, value)
            elif name == "keywords" and "keywords" in values:
                values["keywords"] = [*values["keywords"], *value]
            else:
                values[name] = value
        # A rule that finds nothing says nothing; a rule that finds an empty list says that there are none.
        found = [items for rule in self._offerings if (items := rule.apply(payload)) is not None]
        if found:
            every = (item for items in found for item in items)
            values["offerings"] = united(_with_minor_units(item, number) for number, item in enumerate(every))
        people = [item for rule in self._credits for item in rule.apply(payload) or ()]
        if people:
            values["credits"] = _numbered(people)
        return values


def _field(name: str, rule: FieldRule) -> tuple[str, str, Any]:
    part, _, inner = name.rpartition(".")
    known = SourceRecord.model_fields.keys() - {"source", "offerings", "credits"}
    if (part or inner) not in known or (part and part not in _PARTS):
        raise InvalidInputError(f"spec.mapping.fields.{name}: there is no such canonical field")
    return inner, part, compile_rule(rule, f"spec.mapping.fields.{name}")


class _Items:
    """One compiled `ItemRule`."""

    def __init__(self, kind: str, number: int, rule: ItemRule) -> None:
        where = f"spec.mapping.{kind}.{number}"
        self._kind = kind
        self._find = compile_path(rule.path, f"{where}.path") if rule.path is not None else None
        self._keys = rule.keys
        self._fields = [
            (name, compile_rule(one, f"{where}.fields.{name}")) for name, one in rule.fields.items()
        ]

    def apply(self, payload: dict[str, Any]) -> list[dict[str, Any]] | None:
        """The items; None if the path finds nothing at all."""
        found: Any = payload if self._find is None else self._find(payload)
        if found is None:
            return None
        result = []
        for number, item in enumerate(_spread(found, self._keys, {})):
            made: dict[str, Any] = {}
            for name, rule in self._fields:
                try:
                    value = rule(item)
                except RuleError as error:
                    raise RecordRejectedError(f"{self._kind}.{number}.{name}", str(error)) from error
                if value is not None:
                    made[name] = value
            if all(name in made for name in _NEEDED[self._kind]):
                result.append(made)
        return result


def _spread(value: Any, keys: tuple[str, ...], above: dict[str, str]) -> Iterator[dict[str, Any]]:
    if keys:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from _spread(inner, keys[1:], {**above, keys[0]: key})
    elif isinstance(value, dict):
        yield {**value, **above}
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield {**item, **above}
            elif isinstance(item, str) and item.strip():
                yield {"value": item.strip(), **above}
    elif isinstance(value, str) and not above:
        # People as one text: "A, B, C".
        yield from ({"value": part.strip()} for part in value.split(",") if part.strip())


def _with_minor_units(offering: dict[str, Any], number: int) -> dict[str, Any]:
    amount = offering.get("price_cents")
    if isinstance(amount, Decimal):
        try:
            offering["price_cents"] = minor_units(amount, offering.get("currency"))
        except ValueError as error:
            raise RecordRejectedError(f"offerings.{number}.price_cents", str(error)) from error
    return offering


def _numbered(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each person once a role and character, numbered in the order of the source."""
    seen = set()
    counts: dict[str, int] = {}
    result = []
    for person in people:
        key = (person["role"], person["name"], person.get("character"))
        if key not in seen:
            seen.add(key)
            position = counts.get(person["role"], 0)
            counts[person["role"]] = position + 1
            result.append({**person, "position": position})
    return result


def _put_genres(values: dict[str, Any], mapped: MappedGenres) -> None:
    values["genres"] = mapped.genres
    if mapped.rest:
        values["keywords"] = [*(values.get("keywords") or ()), *mapped.rest]


def _finish(values: dict[str, Any]) -> None:
    overview = values.get("overview")
    if isinstance(overview, str) and len(overview) > OVERVIEW_LENGTH:
        values["overview"] = shortened(overview, OVERVIEW_LENGTH)
    if values.get("release_year") is None and values.get("release_date") is not None:
        text = str(values["release_date"])[:4]
        if text.isdecimal():
            values["release_year"] = int(text)
    for name in _SETS:
        items = values.get(name)
        if (
            isinstance(items, list | tuple)
            and len(items) > 1
            and all(isinstance(item, str) for item in items)
        ):
            values[name] = tuple(dict.fromkeys(items))
