"""How a source's fields become canonical ones: the declarative mapping of a manifest and of a preset.

Used through `specs`; ``ingestion.mapping`` carries it out.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from media_gateway.core.domain.spec_types import IN_CODE, DecimalText, Rule, ShortName, Spec, Text, matches

PresetName = Literal["demo", "streaming_availability", "tmdb", "watchmode", "xmltv"]

Transform = Literal[
    "content_type",
    "countries",
    "country",
    "date",
    "datetime",
    "genres",
    "integer",
    "json",
    "language",
    "languages",
    "last_number",
    "list",
    "maturity",
    "minutes",
    "number",
    "platform",
    "popularity",
    "price",
    "seconds",
    "year",
]
"""What is done with a value; each is described in ``ingestion.transforms``."""

FieldName = Annotated[
    str,
    Field(max_length=60),
    matches(
        r"^[a-z][a-z_0-9]*(\.[a-z][a-z_0-9]*)?$",
        "must be named as canonical fields are: title, external_ids.imdb, images.poster",
    ),
]
"""Canonical field, at most one level deep (``title``, ``external_ids.imdb``, ``images.poster``)."""


class FieldRule(Spec):
    """One canonical field: where its value comes from and what is done with it, in the order of the members."""

    RULES: ClassVar = (
        Rule(
            "give exactly one of path and value",
            "has(self.path) != has(self.value)",
            lambda self: (self.path is None) != (self.value is None),
        ),
    )

    path: Text | None = None
    """JMESPath in the source's record; a plain dotted path is the fast case."""
    value: Annotated[str, Field(max_length=1000)] | None = None
    """A constant instead of a path."""
    table: Annotated[
        dict[Annotated[str, Field(max_length=200)], Annotated[str, Field(max_length=200)]],
        Field(max_length=500),
    ] = Field(default_factory=dict)
    """Source value → value, letter case ignored; a value it does not know passes on."""
    transform: Transform | None = None
    """What is done with the value."""
    separator: Annotated[str, Field(min_length=1, max_length=8, json_schema_extra=IN_CODE)] = ","
    """Of a text that holds a list."""
    factor: DecimalText | None = None
    """Multiplies a number (``0.1`` makes 0–10 of 0–100)."""
    prefix: Annotated[str, Field(max_length=500)] = ""
    """Put before a text."""
    default: Annotated[str, Field(max_length=1000)] | None = None
    """Taken where the source says nothing."""


class ItemRule(Spec):
    """Makes several offerings or credits of a record.

    ``path`` finds a list, a single object (one item), or, with ``keys``, maps of lists nested as deep as there are
    keys; the maps' keys then stand in each item under those names. Without a path the record itself is the one item.
    An item of which the source does not say platform, region and type (an offering) or name and role (a credit) is
    passed over; one where they are wrong makes the record rejected. An item that is a text stands in ``value``, and a
    text instead of a list is split at its commas.
    """

    path: Text | None = None
    """Where the items are (JMESPath); without it the record is the one item."""
    keys: Annotated[tuple[ShortName, ...], Field(max_length=3)] = ()
    """Names for the keys of nested maps, outermost first."""
    fields: Annotated[dict[FieldName, FieldRule], Field(min_length=1, max_length=32)]
    """Fields of the offering or credit, by name."""


class MappingSpec(Spec):
    """Rules for the canonical fields: a preset's, one's own, or a preset's with some replaced by one's own."""

    RULES: ClassVar = (
        Rule(
            "give a preset, or fields of your own",
            "has(self.preset) || (has(self.fields) && size(self.fields) > 0)",
            lambda self: self.preset is not None or bool(self.fields),
        ),
    )

    preset: PresetName | None = None
    """Rules that come with the platform, for a well-known source."""
    fields: Annotated[dict[FieldName, FieldRule], Field(max_length=64)] = Field(default_factory=dict)
    """Rules by canonical field (`title`, `external_ids.imdb`); they stand before the preset's."""
    offerings: Annotated[tuple[ItemRule, ...], Field(max_length=8)] = ()
    """Replace the preset's, if there are any here."""
    credits: Annotated[tuple[ItemRule, ...], Field(max_length=16)] = ()
    """Replace the preset's, if there are any here."""
