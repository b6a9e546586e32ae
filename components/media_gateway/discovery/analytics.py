"""Takes note of searches and clicks, beside the requests that make them: `record` and `record_click` only append to a list.

A supervised task writes what has come about twice a second. While Postgres is away events are kept up to a bound; what
comes beyond it is dropped and counted. A search is never delayed by this, and never fails for it.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import islice

import structlog
from prometheus_client import Counter, Gauge, Histogram

from media_gateway.core.errors import InvalidInputError, MediaGatewayError, UnavailableError
from media_gateway.discovery.pseudonyms import Pseudonyms
from media_gateway.discovery.search_events import ClickEvent, SearchEvent, clicked, normalised, performed
from media_gateway.discovery.store.analytics import (
    PURGE_LIMIT,
    AnalyticsStore,
    AnnouncedClick,
    HashedSearch,
)

CAPACITY = 20_000
"""Events kept while they can't be written, about 1 kB each: ten seconds of the fastest answers one process can give,
hours of ordinary use."""

BATCH = 200
"""Events of one transaction. Preparing one takes about 25 µs of the event loop, so requests meanwhile wait a few
milliseconds at most."""

SLICE = 50
"""Events hashed between two turns of the event loop: about a millisecond."""

FLUSH_S = 0.5
"""How long events are gathered, in seconds."""

WRITE_TIMEOUT_S = 10.0
"""Longest one batch may take, in seconds: a server that vanished would be waited for until TCP gives up."""

CLOSE_TIMEOUT_S = 3.0
"""How long a stopping process tries to write the rest, in seconds; below what a drain leaves."""

RETRY_S = (0.2, 0.5, 1.0, 2.0)
"""Pauses while the database is away, in seconds; the last one repeats."""

PURGE_EVERY_S = 900.0
"""Pause between two purges, in seconds."""

PURGE_PAUSE_S = 0.05
"""Pause between two statements of a purge, in seconds, so that it does not take a server's whole attention."""

_log = structlog.get_logger(__name__)
_events = Counter(
    "mgw_search_events_total", "Searches and clicks by what became of them", ["kind", "outcome"]
)
_waiting = Gauge("mgw_search_events_waiting", "Searches and clicks not yet written")
_seconds = Histogram("mgw_search_events_batch_seconds", "Time to write a batch of searches and clicks")


