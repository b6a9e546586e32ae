"""Outcomes put together: means by class, latencies, differences between variants. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from media_gateway.cli.evaluation.asking import Outcome, Target
from media_gateway.cli.evaluation.bootstrap import Difference, paired_bootstrap
from media_gateway.cli.evaluation.metrics import PRECISION
from media_gateway.cli.evaluation.pairs import OVERALL, Pairs


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in milliseconds, interpolated linearly between the nearest ranks."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """What the queries of a class got from one variant.

    Attributes
    ----------
    measures : dict
        Means over the queries that have the measure, by name; a measure that no query has is absent.
    judged_in_ten : int
        Queries with ten right answers or more, over which ``precision@10`` is the mean.
    """

    name: str
    queries: int
    measures: dict[str, float]
    judged_in_ten: int
    latency_ms: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantReport:
    """What one variant did; ``classes`` begins with all queries together."""

    variant: str | None
    classes: tuple[ClassReport, ...]
    legs_ms: dict[str, Latency]
    degraded: int
    cached: int

    @property
    def queries(self) -> int:
        """Queries that were answered."""
        return self.classes[0].queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A variant against the first one, on the queries both have answered: second minus first, by class and measure."""

    first: str | None
    second: str | None
    classes: dict[str, dict[str, Difference]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was found out."""

    pairs: Pairs
    target: Target
    variants: tuple[VariantReport, ...]
    comparisons: tuple[Comparison, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every query was answered by every variant."""
        return len(self.outcomes) == len(self.pairs.queries) * len(self.target.variants)

    def to_json(self) -> dict[str, Any]:
        """The report with every query's part in it, as the command writes it to a file."""
        return {
            "pairs": str(self.pairs.path),
            "pairs_sha256": self.pairs.sha256,
            "url": self.target.url,
            "depth": self.target.depth,
            "concurrency": self.target.concurrency,
            "complete": self.is_whole,
            "variants": [asdict(variant) for variant in self.variants],
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "queries": [
                asdict(outcome)
                | {"query": outcome.query.text, "class": outcome.query.kind, "line": outcome.query.line}
                for outcome in self.outcomes
            ],
        }


def report_on(pairs: Pairs, target: Target, outcomes: Sequence[Outcome]) -> Report:
    """Put outcomes together, those of an interrupted measurement too.

    Means are over queries: a class counts in ``overall`` as often as it has queries.
    """
    in_order = sorted(outcomes, key=lambda outcome: outcome.query.line)
    by_variant = {
        variant: [outcome for outcome in in_order if outcome.variant == variant]
        for variant in target.variants
    }
    answered = {variant: found for variant, found in by_variant.items() if found}
    first, *others = answered or [None]
    return Report(
        pairs=pairs,
        target=target,
        variants=tuple(_variant_report(variant, found) for variant, found in answered.items()),
        comparisons=tuple(_comparison(answered[first], answered[other]) for other in others),
        outcomes=tuple(in_order),
    )


def _variant_report(variant: str | None, outcomes: Sequence[Outcome]) -> VariantReport:
    legs = dict.fromkeys(leg for outcome in outcomes for leg in outcome.legs_ms)
    return VariantReport(
        variant=variant,
        classes=tuple(_class_report(name, found) for name, found in _by_class(outcomes).items()),
        legs_ms={leg: _latency(o.legs_ms[leg] for o in outcomes if leg in o.legs_ms) for leg in legs},
        degraded=sum(outcome.degraded for outcome in outcomes),
        cached=sum(outcome.cached for outcome in outcomes),
    )


def _class_report(name: str, outcomes: Sequence[Outcome]) -> ClassReport:
    values: dict[str, list[float]] = {}
    for outcome in outcomes:
        for measure, value in outcome.measures.items():
            values.setdefault(measure, []).append(value)
    return ClassReport(
        name=name,
        queries=len(outcomes),
        measures={measure: float(np.mean(found)) for measure, found in values.items()},
        judged_in_ten=len(values.get(PRECISION, ())),
        latency_ms=_latency(outcome.latency_ms for outcome in outcomes),
    )


def _comparison(first: Sequence[Outcome], second: Sequence[Outcome]) -> Comparison:
    before = {outcome.query.line: outcome for outcome in first}
    both = [outcome for outcome in second if outcome.query.line in before]

    def differences(outcomes: Sequence[Outcome]) -> dict[str, Difference]:
        values: dict[str, list[float]] = {}
        for outcome in outcomes:
            for measure, value in outcome.measures.items():
                values.setdefault(measure, []).append(value - before[outcome.query.line].measures[measure])
        return {measure: paired_bootstrap(np.asarray(found)) for measure, found in values.items()}

    return Comparison(
        first=first[0].variant,
        second=second[0].variant,
        classes={name: differences(outcomes) for name, outcomes in _by_class(both).items()} if both else {},
    )


def _by_class(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    classes: dict[str, list[Outcome]] = {OVERALL: list(outcomes)}
    for outcome in outcomes:
        classes.setdefault(outcome.query.kind, []).append(outcome)
    return classes


def _latency(values_ms: Iterable[float]) -> Latency:
    p50, p95 = np.percentile(list(values_ms), (50, 95))
    return Latency(float(p50), float(p95))
