"""Keeps text index and suggestions equal to the catalogue: built at start, then by content events, compared now and then.

Spawned by the app as two supervised tasks. An event is only a hint which content to read again, so neither order nor
repetition of events matters. Everything written goes through one path (`_refresh`), under one lock: what was read from
the database is in the index before the next is read.
"""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar, TypeVarTuple, Unpack
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge, Histogram

from media_gateway.core.domain.events import Topic
from media_gateway.core.errors import ConflictError, MediaGatewayError, UnavailableError
from media_gateway.core.ports.events import Delivery, EventBus, Subscription
from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.generation import CatalogueGeneration
from media_gateway.discovery.memory import give_back
from media_gateway.discovery.pauses import RETRY_S, pause
from media_gateway.discovery.store import CatalogueReader
from media_gateway.discovery.suggestions import Suggestions
from media_gateway.discovery.text_index import TextIndex

A = TypeVarTuple("A")
T = TypeVar("T")

READ_CHUNK = 250
"""Contents read and indexed at once: some 50 ms of work, so events wait no longer than that behind a rebuild."""

COMMIT_CHUNKS = 8
"""Chunks of a comparison in one commit: a fresh index answers from its first 2,000 contents on."""

REVISIONS_CHUNK = 5_000

EVENTS_AT_ONCE = 1_000

GATHERING_RATIO = 1.0
"""Events are gathered so many times as long as writing the last ones took. A commit and the merges that follow it cost as much
as indexing a hundred contents, so larger batches need less of a core in all, and searches get most of it meanwhile."""

LONGEST_GATHERING_S = 0.25
"""But no longer than this, in seconds."""

_log = structlog.get_logger(__name__)
_documents = Gauge("mgw_index_documents", "Contents in the text index")
_lag = Histogram(
    "mgw_index_lag_seconds",
    "From a content event to its content being searchable",
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60),
)
_repaired = Counter(
    "mgw_index_repaired_contents_total", "Contents a comparison with the database found stale"
)
_comparisons = Counter(
    "mgw_index_comparisons_total",
    "Comparisons of the text index with the database. equal: count and checksum were the same, nothing else was read; "
    "repaired: contents were stale; caught_up: events brought what was missing before it was looked for",
    ["reason", "outcome"],
)


class Indexes(NamedTuple):
    """What is kept current of the catalogue; written by the feed only."""

    text: TextIndex
    suggestions: Suggestions
    generation: CatalogueGeneration


