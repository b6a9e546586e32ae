"""RateLimitPolicy: who may ask how often, and whether every gateway replica holds to it.

The reconciler reads a manifest with `RateLimitPolicySpec`; the CRD is generated from it.
"""

import re
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from media_gateway.core.domain.spec_types import IMMUTABLE, Check, DnsLabel, Keyed, Rule, Spec, matches
from media_gateway_operator.crds.components import ComponentName
from media_gateway_operator.crds.status import Conditions, Count, Time, Word

CONDITIONS = ("Accepted", "ResolvedRefs", "Conflicted", "PartiallyOverridden", "Enforced")

COMPONENTS: tuple[str, ...] = get_args(ComponentName)

_PARTS = re.compile(r"([0-9]+)(ms|h|m|s)")
_UNITS_MS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
LONGEST_WINDOW_MS = 744 * 3_600_000
"""31 days: the longest window counters are kept for."""


def milliseconds(duration: str) -> int:
    """Length of a duration as GEP-2257 writes it (``1h30m``)."""
    return sum(int(number) * _UNITS_MS[unit] for number, unit in _PARTS.findall(duration))


Window = Annotated[
    str,
    Field(max_length=32),
    Check(
        "must be a duration from 1s to 744h, as 10s, 1m or 1h30m",
        'self.matches("^([0-9]{1,5}(h|m|s|ms)){1,4}$") && duration(self) >= duration("1s") && duration(self) <= duration("744h")',
        lambda value: (
            re.fullmatch(r"([0-9]{1,5}(h|m|s|ms)){1,4}", value, re.ASCII) is not None
            and 1000 <= milliseconds(value) <= LONGEST_WINDOW_MS
        ),
    ),
]
HeaderName = Annotated[
    str,
    Field(max_length=128),
    matches(
        r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", "must be the name of an HTTP header (RFC 9110): no spaces, no ':'"
    ),
]
RateCount = Annotated[int, Field(ge=1, le=1_000_000_000)]


class TargetRef(Spec):
    """What the policy is about: a whole MediaGateway, one component behind it, or one route."""

    RULES: ClassVar = (
        Rule(
            "kind Component and kind Route need sectionName: the component, or the id of the route",
            "self.kind == 'MediaGateway' || has(self.sectionName)",
            lambda self: self.kind == "MediaGateway" or self.section_name is not None,
            "sectionName",
            "FieldValueRequired",
        ),
        Rule(
            "kind MediaGateway is about all of it and takes no sectionName",
            "self.kind != 'MediaGateway' || !has(self.sectionName)",
            lambda self: self.kind != "MediaGateway" or self.section_name is None,
            "sectionName",
            "FieldValueForbidden",
        ),
        Rule(
            f"with kind Component, sectionName must be one of {', '.join(COMPONENTS)}",
            f"self.kind != 'Component' || !has(self.sectionName) || self.sectionName in {list(COMPONENTS)}",
            lambda self: self.kind != "Component" or self.section_name in {None, *COMPONENTS},
            "sectionName",
        ),
    )

    kind: Literal["MediaGateway", "Component", "Route"]
    """What is named."""
    name: DnsLabel
    """The MediaGateway, in this namespace."""
    section_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The component (kind Component) or the id of the route (kind Route)."""


class Rate(Spec):
    """So many requests in so much time."""

    limit: RateCount
    """Requests (or, with a cost, units) that are let through."""
    window: Window | None = None
    """In this time; a duration from 1s to 744h, as `1m`. Not with algorithm Concurrency."""


class KeyPart(Spec):
    """What requests are counted by."""

    RULES: ClassVar = (
        Rule(
            "source Header and source Claim need name: the header, or the claim of the token",
            "!(self.source in ['Header', 'Claim']) || has(self.name)",
            lambda self: self.source not in {"Header", "Claim"} or self.name is not None,
            "name",
            "FieldValueRequired",
        ),
        Rule(
            "name belongs to source Header and source Claim",
            "self.source in ['Header', 'Claim'] || !has(self.name)",
            lambda self: self.source in {"Header", "Claim"} or self.name is None,
            "name",
            "FieldValueForbidden",
        ),
    )

    source: Literal["IP", "User", "Tenant", "APIKey", "Header", "Claim", "Route", "Global"]
    """IP address, user (`sub`), tenant, API key, a header, a claim, the route; Global counts all together."""
    name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Name of the header or claim."""


