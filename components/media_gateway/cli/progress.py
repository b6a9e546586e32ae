"""How `up` shows what it does: live lines with timings at a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

PLAIN_EVERY_S = 5.0
"""Least time between two plain lines of one step."""


class Step(Protocol):
    """Something being done."""

    def say(self, detail: str, *, share: float | None = None) -> None:
        """What is going on, and the done share of it (0 to 1) if it can be told."""


class Steps:
    """The steps of one start.

    Parameters
    ----------
    console
        Where to; standard error by default, since standard output has the results.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._live: Progress | None = None
        if self.console.is_terminal:
            self._live = Progress(
                SpinnerColumn(finished_text=Text("✓", style="green")),
                TextColumn("{task.description}"),
                _Bar(),
                TextColumn("{task.fields[detail]}"),
                TimeElapsedColumn(),
                console=self.console,
            )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the steps while the block runs."""
        if self._live is None:
            yield
        else:
            with self._live:
                yield

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """A step: done at the end of the block, shown as failed when the block raises."""
        step = _LiveStep(self._live, title) if self._live else _PlainStep(self, title)
        try:
            yield step
        except BaseException:
            step.end("not done")
            raise
        step.end(None)

    def line(self, text: str, *, style: str = "") -> None:
        """A line of its own, above the steps still running."""
        self.console.print(Text(text, style=style), soft_wrap=True)


@dataclass(slots=True)
class _PlainStep:
    steps: Steps
    title: str
    detail: str = ""
    began: float = 0.0
    said: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.said = time.monotonic()

    def say(self, detail: str, *, share: float | None = None) -> None:
        self.detail = detail
        if time.monotonic() - self.said >= PLAIN_EVERY_S:
            self.said = time.monotonic()
            part = "" if share is None else f" ({share:.0%})"
            self.steps.line(f"{self.title}: {detail}{part}")

    def end(self, problem: str | None) -> None:
        outcome = problem or self.detail or "done"
        self.steps.line(f"{self.title}: {outcome} ({time.monotonic() - self.began:.1f} s)")


class _LiveStep:
    def __init__(self, live: Progress, title: str) -> None:
        self._live = live
        self._task = live.add_task(title, total=None, detail="")

    def say(self, detail: str, *, share: float | None = None) -> None:
        if share is None:
            self._live.update(self._task, detail=detail)
        else:
            self._live.update(self._task, detail=detail, total=1.0, completed=min(share, 0.999))

    def end(self, problem: str | None) -> None:
        if problem is not None:
            self._live.update(self._task, detail=f"[red]{problem}[/red]")
            self._live.stop_task(self._task)
            return
        self._live.update(self._task, total=1.0, completed=1.0)


class _Bar(ProgressColumn):
    """A bar while the share is known and below one, else nothing."""

    _bar = BarColumn(bar_width=24)

    def render(self, task: Task) -> Text:
        if task.total is None or task.finished:
            return Text("")
        return self._bar.render(task)  # type: ignore[return-value]  # any renderable does
