"""How results are put in order, as a document: named variants of weights, fusion and time limits.

Pure: no storage, no HTTP. `ranking_book` keeps the document that is in force and `ranking_editor` changes it; the search
reads the variant that a request names. The same models are the wire format of the admin routes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Annotated, Final, Literal, NamedTuple, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from media_gateway.core.errors import FieldError, InvalidInputError

NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,62}$"
"""Names of variants: safe in addresses, metrics and file names."""

SUM_TOLERANCE = 1e-4
"""Most that the weights of the legs may miss 1 by, so that thirds can be written down."""

ROUNDING = 1e-9
"""Allowance for binary fractions beside the tolerance: 1.0001 - 1 is a little more than 0.0001."""

MAX_VARIANTS = 100
"""Variants of one document: more than anybody compares, and few enough to read the document on each change."""

SPEC_VECTOR, SPEC_KEYWORD = 0.35, 0.20
"""Weights of the original system for its two working legs (shared notes, original-system.md section 4)."""

MEANINGLESS = 0.4
"""For MiniLM: of 28 queries of random letters over 36,000 films the nearest is at .22 to .38, of queries that mean something
at .46 and more."""

LEG_TIMEOUT_MS = 300
"""Time each leg gets unless a variant says otherwise: the original system's limit of a search strategy."""

Weight = Annotated[float, Field(ge=0, le=1)]
TimeoutMs = Annotated[int, Field(ge=1, le=10_000)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LegWeights(_Document):
    """How much each leg counts; together 1, give or take 0.0001."""

    text: Weight = Field(description="Words in titles, people, genres and overviews (BM25).")
    title: Weight = Field(description="Closeness to a whole title, typing errors forgiven.")
    vector: Weight = Field(description="Closeness in meaning, by embedding.")

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.text + self.title + self.vector
        if abs(total - 1) > SUM_TOLERANCE + ROUNDING:
            raise ValueError(f"text, title and vector must add up to 1, they add up to {total:.6g}")
        return self


class ClassWeights(_Document):
    """Weights by the class of the query."""

    title_like: LegWeights = Field(
        default=LegWeights(text=0.34, title=0.51, vector=0.15),
        description="For queries that look like a title: few words, or close to one.",
    )
    descriptive: LegWeights = Field(
        default=LegWeights(text=0.7, title=0.0, vector=0.3), description="For all other queries."
    )


class LegTimeouts(_Document):
    """Time each leg gets, in milliseconds; a leg that is late is left out and the answer is marked degraded."""

    text: TimeoutMs = LEG_TIMEOUT_MS
    title: TimeoutMs = LEG_TIMEOUT_MS
    vector: TimeoutMs = LEG_TIMEOUT_MS


class Variant(_Document):
    """One way to put results in order. What is left out is as in the built-in variant `default`."""

    fusion: Literal["minmax", "rrf"] = Field(
        default="minmax",
        description="How the legs' scores become one: the weighted sum of scores scaled to 0..1 (`minmax`), or of "
        "1 / (rrf_k + rank) (`rrf`).",
    )
    rrf_k: int = Field(
        default=60,
        ge=1,
        le=1000,
        description="Constant of `rrf`; the smaller, the more the first ranks count.",
    )
    weights: ClassWeights = Field(
        default=ClassWeights(), description="Weights of the legs by class of query."
    )
    personalisation_weight: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Share of the personal score in the final one for callers with a token.",
    )
    min_similarity: float = Field(
        default=0, ge=0, le=1, description="Cosine similarity below which the vector leg proposes nothing."
    )
    min_similarity_alone: float = Field(
        default=MEANINGLESS,
        ge=0,
        le=1,
        description="Cosine similarity that the nearest content must have where no word of the query was found; below it the "
        "query means nothing to the model, and nothing is proposed.",
    )
    leg_timeouts_ms: LegTimeouts = Field(
        default=LegTimeouts(), description="Time each leg gets, in milliseconds."
    )
    reranker: bool = Field(
        default=True, description="Whether the learned re-ranker orders the first results of descriptions."
    )


def _spec_weights() -> ClassWeights:
    # RRF orders the same for weights of the same ratio, so bringing them to a sum of 1 changes no result.
    text = SPEC_KEYWORD / (SPEC_KEYWORD + SPEC_VECTOR)
    legs = LegWeights(text=text, title=0, vector=1 - text)
    return ClassWeights(title_like=legs, descriptive=legs)