class HeaderMatch(Spec):
    """A header that a request must have."""

    name: HeaderName
    """Name of the header; letter case does not matter."""
    value: Annotated[str, Field(max_length=255)] | None = None
    """Its value; without it any."""


class When(Spec):
    """Requests that the limit is about: all lists that are given must match, each with one of its items."""

    methods: Annotated[
        tuple[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], ...], Field(max_length=16)
    ] = ()
    """HTTP methods."""
    path_prefixes: Annotated[
        tuple[
            Annotated[
                str, Field(max_length=255), matches(r"^/[^\s?#]*$", "must begin with '/', without query")
            ],
            ...,
        ],
        Field(max_length=16),
    ] = ()
    """Beginnings of the path, as `/api/v1/search`."""
    tiers: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=63)], ...], Field(max_length=16)
    ] = ()
    """Tiers of the caller, as the token's claim `tier` has them."""
    headers: Annotated[tuple[HeaderMatch, ...], Field(max_length=16)] = ()
    """Headers."""


class Cost(Spec):
    """How much of the limit a request uses."""

    RULES: ClassVar = (
        Rule(
            "type Header needs header: the response header that holds the cost",
            "(self.type == 'Header') == has(self.header)",
            lambda self: (self.type == "Header") == (self.header is not None),
            "header",
        ),
        Rule(
            "value belongs to type Fixed",
            "!has(self.value) || self.type == 'Fixed'",
            lambda self: self.value is None or self.type == "Fixed",
            "value",
            "FieldValueForbidden",
        ),
    )

    type: Literal["Fixed", "Header", "ResponseTokens"] = "Fixed"
    """Fixed: `value`. Header: what a header of the answer says. ResponseTokens: tokens of the answer; reserved before, settled after."""
    value: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Units of a request; 1 by default."""
    header: HeaderName | None = None
    """Header of the answer that holds the units."""


class Response(Spec):
    """What a caller over the limit gets."""

    status: Literal[429, 503] = 429
    """HTTP status."""
    headers: Literal["Draft", "Legacy", "None"] = "Draft"
    """Draft: RateLimit and RateLimit-Policy of the IETF draft. Legacy: X-RateLimit-*. Retry-After is always sent."""
    message: Annotated[str, Field(max_length=500)] | None = None
    """Text of the problem document."""


def _increasing(rates: tuple[Rate, ...]) -> bool:
    windows = [milliseconds(rate.window) for rate in rates if rate.window is not None]
    return all(shorter < longer for shorter, longer in pairwise(windows))


def _cel_increasing(most: int) -> str:
    def ordered(i: int) -> str:
        return (
            f"size(self.rates) <= {i} || !has(self.rates[{i - 1}].window) || !has(self.rates[{i}].window) || "
            f"duration(self.rates[{i - 1}].window) < duration(self.rates[{i}].window)"
        )

    return " && ".join(f"({ordered(i)})" for i in range(1, most))


class LimitSpec(Spec):
    """One limit. A request must pass all of its rates, and all limits that match it."""

    RULES: ClassVar = (
        Rule(
            "algorithm Concurrency counts requests in progress: give one rate, without window",
            "self.algorithm != 'Concurrency' || (size(self.rates) == 1 && !has(self.rates[0].window))",
            lambda self: (
                self.algorithm != "Concurrency" or (len(self.rates) == 1 and self.rates[0].window is None)
            ),
            "rates",
        ),
        Rule(
            "every rate needs a window, unless the algorithm is Concurrency",
            "self.algorithm == 'Concurrency' || self.rates.all(r, has(r.window))",
            lambda self: self.algorithm == "Concurrency" or all(r.window is not None for r in self.rates),
            "rates",
            "FieldValueRequired",
        ),
        Rule(
            "rates must be in the order of their windows, shortest first, no two of one length",
            _cel_increasing(4),
            lambda self: _increasing(self.rates),
            "rates",
        ),
        Rule(
            "burst belongs to algorithm GCRA",
            "!has(self.burst) || self.algorithm == 'GCRA'",
            lambda self: self.burst is None or self.algorithm == "GCRA",
            "burst",
            "FieldValueForbidden",
        ),
    )

    name: DnsLabel
    """Name of the limit, unique in the policy."""
    rates: Annotated[tuple[Rate, ...], Field(min_length=1, max_length=4)]
    """How many in which time; all must pass. Shortest window first."""
    algorithm: Literal["GCRA", "SlidingWindow", "FixedWindow", "Concurrency"] = "GCRA"
    """GCRA spreads requests evenly and allows a burst; Concurrency counts requests in progress."""
    burst: RateCount | None = None
    """Requests that may come at once (GCRA); by default the limit."""
    key: Annotated[tuple[KeyPart, ...], Field(max_length=4)] = ()
    """What requests are counted by; by default all together."""
    max_keys: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Callers that are counted apart; beyond that those not seen for longest are forgotten."""
    when: When | None = None
    """Requests that the limit is about; by default all."""
    cost: Cost | None = None
    """How much of the limit a request uses; by default 1."""
    response: Response = Response()
    """What a caller over the limit gets."""


