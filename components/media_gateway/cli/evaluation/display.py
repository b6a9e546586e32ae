"""Shows a report at a terminal or in a log. Called by the command."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from media_gateway.cli.evaluation.metrics import PRECISION, names
from media_gateway.cli.evaluation.report import Comparison, Report, VariantReport
from media_gateway.cli.evaluation.stored import Finding
from media_gateway.cli.evaluation.training import Training

PIPED_WIDTH = 200
"""Columns where the output is no terminal: a table that is piped somewhere is not cut."""


class Bar:
    """A progress bar on standard error while the block runs; nothing where that is no terminal."""

    def __init__(self, total: int) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("answers"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bars.add_task("answers", total=total)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def step(self) -> None:
        """One more answer."""
        self._bars.advance(self._task)


def show(report: Report) -> None:
    """Print everything a person reads: a table a variant, one a comparison, and what to know about them."""
    console = _console()
    for variant in report.variants:
        console.print(_variant_table(variant, names(report.target.depth)))
        _remarks(console, report, variant)
    for comparison in report.comparisons:
        console.print(_comparison_table(comparison, names(report.target.depth)))
    if not report.is_whole:
        asked = len(report.pairs.queries) * len(report.target.variants)
        console.print(f"stopped early: {len(report.outcomes):,} of {asked:,} answers")


def show_training(training: Training, queries: int, path: Path) -> None:
    """Print the weights and what they do."""
    console = _console()
    table = Table(
        "queries", *_numbers("count", "ndcg@10 as it came", "ndcg@10 trained", "difference", "95 % interval")
    )
    for name, half in (("learned from", training.learned_from), ("held out", training.held_out)):
        found = half.difference
        table.add_row(
            name,
            str(half.queries),
            f"{half.came:.4f}",
            f"{half.trained:.4f}",
            f"{found.mean:+.4f}",
            f"{found.low:+.4f} to {found.high:+.4f}",
        )
    console.print(table)
    left = queries - training.learned_from.queries - training.held_out.queries
    if left:
        console.print(
            f"{left} of {queries} queries are not re-ranked: they are no descriptions, or find nothing"
        )
    weights = ", ".join(f"{name} {weight:g}" for name, weight in training.weights.items())
    console.print(f"{path}: {weights}", markup=False)


def show_findings(findings: Sequence[Finding], path: Path) -> None:
    """Print what is worse than stored, or that nothing is."""
    console = _console()
    if not findings:
        console.print(f"no measure of any class is worse than in {path}", markup=False)
        return
    table = Table(
        "class",
        "measure",
        *_numbers("stored", "tolerance", "now"),
        title=f"Worse than in {escape(str(path))}",
    )
    for one in findings:
        now = "not measured" if one.now is None else f"{one.now:.4f}"
        stored = one.stored
        table.add_row(escape(one.kind), one.measure, f"{stored.value:.4f}", f"{stored.tolerance:.4f}", now)
    console.print(table)


def _variant_table(variant: VariantReport, measures: Sequence[str]) -> Table:
    title = "Search" if variant.variant is None else f"Search, variant {escape(variant.variant)}"
    table = Table("class", *_numbers("queries", *measures, "p50 ms", "p95 ms"), title=title)
    for found in variant.classes:
        cells = [_mean(found.measures.get(name)) for name in measures]
        if 0 < found.judged_in_ten < found.queries:
            cells[measures.index(PRECISION)] += f" (of {found.judged_in_ten})"
        latency = (f"{found.latency_ms.p50:.1f}", f"{found.latency_ms.p95:.1f}")
        table.add_row(escape(found.name), f"{found.queries:,}", *cells, *latency)
    return table


def _comparison_table(comparison: Comparison, measures: Sequence[str]) -> Table:
    title = f"{_name(comparison.second)} minus {_name(comparison.first)}: mean difference, 95 % interval, * beyond chance"
    table = Table("class", *_numbers(*measures), title=title)
    for kind, differences in comparison.classes.items():
        cells = []
        for name in measures:
            one = differences.get(name)
            star = " *" if one and one.is_significant else ""
            cells.append(f"{one.mean:+.4f} ({one.low:+.4f} to {one.high:+.4f}){star}" if one else "-")
        table.add_row(escape(kind), *cells)
    return table


def _remarks(console: Console, report: Report, variant: VariantReport) -> None:
    for leg, latency in variant.legs_ms.items():
        console.print(f"leg {leg}: p50 {latency.p50:.1f} ms, p95 {latency.p95:.1f} ms", markup=False)
    if variant.degraded:
        console.print(
            f"{variant.degraded:,} of {variant.queries:,} answers were degraded: part of the search was away"
        )
    if variant.cached:
        console.print(
            f"{variant.cached:,} of {variant.queries:,} answers came from the cache: latencies are mixed"
        )
    if report.target.concurrency > 1:
        console.print(f"{report.target.concurrency} requests at the same time: latencies hold their waiting")


def _numbers(*headers: str) -> tuple[Column, ...]:
    return tuple(Column(header, justify="right") for header in headers)


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _name(variant: str | None) -> str:
    return escape(variant or "default")


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
