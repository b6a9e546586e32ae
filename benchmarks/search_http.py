"""Searching over HTTP: throughput at saturation, then latency at 30 % of it, each beside its floor. Used by ``search.py``.

Rounds alternate floor and service, and medians of the rounds are reported. At 30 % requests arrive at random moments,
whether or not earlier ones are answered, and latency counts from the planned arrival, so a pause of the server is felt by
everybody who came meanwhile.
"""

import json
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final
from urllib.parse import quote

import aiohttp
import numpy as np
from load import Plan, get, post
from rich.console import Console
from rich.table import Table
from search_stand import Service, Stand

from media_gateway.core.domain.content import SourceRecord
from media_gateway.discovery.text_index.analysis import fold

SHARE: Final = 0.3
"""Of saturation, at which latencies are measured."""

CLEAN: Final = 0.98
"""Share of answers that must come from where they should; on a busy machine Redis is late and searches go on without it."""

HIT_QUERIES: Final = 200
PAGE_SIZE: Final = 20
CONNECTIONS: Final = 32
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"

Limits = dict[str, float]


@dataclass(frozen=True)
class Path:
    """A way to ask.

    Attributes
    ----------
    requests : callable
        Gives so many requests.
    floor : callable | None
        The same for the floor, given those of the service.
    seconds : float
        Length of a round.
    most_per_s : int
        More than the service can answer.
    limits : mapping
        Targets: ``p50``, ``p95``, ``p99`` in milliseconds, ``per_s`` at least, ``share`` of the floor at least.
    """

    name: str
    requests: Callable[[int], list[bytes]]
    floor: Callable[[list[bytes]], list[bytes]] | None
    seconds: float
    most_per_s: int
    limits: Limits
    repeat: bool = False
    expected: str | None = None


@dataclass(frozen=True)
class Round:
    """One measurement: answers a second, processor time of the service for each in microseconds, latencies."""

    per_s: float
    cpu_us: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Measured:
    """All rounds of a path."""

    name: str
    limits: Limits
    full: list[Round]
    full_floor: list[Round]
    calm: list[Round]
    calm_floor: list[Round]


def fresh_descriptions(records: Sequence[SourceRecord], seed: int) -> Callable[[int], list[bytes]]:
    """Queries of 12 to 25 words of a film's overview and keywords, none asked before."""
    rng = random.Random(seed)
    described = [record for record in records if len((record.overview or "").split()) >= 12]

    def take(count: int) -> list[bytes]:
        return [_search(_description(rng.choice(described), rng)) for _ in range(count)]

    return take


def _description(record: SourceRecord, rng: random.Random) -> str:
    words = fold(f"{record.overview} {' '.join(record.keywords or ())}").split()
    return " ".join(rng.sample(words, min(len(words), rng.randint(12, 25))))