class IndexFeed:
    """Builds the indexes and follows the catalogue.

    Parameters
    ----------
    indexes
        The text index says what is stale, so that the suggestions, which get the same, need no revisions.
    batch_ms
        How long events are gathered into one commit, in milliseconds, unless there are so many that longer is better.
    reconcile_s
        Pause between comparisons, in seconds.
    """

    def __init__(
        self,
        catalogue: CatalogueReader,
        bus: EventBus,
        indexes: Indexes,
        *,
        batch_ms: int,
        reconcile_s: float,
    ) -> None:
        self._catalogue = catalogue
        self._bus = bus
        self._index, self._suggestions, self._generation = indexes
        self._batch_s = self._gathering_s = batch_ms / 1000
        self._reconcile_s = reconcile_s
        self._writing = asyncio.Lock()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="text-index")
        self._complete = False
        self._was_built = False
        self._bus_problem: str | None = None
        self._compared_at = datetime.now(UTC)

    @property
    def complete(self) -> bool:
        """Whether the index holds the whole catalogue, as far as events have told. False while it is (re)built."""
        return self._complete

    async def built(self) -> None:
        """Return if the index has ever been whole.

        Raises
        ------
        UnavailableError
            It has not: another replica answers better.
        """
        if not self._was_built:
            raise UnavailableError("the first text index is being built")

    async def health(self) -> str | None:
        """None if the index is whole and follows the bus, else what is missing."""
        if not self._complete:
            return f"the text index is being built; {len(self._index)} contents can be found so far"
        if self._bus_problem:
            return (
                f"content events can't be read ({self._bus_problem}); changes are seen at the next comparison"
            )
        return None

    async def follow(self) -> None:
        """Build the index, then apply events, until cancelled.

        The cursor is taken before the database is read, so nothing falls between the two.
        """
        while True:
            cursor = await self._cursor_of_now()
            await self._until_done("start" if cursor else "no events")
            if cursor is None:
                await pause(len(RETRY_S))
                continue
            # What is in the database now is what events up to the cursor have told, and more.
            self._generation.changed(removed=True, cursor=cursor)
            try:
                async with self._bus.tail([Topic.CONTENT], cursor=cursor) as subscription:
                    await self._apply_events(subscription)
            except ConflictError:
                self._complete = False
                # A bus that began anew may repeat old cursors.
                self._generation.changed(removed=True, cursor=None)
                _log.warning("event cursor lost, text index is compared with the database")

    async def keep_comparing(self) -> None:
        """Repair, now and then, what events missed, until cancelled."""
        while True:
            await asyncio.sleep(self._reconcile_s)
            if self._complete:
                await self._until_done("periodic")

    async def reconcile(self, reason: str) -> int:
        """Make the index equal to the database.

        Count and checksum are compared first. While events are on the way they differ, which costs a look at every
        revision and harms nothing.

        Returns
        -------
        int
            How many contents were stale, missing or too many, or have come into effect or gone out of it by the clock.
        """
        started = datetime.now(UTC)
        equal = await self._is_equal()
        stale = [] if equal else await self._stale()
        turned = await self._catalogue.turned_between(self._compared_at, started)
        ids = list(dict.fromkeys((*stale, *turned)))
        chunks = [ids[i : i + READ_CHUNK] for i in range(0, len(ids), READ_CHUNK)]
        try:
            for number, chunk in enumerate(chunks, start=1):
                await self._refresh(chunk, commit=number % COMMIT_CHUNKS == 0)
            # Also without stale contents: a task that was stopped halfway may have applied without committing.
            await self._in_writer(self._commit)
        finally:
            # Also after a failure, for some may have been written. A first index has given no answer that was kept.
            if ids and reason != "start":
                self._generation.changed(removed=True, cursor=None)
        _documents.set(len(self._index))
        self._compared_at = started
        if len(chunks) > COMMIT_CHUNKS:
            # The writer's buffers and what was read: a quarter of all memory after a build.
            await self._in_writer(give_back)
        outcome = "equal" if equal else "repaired" if stale else "caught_up"
        _comparisons.labels(reason.replace(" ", "_"), outcome).inc()
        _repaired.inc(len(stale))
        if stale:
            took_ms = round((datetime.now(UTC) - started).total_seconds() * 1000)
            _log.info(
                "text index compared",
                reason=reason,
                changed=len(stale),
                contents=len(self._index),
                took_ms=took_ms,
            )
        return len(ids)

    def close(self) -> None:
        """End the writer thread, after the batch it is working on."""
        self._writer.shutdown(wait=True, cancel_futures=True)
        self._index.close()

    async def _is_equal(self) -> bool:
        ours = await self._in_writer(self._index.fingerprint)
        # Nothing to compare at the first start.
        return ours.contents > 0 and ours == await self._catalogue.fingerprint()

    async def _stale(self) -> list[UUID]:
        """Ids that the index has not as the catalogue has them."""
        catalogue = dict[UUID, int]()
        after: UUID | None = None
        while rows := await self._catalogue.revisions(after, limit=REVISIONS_CHUNK):
            catalogue.update(rows)
            after = rows[-1][0]
        return await self._in_writer(self._index.differing, catalogue)

    async def _cursor_of_now(self) -> str | None:
        try:
            cursor = await self._bus.end_cursor([Topic.CONTENT])
        except MediaGatewayError as error:
            self._note_bus(error)
            return None
        self._note_bus(None)
        return cursor

    async def _until_done(self, reason: str) -> None:
        for attempt in range(2**31):
            try:
                await self.reconcile(reason)
            except MediaGatewayError as error:
                if not error.retryable:
                    raise
                _log.warning("catalogue could not be read", problem=error.message)
                await pause(attempt)
            else:
                if not self._was_built:
                    # The indexes stay: the garbage collector need not walk through them ever again.
                    gc.collect()
                    gc.freeze()
                self._complete = self._was_built = True
                return

    async def _apply_events(self, subscription: Subscription) -> None:
        loop = asyncio.get_running_loop()
        while True:
            deliveries = await self._next_batch(subscription)
            began_s = loop.time()
            ids = dict.fromkeys(
                content_id for delivery in deliveries for content_id in _content_ids(delivery)
            )
            removed = await self._refresh_until_done(list(ids))
            self._generation.changed(removed=removed, cursor=deliveries[-1].cursor)
            now = datetime.now(UTC)
            for delivery in deliveries:
                _lag.observe(max(0.0, (now - delivery.event.occurred_at).total_seconds()))
            took_s = loop.time() - began_s
            self._gathering_s = max(self._batch_s, min(GATHERING_RATIO * took_s, LONGEST_GATHERING_S))

    async def _next_batch(self, subscription: Subscription) -> list[Delivery]:
        """At least one delivery, and those that follow while they are gathered."""
        batch: list[Delivery] = []
        failures = 0
        while not batch:
            try:
                batch += await subscription.fetch(max_events=EVENTS_AT_ONCE, wait_ms=1_000)
            except ConflictError:
                raise
            except MediaGatewayError as error:
                self._note_bus(error)
                await pause(failures)
                failures += 1
            else:
                self._note_bus(None)
        if len(batch) < EVENTS_AT_ONCE:
            await asyncio.sleep(self._gathering_s)
            batch += await self._waiting(subscription, EVENTS_AT_ONCE - len(batch))
        return batch

    async def _waiting(self, subscription: Subscription, limit: int) -> list[Delivery]:
        """At most so many deliveries that are there by now."""
        found: list[Delivery] = []
        try:
            while len(found) < limit:
                got = await subscription.fetch(max_events=limit - len(found), wait_ms=0)
                found += got
                if not got:
                    break
        except ConflictError:
            raise
        except MediaGatewayError as error:
            self._note_bus(error)
        return found

    async def _refresh_until_done(self, content_ids: Sequence[UUID]) -> bool:
        """Read contents again and write them, however long that takes; says whether any of them is gone."""
        gone = 0
        for attempt in range(2**31):
            try:
                for start in range(0, len(content_ids), READ_CHUNK):
                    end = start + READ_CHUNK
                    # One commit a batch: it costs as much as indexing a hundred contents.
                    gone += await self._refresh(content_ids[start:end], commit=end >= len(content_ids))
            except MediaGatewayError as error:
                if not error.retryable:
                    raise
                _log.warning(
                    "changed contents could not be read", contents=len(content_ids), problem=error.message
                )
                await pause(attempt)
            else:
                break
        return gone > 0

    async def _refresh(self, content_ids: Sequence[UUID], *, commit: bool) -> int:
        """Read contents again and write them; those the catalogue no longer has go. Says how many those are."""
        async with self._writing:
            contents = await self._catalogue.contents(content_ids)
            gone = set(content_ids).difference(content.content_id for content in contents)
            await self._in_writer(self._apply, contents, list(gone))
            if commit:
                await self._in_writer(self._commit)
        _documents.set(len(self._index))
        return len(gone)

    def _apply(self, contents: Sequence[IndexedContent], gone: Sequence[UUID]) -> None:
        # The text index last, for it is the one that is compared: what it has, the suggestions have too.
        self._suggestions.apply(contents, gone)
        self._index.apply(contents, gone)

    def _commit(self) -> None:
        self._suggestions.commit()
        self._index.commit()

    async def _in_writer(self, function: Callable[[Unpack[A]], T], *arguments: *A) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, function, *arguments)

    def _note_bus(self, error: MediaGatewayError | None) -> None:
        problem = error.message if error else None
        if problem != self._bus_problem:
            self._bus_problem = problem
            if problem:
                _log.warning("content events can't be read", problem=problem)
            else:
                _log.info("content events are read again")


def _content_ids(delivery: Delivery) -> Iterator[UUID]:
    """The contents an event speaks of: its key and, of a merge, the one that was taken in."""
    for text in (delivery.event.key, delivery.event.data.get("merged_id")):
        with suppress(ValueError):
            yield UUID(str(text))
