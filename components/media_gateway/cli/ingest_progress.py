"""How ``media-gateway ingest run`` shows its work: one live line at a terminal, a plain line every few seconds elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress as Bars, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn

from media_gateway.ingestion.services.meter import Progress

PLAIN_EVERY_S = 5.0
"""Time between two plain lines."""


class Display:
    """Shows progress on standard error; results belong to standard output.

    Parameters
    ----------
    console
        Where to; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._said = time.monotonic()

    @contextmanager
    def showing(self, title: str) -> Iterator[None]:
        """Show what `progress` and `say` are told while the block runs."""
        self._said = time.monotonic()
        if not self.console.is_terminal:
            yield
            return
        columns = (
            SpinnerColumn(),
            TextColumn(title),
            BarColumn(24),
            TaskProgressColumn(),
            TextColumn("{task.fields[detail]}"),
        )
        with Bars(*columns, console=self.console, transient=True) as self._bars:
            self._task = self._bars.add_task(title, total=None, detail="")
            yield
        self._bars = None

    def progress(self, progress: Progress) -> None:
        """Show a job's progress."""
        self.say(describe(progress), progress.percent)

    def say(self, detail: str, percent: float | None = None) -> None:
        """Show what is going on, and how many per cent are done if that is known."""
        if self._bars is not None and self._task is not None:
            total = None if percent is None else 100.0
            self._bars.update(self._task, detail=detail, total=total, completed=percent or 0.0)
        elif time.monotonic() - self._said >= PLAIN_EVERY_S:
            self._said = time.monotonic()
            share = "" if percent is None else f"{percent:.0f} %: "
            self.line(share + detail)

    def line(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, soft_wrap=True, markup=False)


def describe(progress: Progress) -> str:
    """Progress in words."""
    counts = progress.counts
    parts = [
        f"{counts.read:,} read",
        f"{counts.written:,} written",
        f"{counts.skipped:,} unchanged",
        f"{counts.failed:,} rejected",
    ]
    if progress.rate_per_second is not None:
        parts.append(f"{progress.rate_per_second:,.0f}/s")
    if progress.remaining_s is not None:
        parts.append(f"{duration(progress.remaining_s)} left")
    if progress.waiting_for is not None:
        parts.append(f"waiting: {progress.waiting_for}")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """A time span as a person says it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
