"""The limits of an installation as one JSON document: written by the operator or a person, or brought along by a component.

Which policy overrides which is settled before it is written. The revision is a hash of the canonical form, so that everybody who has the same limits names them alike: the operator
compares it with what each replica reports.
"""

import hashlib
import json
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from media_gateway.core.errors import FieldError, InvalidInputError
from media_gateway.core.limiting.rules import FailureMode, Headers
from media_gateway.core.validation import message_of

MAX_DOCUMENT_BYTES = 1_048_576
"""The most that a ConfigMap holds; a longer document is not read."""

LONGEST_WINDOW_MS = 744 * 3_600_000
"""31 days, as in the RateLimitPolicy resource."""

SourceName = Literal["IP", "User", "Client", "Tenant", "APIKey", "Header", "Claim", "Form", "Route", "Global"]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class RateView(_Part):
    """So many units in so much time."""

    limit: int = Field(ge=1, le=1_000_000_000)
    window_ms: int | None = Field(default=None, ge=1, le=LONGEST_WINDOW_MS)
    """None for algorithm Concurrency only."""


class KeyPart(_Part):
    """What requests are counted by. A request that lacks it is counted by its source address instead.

    ``Client`` is the OAuth client, read from form or Basic; ``Form`` a field of the form.
    """

    source: SourceName
    name: str | None = Field(default=None, min_length=1, max_length=128)

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.source in {"Header", "Claim", "Form"}) != (self.name is not None):
            raise ValueError("name belongs to source Header, Claim and Form, and they need it")
        return self


class HeaderMatch(_Part):
    """A header that a request must have; without a value any."""

    name: str = Field(min_length=1, max_length=128)
    value: str | None = Field(default=None, max_length=255)


class When(_Part):
    """Requests that the limit is about: all lists that are given must match, each with one of its items."""

    methods: tuple[str, ...] = Field(default=(), max_length=16)
    path_prefixes: tuple[str, ...] = Field(default=(), max_length=16)
    tiers: tuple[str, ...] = Field(default=(), max_length=16)
    headers: tuple[HeaderMatch, ...] = Field(default=(), max_length=16)


class ResponseView(_Part):
    """What a caller over the limit gets."""

    status: Literal[429, 503] = 429
    headers: Headers = Headers.DRAFT
    message: str | None = Field(default=None, max_length=500)


class LimitView(_Part):
    """One limit. A request must pass all of its rates, and all limits that match it."""

    name: str = Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?$")
    """In headers, metrics and logs; unique in the document."""
    component: str = Field(min_length=1, max_length=63)
    """The component that holds to it."""
    endpoints: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field(
        default=(), max_length=256
    )
    """Ids of routes; empty for all of the component."""
    rates: tuple[RateView, ...] = Field(min_length=1, max_length=4)
    algorithm: Literal["GCRA", "SlidingWindow", "FixedWindow", "Concurrency"] = "GCRA"
    burst: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Units that may come at once (GCRA); by default the limit."""
    key: tuple[KeyPart, ...] = Field(default=(), max_length=4)
    """By default all together."""
    max_keys: int = Field(default=100_000, ge=1, le=10_000_000)
    when: When = When()
    cost: int = Field(default=1, ge=1, le=1_000_000)
    response: ResponseView = ResponseView()
    enforcement: Literal["Enforce", "DryRun"] = "Enforce"
    store: Literal["Redis", "Memory"] = "Redis"
    failure_mode: FailureMode = FailureMode.LOCAL

    @model_validator(mode="after")
    def _fits(self) -> Self:
        windows = [rate.window_ms for rate in self.rates]
        if self.algorithm == "Concurrency":
            if windows != [None] or self.cost != 1:
                raise ValueError("algorithm Concurrency takes one rate without windowMs, and no cost")
        elif None in windows:
            raise ValueError("every rate needs windowMs")
        elif not all(shorter < longer for shorter, longer in pairwise(w for w in windows if w is not None)):
            raise ValueError("rates must be in the order of their windows, no two of one length")
        if self.burst is not None and self.algorithm != "GCRA":
            raise ValueError("burst belongs to algorithm GCRA")
        most = [rate.limit if self.burst is None else self.burst for rate in self.rates]
        if self.cost > min(most):
            raise ValueError("cost is more than the limit ever lets through")
        return self


class LimitDocument(_Part):
    """All limits."""

    version: Literal[1] = 1
    replicas: int = Field(default=1, ge=1, le=100_000)
    """Processes of a component; each takes its part of a limit while Redis is away."""
    built_in: bool = True
    """Whether the limits that a component brings along hold, too. One of the same name gives way to the document's."""
    limits: tuple[LimitView, ...] = Field(default=(), max_length=10_000)

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [limit.name for limit in self.limits]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"two limits are called {twice!r}")
        return self

    def canonical(self) -> bytes:
        """The one way to write this document: limits by name, members sorted, defaults left out, no spaces."""
        document: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if self.limits:
            document["limits"] = sorted(document["limits"], key=lambda limit: str(limit["name"]))
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def revision(self) -> str:
        """First twelve hexadecimal digits of the SHA-256 of the canonical form."""
        return hashlib.sha256(self.canonical()).hexdigest()[:12]


def read_document(data: bytes) -> LimitDocument:
    """A document from its JSON.

    Raises
    ------
    InvalidInputError
        Too long, no JSON, or not what the model says; each wrong member is named.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidInputError(f"the document is longer than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return LimitDocument.model_validate_json(data)
    except ValidationError as error:
        found = [
            FieldError(".".join(str(part) for part in problem["loc"])[:200], message_of(problem))
            for problem in error.errors(include_url=False, include_input=False, include_context=False)[:20]
        ]
        first = found[0]
        raise InvalidInputError(f"{first.field}: {first.message}".lstrip(": "), errors=found) from None