def fresh_titles(records: Sequence[SourceRecord], seed: int) -> Callable[[int], list[bytes]]:
    """Titles, every other one with a wrong letter, none asked before."""
    rng = random.Random(seed)
    titles = sorted({record.title for record in records if len(record.title) > 3})
    rng.shuffle(titles)
    whole = iter(titles)

    def mistyped() -> str:
        title = rng.choice(titles)
        at = rng.randrange(1, len(title))
        return title[:at] + rng.choice(LETTERS) + title[at + 1 :]

    def take(count: int) -> list[bytes]:
        asked = [*islice(whole, count // 2)]
        asked += [mistyped() for _ in range(count - len(asked))]
        rng.shuffle(asked)
        return [_search(title) for title in asked]

    return take


def keystrokes(records: Sequence[SourceRecord], seed: int) -> Callable[[int], list[bytes]]:
    """Beginnings of titles and of people's names."""
    rng = random.Random(seed)
    texts = [record.title for record in records]
    texts += [credit.name for record in records for credit in record.credits or ()]

    def take(count: int) -> list[bytes]:
        typed = (text[: rng.randint(1, 16)] for text in rng.choices(texts, k=count))
        return [
            get(f"/api/v1/search/autocomplete?limit=10&q={quote(text)}") for text in typed if text.strip()
        ]

    return take


def _search(query: str) -> bytes:
    return post("/api/v1/search", json.dumps({"query": query, "page_size": PAGE_SIZE}).encode())


def paths_of(records: Sequence[SourceRecord], seed: int) -> list[Path]:
    """Everything that is measured."""
    titles = fresh_titles(records, seed + 1)
    asked_again = titles(HIT_QUERIES)
    return [
        Path(
            "hit",
            lambda _count: asked_again,
            lambda _requests: [post("/kept", b"{}")],
            2.0,
            20_000,
            {"share": 0.6, "p95": 2.0},
            repeat=True,
            expected="HIT",
        ),
        Path(
            "miss, description",
            fresh_descriptions(records, seed),
            lambda requests: [request.replace(b"/api/v1/search", b"/embedded", 1) for request in requests],
            4.0,
            500,
            {"per_s": 150, "p50": 10.0, "p95": 25.0, "p99": 60.0},
            expected="MISS",
        ),
        Path("miss, title-like", titles, None, 2.0, 1_000, {"p95": 12.0}, expected="MISS"),
        Path("autocompletion", keystrokes(records, seed + 2), None, 1.5, 5_000, {"p95": 5.0}),
    ]


async def answer_length(stand: Stand, path: Path) -> int:
    """Ask for everything that is to be a hit, and give the floor an answer of the median length; gives that length."""
    bodies = []
    async with aiohttp.ClientSession() as session:
        for request in path.requests(HIT_QUERIES):
            body = request.partition(b"\r\n\r\n")[2]
            headers = {"Content-Type": "application/json"}
            async with session.post(
                f"{stand.discovery.url}/api/v1/search", data=body, headers=headers
            ) as answer:
                bodies.append(await answer.read())
    body = sorted(bodies, key=len)[len(bodies) // 2]
    await stand.keep(body)
    return len(body)


async def measure(stand: Stand, path: Path, rounds: int) -> Measured:
    """Saturation, then latency at its `SHARE`, each round with its floor."""
    services = [stand.discovery, stand.bare] if path.floor else [stand.discovery]
    results: dict[bool, list[list[Round]]] = {}
    rate = None
    for calm in (False, True):
        results[calm] = [[] for _ in services]
        # The first one warms both up.
        for number in range(0 if calm else -1, rounds):
            requests = path.requests(int((rate or path.most_per_s) * path.seconds * 1.3) + 10)
            for place in range(len(services)) if number % 2 else reversed(range(len(services))):
                sent = path.floor(requests) if path.floor and place else requests
                repeat = path.repeat or bool(place)
                plan = Plan(
                    services[place].url, sent, CONNECTIONS, path.seconds, rate, repeat=repeat, seed=number
                )
                found = await _round(stand, services[place], plan, None if place else path.expected)
                results[calm][place] += [found] if number >= 0 else []
        rate = SHARE * statistics.median(one.per_s for one in results[False][0])
    (full, *full_floor), (calm_ours, *calm_floor) = results[False], results[True]
    return Measured(path.name, path.limits, full, [*chain(*full_floor)], calm_ours, [*chain(*calm_floor)])


async def _round(stand: Stand, service: Service, plan: Plan, expected: str | None) -> Round:
    cpu_s = service.cpu_s()
    outcome = await stand.load(plan)
    cpu_s = service.cpu_s() - cpu_s
    count = len(outcome.latencies_ms)
    if set(outcome.statuses) != {"200"}:
        raise SystemExit(f"{plan.url} answered with {outcome.statuses}")
    if expected and outcome.cached.get(expected, 0) < CLEAN * count:
        sys.stderr.write(f"not only {expected}: {outcome.cached}\n")
    p50, p95, p99 = np.percentile(outcome.latencies_ms, (50, 95, 99))
    return Round(outcome.per_s, cpu_s / count * 1e6, float(p50), float(p95), float(p99))


def show(measured: Sequence[Measured], console: Console) -> None:
    """One row for each figure."""
    table = Table("over HTTP", "", "measured", "spread", "target", "floor", "ratio")
    for path in measured:
        for number, row in enumerate(_rows(path)):
            table.add_row("" if number else path.name, *row)
        table.add_section()
    console.print(table)


def _rows(path: Measured) -> list[tuple[str, ...]]:
    rate = statistics.median(one.per_s for one in path.calm)
    full, calm = (path.full, path.full_floor), (path.calm, path.calm_floor)
    return [
        _row(path, "per_s", ("at saturation", "/s"), full),
        _row(path, "cpu_us", ("CPU of each", " µs"), full),
        *(_row(path, f"p{part}_ms", (f"p{part} at {rate:.0f}/s", " ms"), calm) for part in (50, 95, 99)),
    ]


def _row(
    path: Measured, name: str, words: tuple[str, str], rounds: tuple[Sequence[Round], Sequence[Round]]
) -> tuple[str, ...]:
    what, unit = words
    ours, floors = ([float(getattr(one, name)) for one in some] for some in rounds)
    digits = 2 if unit == " ms" else 0
    limit = path.limits.get(name.removesuffix("_ms"))
    target = "" if limit is None else f"{'≥' if name == 'per_s' else '≤'} {limit:g}{unit}"
    if name == "per_s" and "share" in path.limits:
        target = f"≥ {path.limits['share']:.0%} of it"
    ratios = [value / floor for value, floor in zip(ours, floors, strict=True)] if floors else []
    return (
        what,
        f"{statistics.median(ours):.{digits}f}{unit}",
        f"{min(ours):.{digits}f} to {max(ours):.{digits}f}",
        target,
        f"{statistics.median(floors):.{digits}f}{unit}" if floors else "",
        f"{statistics.median(ratios):.2f}" if ratios else "",
    )
