"""Autocompletion and "did you mean" over the same films as the text index; called by ``text_index.py``, no script of its own.

The floor of a keystroke is two bisections in a sorted list of all titles and names, and the ten that follow: no popularity,
no later words, no typing errors. Floor and suggestions alternate keystroke by keystroke.
"""

import random
import statistics
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil
from rich.console import Console
from rich.table import Table

from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.suggestions import Spelling, Suggestions
from media_gateway.discovery.text_index import TextIndex, analyse
from media_gateway.discovery.text_index.analysis import fold, loose

LIMIT = 10
KEYSTROKES = (1, 2, 3, 4, 6, 8, 12, 16)
MISTYPED = (4, 6, 8, 12, 16)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Keystroke:
    """Latency of the suggestions for so many letters, in milliseconds, of the floor in microseconds."""

    letters: int
    mistyped: bool
    p50_ms: float
    p95_ms: float
    floor_p50_us: float


@dataclass(frozen=True)
class Corrections:
    """What "did you mean" made of titles with one error, and of titles as they are."""

    p50_ms: float
    p95_ms: float
    asked: int
    right: int
    wrong: int
    false_corrections: int


@dataclass(frozen=True)
class Autocomplete:
    """Times in seconds or milliseconds, memory in megabytes (10^6 bytes) of PSS."""

    build_s: float
    build_mb: float
    update_ms: float
    keystrokes: list[Keystroke]
    corrections: Corrections


def timed_ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def with_error(text: str, rng: random.Random) -> str:
    """The text with a letter too many, too few, another one, or two swapped; never the first."""
    at = rng.randrange(1, len(text))
    letter = rng.choice(LETTERS)
    return rng.choice(
        [
            text[:at] + text[at + 1 :],
            text[:at] + letter + text[at:],
            text[:at] + letter + text[at + 1 :],
            text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :],
        ]
    )


def measure_autocomplete(contents: Sequence[IndexedContent], index: TextIndex, queries: int) -> Autocomplete:
    process = psutil.Process()
    before = process.memory_full_info().pss
    started = time.perf_counter()
    suggestions = Suggestions()
    for start in range(0, len(contents), 2_000):
        suggestions.apply(contents[start : start + 2_000])
        suggestions.commit()
    build_s = time.perf_counter() - started
    build_mb = (process.memory_full_info().pss - before) / 1e6
    rng = random.Random(7)
    keystrokes = measure_keystrokes(suggestions, contents, queries, rng)
    corrections = measure_corrections(Spelling(suggestions, index.frequency), contents, queries, rng)

    def update(film: IndexedContent) -> None:
        suggestions.apply([film])
        suggestions.commit()

    updates = [timed_ms(lambda film=film: update(film)) for film in contents[:50]]
    return Autocomplete(build_s, build_mb, statistics.median(updates), keystrokes, corrections)


def measure_keystrokes(
    suggestions: Suggestions, contents: Sequence[IndexedContent], queries: int, rng: random.Random
) -> list[Keystroke]:
    titles = [film.title for film in contents]
    names = sorted({person.name for film in contents for person in film.people})
    floor = sorted({fold(text) for text in (*titles, *names)})
    texts = rng.sample(titles, queries // 2) + rng.sample(names, queries // 2)

    def bisected(typed: str) -> list[str]:
        first = bisect_left(floor, typed)
        return floor[first : min(first + LIMIT, bisect_left(floor, f"{typed}\U0010ffff"))]

    found = []
    for mistyped, letters in [*((False, n) for n in KEYSTROKES), *((True, n) for n in MISTYPED)]:
        typed = [
            (with_error(text, rng) if mistyped else text)[:letters] for text in texts if len(text) >= letters
        ]
        floor_us, took_ms = [], []
        for text in typed:
            key = fold(text)
            floor_us.append(timed_ms(lambda key=key: bisected(key)) * 1000)
            took_ms.append(timed_ms(lambda text=text: suggestions.suggest(text, LIMIT)))
        p95 = statistics.quantiles(took_ms, n=20)[-1]
        median = statistics.median
        found.append(Keystroke(letters, mistyped, median(took_ms), p95, median(floor_us)))
    return found


def measure_corrections(
    spelling: Spelling, contents: Sequence[IndexedContent], queries: int, rng: random.Random
) -> Corrections:
    """Errors that leave a title what it is but for its spaces are left out: search reads those as they are."""
    titles = rng.sample([film.title for film in contents if len(fold(film.title)) >= 4], queries)
    mistyped = [(with_error(title, rng), title) for title in titles]
    mistyped = [(typed, title) for typed, title in mistyped if loose(fold(typed)) != loose(fold(title))]
    took_ms, offered = [], []
    for typed, title in mistyped:
        query = analyse(typed)
        started = time.perf_counter()
        offer = spelling.did_you_mean(query)
        took_ms.append((time.perf_counter() - started) * 1000)
        if offer is not None:
            offered.append(fold(offer) == fold(title))
    untouched = [spelling.did_you_mean(analyse(title)) for title in titles]
    return Corrections(
        p50_ms=statistics.median(took_ms),
        p95_ms=statistics.quantiles(took_ms, n=20)[-1],
        asked=len(mistyped),
        right=sum(offered),
        wrong=len(offered) - sum(offered),
        false_corrections=sum(offer is not None for offer in untouched),
    )


def show_autocomplete(result: Autocomplete, console: Console) -> None:
    table = Table("letters typed", "p50 ms", "p95 ms", "floor p50 µs", "ratio")
    for row in result.keystrokes:
        table.add_row(
            f"{row.letters}{', one wrong' if row.mistyped else ''}",
            f"{row.p50_ms:.2f}",
            f"{row.p95_ms:.2f}",
            f"{row.floor_p50_us:.1f}",
            f"{row.p50_ms * 1000 / row.floor_p50_us:.0f}",
        )
    console.print(table)
    corrections = result.corrections
    console.print(
        f"suggestions built in {result.build_s:.1f} s; {result.build_mb:.0f} MB of memory; one changed film suggested after "
        f"{result.update_ms:.1f} ms"
    )
    console.print(
        f"did you mean: {corrections.p50_ms:.2f} ms (p95 {corrections.p95_ms:.2f}); of {corrections.asked} titles with an "
        f"error {corrections.right} corrected right, {corrections.wrong} wrong; {corrections.false_corrections} titles "
        "without one corrected"
    )
