"""A model of rate limits that counts in the plainest way: it keeps every admitted request and looks at all of them.

Shared by the tests of the counters of a process and of those in Redis, which must both agree with it.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from media_gateway.core.limiting import Asked, LimitDocument, LimitView, RuleSet, read_document
from media_gateway.core.limiting.document import RateView

UNIT_US = 1_000_000


@dataclass(frozen=True)
class Step:
    """A request, so many microseconds after the one before."""

    after_us: int
    asked: Asked


@dataclass
class Model:
    """What a document lets through.

    It reads the document, not the compiled rules, and its subjects are plain values, not digests.
    """

    document: LimitDocument
    admitted: list[tuple[int, Asked]] = field(default_factory=list)

    def admits(self, now: int, asked: Asked) -> bool:
        """The AND of all limits that match; then the request counts for all of them."""
        passes = all(
            self._passes(now, asked, limit, rate)
            for limit in self.document.limits
            if _matches(limit, asked)
            for rate in limit.rates
        )
        if passes:
            self.admitted.append((now, asked))
        return passes

    def _passes(self, now: int, asked: Asked, limit: LimitView, rate: RateView) -> bool:
        window, cost = (rate.window_ms or 0) * 1000, limit.cost
        mine = [
            at for at, one in self.admitted if _matches(limit, one) and _who(limit, one) == _who(limit, asked)
        ]
        match limit.algorithm:
            case "SlidingWindow" if rate.limit <= 100:
                return (sum(at > now - window for at in mine) + 1) * cost <= rate.limit
            case "SlidingWindow":
                current = sum(at // window == now // window for at in mine) * cost
                last = sum(at // window == now // window - 1 for at in mine) * cost
                return current + last * (window - now % window) / window + cost <= rate.limit
            case "FixedWindow":
                return (sum(at // window == now // window for at in mine) + 1) * cost <= rate.limit
            case _:
                # A bucket of `burst` units that fills at an even rate.
                burst = limit.burst or rate.limit
                level, last_at = float(burst), 0
                for at in [*mine, now]:
                    level = min(burst, level + (at - last_at) * rate.limit / window) - cost
                    last_at = at
                return level > -1e-9


def _matches(limit: LimitView, asked: Asked) -> bool:
    return (not limit.endpoints or asked.endpoint in limit.endpoints) and (
        not limit.when.methods or asked.method in limit.when.methods
    )


def _who(limit: LimitView, asked: Asked) -> tuple[object, ...]:
    return tuple(
        {
            "User": asked.subject or (asked.source,),
            "IP": (asked.source,),
            "Global": 0,
            "Route": [asked.endpoint],
        }[part.source]
        for part in limit.key
    )


SOURCES = ["User", "IP", "Global", "Route"]

# All these windows are whole microseconds times all these limits, so that no rounding blurs the edges.
rates = st.lists(
    st.tuples(st.integers(1, 8) | st.just(105), st.integers(72, 240)),
    min_size=1,
    max_size=2,
    unique_by=lambda r: r[1],
).map(lambda found: [{"limit": n, "windowMs": w * 840} for n, w in sorted(found, key=lambda r: r[1])])

limits = st.fixed_dictionaries(
    {
        "component": st.just("gateway"),
        "rates": rates,
        "algorithm": st.sampled_from(["GCRA", "SlidingWindow", "FixedWindow"]),
        "key": st.lists(st.sampled_from(SOURCES), max_size=2).map(
            lambda names: [{"source": n} for n in names]
        ),
        "endpoints": st.sampled_from([[], ["a"], ["a", "b"]]),
        "when": st.sampled_from([{}, {"methods": ["GET"]}]),
        "cost": st.sampled_from([1, 1, 1, 2, 40]),
    }
)


def _document(found: list[dict[str, Any]]) -> LimitDocument:
    for number, limit in enumerate(found):
        limit["name"] = f"l{number}"
        limit["cost"] = min(limit["cost"], *(rate["limit"] for rate in limit["rates"]))
    return read_document(json.dumps({"limits": found}).encode())


documents = st.lists(limits, min_size=1, max_size=4).map(_document)

asked = st.builds(
    Asked,
    endpoint=st.sampled_from("ab"),
    method=st.sampled_from(["GET", "POST"]),
    subject=st.sampled_from([None, "u", "v"]),
    source=st.sampled_from(["1.1.1.1", "2.2.2.2"]),
)

steps = st.lists(
    st.builds(
        Step, after_us=st.integers(1, 5) | st.integers(1, 40 * UNIT_US) | st.just(60 * UNIT_US), asked=asked
    ),
    max_size=40,
)


def rules_of(document: LimitDocument) -> RuleSet:
    """The compiled limits."""
    return RuleSet("gateway", None, document)