class Analytics:
    """The recorder.

    Parameters
    ----------
    capacity
        Most events kept in memory.
    """

    def __init__(self, store: AnalyticsStore, pseudonyms: Pseudonyms, *, capacity: int = CAPACITY) -> None:
        self._store = store
        self._pseudonyms = pseudonyms
        self._capacity = capacity
        self._events = deque[SearchEvent | ClickEvent]()
        self._some = asyncio.Event()
        self._many = asyncio.Event()
        self._problem: str | None = None
        self._dropping = False

    def record(self, search: SearchEvent) -> None:
        """Note a search. Never waits, never raises; beyond the capacity the event is dropped and counted."""
        if not self._note(search):
            _events.labels("search", "dropped").inc()

    def record_click(self, click: ClickEvent) -> None:
        """Note a click.

        Raises
        ------
        UnavailableError
            As many events wait as may; unlike a search, a click can be sent again.
        """
        if not self._note(click):
            _events.labels("click", "dropped").inc()
            raise UnavailableError("clicks can't be taken at the moment")

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        failures = 0
        while True:
            await self._gathered()
            try:
                await self._write_next()
                failures = 0
            except (MediaGatewayError, TimeoutError) as error:
                self._complain(error)
                await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1

    async def close(self) -> None:
        """Write the rest once `run` has ended; what can't be written in `CLOSE_TIMEOUT_S` is dropped and counted."""
        with suppress(MediaGatewayError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                while self._events:
                    await self._write_next()
        if self._events:
            _log.warning("searches and clicks are lost with this process", events=len(self._events))
            for kind, _ in self._take(len(self._events)):
                _events.labels(kind, "dropped").inc()

    async def health(self) -> str | None:
        """None if events are written, else why not and how many wait."""
        if self._problem is None:
            return None
        lost = "; what comes now is dropped" if self._dropping else ""
        return f"searches can't be noted ({self._problem}); {len(self._events)} are kept in memory{lost}"

    def _note(self, event: SearchEvent | ClickEvent) -> bool:
        if len(self._events) >= self._capacity:
            if not self._dropping:
                _log.warning("searches and clicks are dropped", waiting=len(self._events))
            self._dropping = True
            return False
        self._events.append(event)
        self._some.set()
        if len(self._events) >= BATCH:
            self._many.set()
        return True

    async def _gathered(self) -> None:
        """Return once something has come and had its time to be joined by more, or a batch is full."""
        await self._some.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._many.wait()
        _waiting.set(len(self._events))

    async def _write_next(self) -> None:
        # Events stay in the list until they are written: a task that is cancelled in between loses none.
        batch = list(islice(self._events, BATCH))
        try:
            await self._write(batch)
        except InvalidInputError:
            for event in batch:
                await self._write_or_refuse(event)
        if self._problem is not None:
            _log.info("searches and clicks are noted again", waiting=len(self._events))
        self._problem, self._dropping = None, False

    async def _write_or_refuse(self, event: SearchEvent | ClickEvent) -> None:
        try:
            await self._write([event])
        except InvalidInputError as error:
            for kind, refused in self._take(1):
                _events.labels(kind, "refused").inc()
                _log.error(
                    "event refused", kind=kind, search_id=str(refused.search_id), problem=error.message
                )

    async def _write(self, batch: Sequence[SearchEvent | ClickEvent]) -> None:
        searches = list[HashedSearch]()
        for number, event in enumerate(batch):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            if isinstance(event, SearchEvent):
                searches.append(self._hashed(event))
        clicks = [self._announced(event) for event in batch if isinstance(event, ClickEvent)]
        with _seconds.time():
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                written = await self._store.write(searches, clicks)
        self._take(len(batch))
        _events.labels("search", "written").inc(written.searches)
        _events.labels("click", "written").inc(written.clicks)
        # Sent before, or on something that never was in the catalogue.
        _events.labels("click", "ignored").inc(len(clicks) - written.clicks)

    def _hashed(self, event: SearchEvent) -> HashedSearch:
        text = normalised(event.query)
        query_hash = self._pseudonyms.query(text)
        return HashedSearch(
            event,
            text,
            query_hash,
            self._pseudonyms.searcher(query_hash, event.searcher),
            performed(event, self._pseudonyms.query_in_event(text)),
            self._person(event.searcher.subject),
        )

    def _announced(self, event: ClickEvent) -> AnnouncedClick:
        visitor = self._pseudonyms.visitor(event.created_at.date(), event.content_id, event.searcher)
        return AnnouncedClick(event, clicked(event, visitor), self._person(event.searcher.subject))

    def _person(self, subject: str | None) -> bytes | None:
        return None if subject is None else self._pseudonyms.erased(f"user:{subject}")

    def _take(self, count: int) -> list[tuple[str, SearchEvent | ClickEvent]]:
        """Take the oldest events out of the list; each with its kind."""
        taken = [self._events.popleft() for _ in range(count)]
        if not self._events:
            self._some.clear()
        if len(self._events) < BATCH:
            self._many.clear()
        _waiting.set(len(self._events))
        return [("search" if isinstance(event, SearchEvent) else "click", event) for event in taken]

    def _complain(self, error: MediaGatewayError | TimeoutError) -> None:
        problem = error.message if isinstance(error, MediaGatewayError) else "the database is silent"
        if problem != self._problem:
            _log.warning("searches and clicks can't be written", waiting=len(self._events), problem=problem)
        self._problem = problem


class SearchRetention:
    """Deletes what is kept long enough.

    Parameters
    ----------
    age
        How long searches and clicks are kept. A text goes once too few of those who searched for it are left.
    """

    def __init__(self, store: AnalyticsStore, age: timedelta, *, pause_s: float = PURGE_EVERY_S) -> None:
        self._store = store
        self._age = age
        self._pause_s = pause_s

    async def run(self) -> None:
        """Purge now and then, until cancelled."""
        while True:
            try:
                await self.purge()
            except MediaGatewayError as error:
                _log.warning("search retention failed", problem=error.message)
            await asyncio.sleep(self._pause_s)

    async def purge(self) -> None:
        """Purge once."""
        gone = PURGE_LIMIT
        while gone >= PURGE_LIMIT:
            gone = await self._store.purge(self._age)
            await asyncio.sleep(PURGE_PAUSE_S)
        await self._store.purge_texts()