DEFAULT = "default"
"""The built-in variant that requests get unless they or the configuration name another one."""

# Weights of `default`: shared notes, discovery-sona.md sections 2 and 5.2 (min-max .7/.3 is the best of the table; the
# title-like ones are a proposal of section 2). `fused` is `default` without the re-ranker. `spec` is the original's ranking,
# kept for comparison: it is worse.
# The five weights of personalisation are the original's experiment variants.
BUILT_IN: Final[Mapping[str, Variant]] = {
    DEFAULT: Variant(),
    "spec": Variant(
        fusion="rrf",
        rrf_k=60,
        weights=_spec_weights(),
        min_similarity=0.7,
        min_similarity_alone=0,
        reranker=False,
    ),
    "rrf": Variant(fusion="rrf", rrf_k=5, reranker=False),
    "fused": Variant(reranker=False),
    "control": Variant(personalisation_weight=0),
    "low": Variant(personalisation_weight=0.15),
    "medium": Variant(personalisation_weight=0.25),
    "high": Variant(personalisation_weight=0.40),
    "aggressive": Variant(personalisation_weight=0.60),
}
"""Variants that are always there and can't be changed, whatever the document says."""


READ_ONLY = f"is built in and can't be changed; the built-in variants are {', '.join(sorted(BUILT_IN))}"
"""What is wrong with the name of a built-in variant where a variant is to be written."""

VariantName = Annotated[str, Field(pattern=NAME_PATTERN, description="Name of a variant.", examples=["spec"])]


class Ranking(_Document):
    """The ranking configuration: variants beside the built-in ones, and which one requests get that name none."""

    # A name that is built in is refused where a document is written, not here: a release that brings a built-in variant
    # must still read what earlier ones have stored.
    variants: dict[VariantName, Variant] = Field(
        default={},
        max_length=MAX_VARIANTS,
        description="Variants of your own by name; the built-in ones can't be replaced.",
    )
    default_variant: str = Field(
        default=DEFAULT, description="What a request gets that names no variant.", examples=[DEFAULT]
    )

    @field_validator("default_variant")
    @classmethod
    def _exists(cls, value: str, info: ValidationInfo) -> str:
        # Without variants they were wrong themselves, which is told already.
        own = info.data.get("variants")
        if own is not None and value not in own and value not in BUILT_IN:
            raise ValueError(f"unknown variant; known: {', '.join(sorted({*own, *BUILT_IN}))}")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingChange:
    """Who stored a version of the document, when and why.

    Attributes
    ----------
    number : int
        Of the version, from 1, without gaps.
    author : str
        Subject of the token that it was stored with.
    comment : str
        Why, in the author's words; may be empty.
    """

    number: int
    author: str
    comment: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingVersion(RankingChange):
    """A stored version with its document."""

    ranking: Ranking


class NamedVariant(NamedTuple):
    """A variant and the name it goes by."""

    name: str
    settings: Variant


@dataclass(frozen=True)
class InForce:
    """The configuration a process works with, immutable: take it once per request.

    Attributes
    ----------
    number : int
        Of the stored version; 0 while nothing is stored.
    """

    number: int = 0
    ranking: Ranking = field(default_factory=Ranking)

    @cached_property
    def variants(self) -> Mapping[str, Variant]:
        """All variants by name; of a name that is built in, the built-in one."""
        return {**self.ranking.variants, **BUILT_IN}

    @cached_property
    def version(self) -> str:
        """What tells two configurations apart, for cache keys.

        The number of the stored version and a digest of all variants: a release with other built-in variants, or a
        database that was set back, shares no cached answer with what was before.
        """
        document = [self.ranking.default_variant, {n: v.model_dump() for n, v in self.variants.items()}]
        digest = hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return f"{self.number}-{digest[:12]}"

    def variant(self, name: str | None) -> NamedVariant:
        """The variant of a name; None is the default one.

        Raises
        ------
        InvalidInputError
            There is no such variant; the message lists those there are.
        """
        wanted = self.ranking.default_variant if name is None else name
        settings = self.variants.get(wanted)
        if settings is None:
            message = f"unknown variant; known: {', '.join(sorted(self.variants))}"
            raise InvalidInputError(f"variant: {message}", errors=[FieldError("variant", message)])
        return NamedVariant(wanted, settings)
