"""From a document to what a request is charged: which limits are about it, and under which keys."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

from media_gateway.core.limiting.document import KeyPart, LimitDocument, LimitView, RateView
from media_gateway.core.limiting.rules import LOG_UP_TO, Charge, Kind, Rule, key_of

ANONYMOUS = "anonymous"
"""Tier of a caller without a token."""

BASE_TIER = "free"
"""Tier that a caller counts as whose own no limit names: a tier that nobody thought of must not be without limits."""


class ClientKind(Enum):
    """What a component knows of the OAuth client that a request names."""

    CONFIDENTIAL = "confidential"
    """It proves itself with a secret. Whoever only names it is counted with the source, and the client's own count is
    given back when the secret turns out wrong: naming a client locks nobody out."""
    SHARED = "shared"
    """Its id is known to everybody (an app on many devices), so each source counts for itself."""
    UNKNOWN = "unknown"
    """There is none of that name: counted by source alone, or made-up names would have a count each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, as far as limits look at it.

    Attributes
    ----------
    endpoint : str
        Id of the route.
    source : str
        Where it comes from, see `sources`.
    subject : str | None
        ``sub`` of its token.
    client_id : str | None
        OAuth client that it names, not proven.
    headers : mapping
        Looked up without regard to letter case.
    """

    endpoint: str
    method: str = "GET"
    path: str = "/"
    source: str = ""
    subject: str | None = None
    tier: str = ANONYMOUS
    client_id: str | None = None
    client_kind: ClientKind = ClientKind.UNKNOWN
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    form: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A limit of the document with the rules of its rates."""

    limit: LimitView
    rules: tuple[Rule, ...]

    def matches(self, asked: Asked, tier: str) -> bool:
        limit, when = self.limit, self.limit.when
        return (
            (not limit.endpoints or asked.endpoint in limit.endpoints)
            and (not when.tiers or tier in when.tiers)
            and (not when.methods or asked.method in when.methods)
            and (not when.path_prefixes or asked.path.startswith(when.path_prefixes))
            and (not when.headers or any(_has(asked.headers, m.name, m.value) for m in when.headers))
        )


class RuleSet:
    """The limits of one component.

    Parameters
    ----------
    component
        Its name; also what its counters are kept under.
    document, built_in
        The installation's limits and those that the component brings along.
    dry_run
        Refuse nothing, whatever the documents say.
    """

    def __init__(
        self,
        component: str,
        document: LimitDocument | None,
        built_in: LimitDocument,
        *,
        dry_run: bool = False,
    ) -> None:
        self._component = component
        self.document = document or built_in
        limits = [limit for limit in self.document.limits if limit.component == component]
        if document is not None and document.built_in:
            taken = {limit.name for limit in limits}
            limits += [one for one in built_in.limits if one.component == component and one.name not in taken]
        replicas = self.document.replicas
        self._compiled = [_compile(limit, replicas, dry_run=dry_run) for limit in limits]
        self._tiers = {tier for limit in limits for tier in limit.when.tiers}
        parts = [part for limit in limits for part in limit.key]
        self.asks_for_clients = any(part.source == "Client" for part in parts)
        """Whether some limit looks at the OAuth client."""
        self.asks_for_forms = self.asks_for_clients or any(part.source == "Form" for part in parts)
        """Whether some limit looks into the form."""

    def charges(self, asked: Asked) -> list[Charge]:
        """All that a request is charged to."""
        tier = asked.tier if asked.tier in self._tiers or asked.tier == ANONYMOUS else BASE_TIER
        # The endpoints of one limit share a count, unless its key has source Route.
        return [
            Charge(rule, key_of(self._component, rule, subject), on_trust)
            for compiled in self._compiled
            if compiled.matches(asked, tier)
            for subject, on_trust in _subjects(compiled.limit.key, asked)
            for rule in compiled.rules
        ]


def _has(headers: Mapping[str, str], name: str, value: str | None) -> bool:
    found = headers.get(name)
    return found is not None and (value is None or found == value)


def _compile(limit: LimitView, replicas: int, *, dry_run: bool) -> _Compiled:
    several = len(limit.rates) > 1
    rules = tuple(
        Rule(
            name=f"{limit.name}-{_span(rate.window_ms)}" if several else limit.name,
            kind=_kind(limit, rate),
            limit=rate.limit,
            window_us=(rate.window_ms or 0) * 1000,
            burst=limit.burst or rate.limit,
            cost=limit.cost,
            enforced=limit.enforcement == "Enforce" and not dry_run,
            failure=limit.failure_mode,
            in_memory=limit.store == "Memory",
            replicas=replicas,
            max_keys=limit.max_keys,
            status=limit.response.status,
            headers=limit.response.headers,
            message=limit.response.message,
        )
        for rate in limit.rates
    )
    return _Compiled(limit, rules)


def _kind(limit: LimitView, rate: RateView) -> Kind:
    match limit.algorithm:
        case "GCRA":
            return Kind.GCRA
        case "Concurrency":
            return Kind.CONCURRENCY
        case "FixedWindow":
            return Kind.FIXED
        case "SlidingWindow":
            return Kind.LOG if rate.limit <= LOG_UP_TO else Kind.COUNTER


def _span(window_ms: int | None) -> str:
    for unit, length in (("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if window_ms and window_ms % length == 0:
            return f"{window_ms // length}{unit}"
    return f"{window_ms}ms"


def _subjects(parts: Sequence[KeyPart], asked: Asked) -> list[tuple[str, bool]]:
    """The subjects of a request under one limit, each with whether it is taken on trust."""
    client = next((part for part in parts if part.source == "Client"), None)
    others = [_value(part, asked) for part in parts if part is not client]
    if client is None:
        return [(_joined(others), False)]
    if asked.client_id is None or asked.client_kind is ClientKind.UNKNOWN:
        return [(_joined([*others, f"ip={asked.source}"]), False)]
    named = f"client={asked.client_id}"
    with_source = (_joined([*others, named, f"ip={asked.source}"]), False)
    if asked.client_kind is ClientKind.SHARED:
        return [with_source]
    return [with_source, (_joined([*others, named]), True)]


def _joined(values: Sequence[str]) -> str:
    # Lengths, so that no value can look like two.
    return "".join(f"{len(value)}:{value}" for value in values)


_VALUES: Mapping[str, Callable[[Asked, str], Any]] = {
    "Global": lambda _asked, _name: "all",
    "Route": lambda asked, _name: asked.endpoint,
    "User": lambda asked, _name: asked.subject,
    "Tenant": lambda asked, _name: asked.claims.get("tenant"),
    "APIKey": lambda asked, _name: asked.claims.get("api_key_id"),
    "Claim": lambda asked, name: asked.claims.get(name),
    "Header": lambda asked, name: asked.headers.get(name),
    "Form": lambda asked, name: asked.form.get(name),
    "IP": lambda _asked, _name: None,
}


def _value(part: KeyPart, asked: Asked) -> str:
    name = part.name or ""
    value = _VALUES[part.source](asked, name)
    if value is None or value == "":
        return f"ip={asked.source}"
    return f"{part.source}={name}={value}"