class Store(Spec):
    """Where counters are kept."""

    type: Literal["Redis", "Memory"] = "Redis"
    """Redis: one count for all replicas. Memory: every replica counts for itself."""
    failure_mode: Literal["Local", "Open", "Closed"] = "Local"
    """While Redis is slow or away. Local: each replica takes its share of the limit. Open: nothing is limited. Closed: nothing passes."""


class RateLimitPolicySpec(Spec):
    """Who may ask how often."""

    target_ref: Annotated[TargetRef, IMMUTABLE]
    """What the policy is about. It can't be changed."""
    mode: Literal["Default", "Override"] = "Default"
    """Default gives way to policies of something more specific; Override does not."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Between policies of one target the higher number counts, then the older policy, then the name."""
    limits: Annotated[tuple[LimitSpec, ...], Field(min_length=1, max_length=32), Keyed("name")]
    """The limits; a request must pass all that match it."""
    enforcement: Literal["Enforce", "DryRun"] = "Enforce"
    """DryRun counts and reports, and rejects nothing."""
    store: Store = Store()
    """Where counters are kept."""


class EffectiveLimits(Spec):
    """What of the policy is in effect."""

    limits: Count = 0
    """Limits that are not overridden."""
    routes: Count = 0
    """Routes that they are about."""


class Acknowledged(Spec):
    """Gateway replicas that hold to this revision."""

    replicas: Count = 0
    """Replicas that reported the revision."""
    total: Count = 0
    """Replicas that are ready."""
    last_time: Time | None = None
    """When the last one reported it."""


class OverriddenBy(Spec):
    """A policy that takes limits of this one out of effect."""

    name: Annotated[str, Field(max_length=253)]
    """Name of the policy."""
    limits: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=32)] = ()
    """Limits of this policy that are not in effect."""


class RateLimitPolicyStatus(Spec):
    """What is in effect. Enforced is true only when every ready gateway replica has reported the revision."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    conditions: Conditions = ()
    """Accepted, ResolvedRefs, Conflicted, PartiallyOverridden, Enforced."""
    revision: Word | None = None
    """Hash of the compiled limits, which replicas report."""
    effective: EffectiveLimits | None = None
    """What of the policy is in effect."""
    acknowledged: Acknowledged | None = None
    """Gateway replicas that hold to this revision."""
    acknowledged_replicas: Word | None = None
    """The same as `2/2`."""
    overridden_by: Annotated[tuple[OverriddenBy, ...], Field(max_length=8), Keyed("name")] = ()
    """Policies that take limits of this one out of effect."""
    unmatched: Annotated[tuple[Annotated[str, Field(max_length=255)], ...], Field(max_length=16)] = ()
    """Paths, tiers or routes that are named and don't exist."""
