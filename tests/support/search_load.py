"""People who search all the while, each in another way, and what they get."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, Literal
from uuid import UUID

from tests.support.discovery import Discovery
from tests.support.films import Film
from tests.support.waiting import eventually

Kind = Literal["title", "description", "filtered", "paging", "known", "autocomplete"]
KINDS: tuple[Kind, ...] = ("title", "description", "filtered", "paging", "known", "autocomplete")
NEW: frozenset[Kind] = frozenset({"title", "description", "filtered", "paging"})
"""Searches that nobody has made before, so that no cache has an answer."""

WORKERS = 3
PAUSE_S = 0.02
"""In seconds. The machine of the tests is busy; more of it would be about the machine."""

SHARE = 0.9
"""Of answers in a row that must be as wanted, for the same reason."""


@dataclass(frozen=True)
class Seen:
    """An answer as its caller saw it."""

    kind: Kind
    status: int
    seconds: float
    cache: str
    degraded: bool
    missing: tuple[str, ...]
    ids: tuple[UUID, ...]

    @property
    def full(self) -> bool:
        """Whether nothing is missing."""
        return self.status == 200 and not self.degraded and not self.missing


class SearchLoad:
    """Workers who search without a pause. Every answer has to be good in itself; the test judges what else it is."""

    def __init__(
        self, discovery: Discovery, films: Sequence[Film], *, variant: str, deadline_ms: int
    ) -> None:
        self._discovery = discovery
        self._variant = variant
        self._films = films
        self._deadline_s = deadline_ms / 1000
        self._numbers = itertools.count()
        self._seen: list[Seen] = []
        self._over = False
        self._leaving: set[UUID] = set()
        self._gone: set[UUID] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Search until the end of the block."""
        self._over = False
        async with asyncio.TaskGroup() as workers:
            for _ in range(WORKERS):
                workers.create_task(self._work())
            try:
                yield
            finally:
                self._over = True

    def may_miss(self, content_id: UUID) -> None:
        """From now on this content need not be found."""
        self._leaving.add(content_id)

    def forbid(self, content_id: UUID) -> None:
        """From now on no answer to a search that begins may hold this content."""
        self._gone.add(content_id)

    def last(self, kind: Kind) -> Seen:
        """The last answer of a kind."""
        return next(one for one in reversed(self._seen) if one.kind == kind)

    def taken(self) -> list[Seen]:
        """Answers since the last call."""
        seen, self._seen = self._seen, []
        return seen

    async def until(
        self,
        wanted: Callable[[Seen], bool],
        kinds: Iterable[Kind] = NEW,
        *,
        count: int = 40,
        timeout_s: float = 90,
    ) -> None:
        """Wait until of so many answers in a row to searches of these kinds `SHARE` were as wanted."""
        chosen = frozenset(kinds)

        def reached() -> bool:
            answers = (one for one in reversed(self._seen) if one.kind in chosen)
            last = list(itertools.islice(answers, count))
            return len(last) == count and sum(map(wanted, last)) >= SHARE * count

        try:
            await eventually(reached, timeout_s=timeout_s)
        except AssertionError as error:
            raise AssertionError(told(self._seen[-3 * count :])) from error

    async def _work(self) -> None:
        while not self._over:
            number = next(self._numbers)
            kind = KINDS[number % len(KINDS)]
            gone = set(self._gone)
            try:
                async with asyncio.timeout(self._deadline_s):
                    one = await self._ask(kind, number // len(KINDS))
            except TimeoutError:
                raise AssertionError(f"{kind}: no answer within {self._deadline_s} s") from None
            assert one.status == 200, one
            assert gone.isdisjoint(one.ids), f"{kind}: holds what was removed"
            self._seen.append(one)
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, kind: Kind, number: int) -> Seen:
        film = self._films[number % len(self._films)]
        started = time.perf_counter()
        if kind == "autocomplete":
            typed = film.title[: 3 + number % 5]
            status, answer = await self._discovery.get("/api/v1/search/autocomplete", params={"q": typed})
            if status == 200 and film.id not in self._leaving:
                assert answer["suggestions"], typed
            return Seen(kind, status, time.perf_counter() - started, "", False, (), ())
        body = {"explain": True, "variant": self._variant, **_body(kind, film, number)}
        async with self._discovery.session.post(
            f"{self._discovery.url}/api/v1/search", json=body
        ) as response:
            answer = await response.json(content_type=None)
            seconds, headers = time.perf_counter() - started, response.headers
        if response.status != 200:
            return Seen(kind, response.status, seconds, str(answer), True, (), ())
        self._judge(kind, film, answer)
        missing = tuple(answer["explanation"]["missing"])
        ids = tuple(UUID(hit["content"]["id"]) for hit in answer["results"])
        return Seen(kind, 200, seconds, headers["X-Cache"], answer["degraded"], missing, ids)

    def _judge(self, kind: Kind, film: Film, answer: dict[str, Any]) -> None:
        found = [hit["content"] for hit in answer["results"]]
        missing = answer["explanation"]["missing"]
        assert answer["degraded"] or not missing
        if "text" in missing:
            return
        if kind == "title" and film.id not in self._leaving:
            assert found[0]["title"] == film.title
        if kind == "filtered":
            assert found
            assert all(film.genres[0] in content["genres"] for content in found)


def _body(kind: Kind, film: Film, number: int) -> dict[str, Any]:
    words = (film.overview or "").rstrip(".")
    # The cache knows a search by its page size too, and an embedding by its text.
    match kind:
        case "title":
            return {"query": film.title, "page_size": 1 + number % 100}
        case "description":
            return {"query": f"{words} number{number}"}
        case "filtered":
            return {"query": f"{words} of{number}", "filters": {"genres": [film.genres[0]]}}
        case "paging":
            return {"query": f"story round{number}", "page": 1 + number % 3, "page_size": 5 + number % 7}
        case _:
            return {"query": "story of a harbour"}


def told(seen: Sequence[Seen]) -> str:
    """What a table of measurements says of answers."""
    searches = [one for one in seen if one.kind != "autocomplete"]
    lines = list(_times("searches", searches)) + list(
        _times("autocomplete", [one for one in seen if one.kind == "autocomplete"])
    )
    states = Counter(one.cache for one in searches)
    degraded = Counter((one.degraded, one.missing) for one in searches)
    return "; ".join((*lines, f"cache {dict(states)}", f"degraded, missing {dict(degraded)}"))


def _times(name: str, seen: Sequence[Seen]) -> Iterator[str]:
    if len(seen) >= 2:
        steps = quantiles([one.seconds * 1000 for one in seen], n=100)
        slowest = max(one.seconds for one in seen) * 1000
        yield f"{len(seen)} {name}: p50 {steps[49]:.0f}, p95 {steps[94]:.0f}, longest {slowest:.0f} ms"
