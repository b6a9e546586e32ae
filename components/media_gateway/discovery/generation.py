"""Which state of the catalogue an answer comes from: the part of a cache key that keeps removed content from being seen.

The index feed tells what it has applied, the search service puts `CatalogueGeneration.current` into the key **before**
it searches. Redis is asked for one number, beside the requests.

The rule
--------
A generation is an *epoch* and a *mark*.

The mark names the cursor of the content events that this replica's index has applied. Replicas read the same events, so
those that have applied the same have the same mark and share their answers; one that is behind or ahead has another mark
and does not. Claim: **once a replica has told `changed` of a removal, it never gives out a kept answer that holds the
removed content.** Proof: `changed` moves the mark before the next request is looked at. From then on the replica finds
only answers that were stored under the very cursor it has applied. Whoever stored one had read `current` before
searching, so its index had applied all events up to that cursor, the removal among them, and an index never goes back.
Nor does a cursor, so a mark that was left does not return.

This needs no word between replicas and no clock. (One shared number that every replica raises would not do: a replica
that has not applied the removal would read the raised number and store its answer, removed content and all, under it.)
It also holds while marks lag: who shares a mark may have applied *more* than it says, never less. So changes that remove
nothing move the mark at most once in `DEBOUNCE_S`, and no later than that after the first of them.

The epoch is the shared number in Redis. It moves for what no cursor tells: contents that a comparison with the database
found stale because their events were lost, or a bus that began anew with cursors from zero. The replica that repaired its
index leaves the epoch at once, for one that nobody else has, until the number has moved; the others follow within
`POLL_S`. What *they* have not repaired yet they may still store under the new number, so after lost events the bound is
theirs: until the slowest replica has compared itself with the database. A replica that has not heard the number for
`TRUST_S`, or has applied no cursor yet, keeps to an epoch of its own and shares nothing.
"""

import asyncio
import time
from collections.abc import Callable
from hashlib import sha256
from uuid import uuid4

import structlog

from media_gateway.core.adapters.redis import RedisHandle, translated
from media_gateway.core.errors import MediaGatewayError

KEY = "search:generation"
"""Where the number is. It starts at the time (milliseconds since 1970), so that one that was lost does not return."""

DEBOUNCE_S = 0.5
"""Changes that remove nothing are seen no later than this, in seconds: with the half second an event may take to be indexed,
a change is searchable within one. While a catalogue is being ingested, answers live this long."""

POLL_S = 1.0
"""Pause between two looks at the number, in seconds."""

TRUST_S = 5.0
"""How old the number may be, in seconds, before this replica stops sharing answers."""

PATIENCE_S = 1.0
"""Longest a look may take, in seconds."""

_log = structlog.get_logger(__name__)


class CatalogueGeneration:
    """What this replica's index holds, as a word that replicas with the same contents share.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, redis: RedisHandle, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._mark: str | None = None
        self._next_mark: str | None = None
        self._moved_at_s = -float("inf")
        self._number = 0
        self._heard_at_s = -float("inf")
        self._own = uuid4().hex
        self._repairs = 0
        self._told = 0
        self._repaired = asyncio.Event()
        self._deaf = False

    @property
    def current(self) -> str:
        """The generation now. Read it before the search begins."""
        now_s = self._clock()
        if self._next_mark is not None and now_s - self._moved_at_s >= DEBOUNCE_S:
            self._move(now_s)
        shares = (
            self._mark is not None and self._told == self._repairs and now_s - self._heard_at_s <= TRUST_S
        )
        epoch = self._number if shares else f"{self._own}-{self._repairs}"
        return f"{epoch}.{self._mark}"

    def changed(self, *, removed: bool, cursor: str | None) -> None:
        """Say that the index has been written and can be searched.

        Parameters
        ----------
        removed
            Whether a content left it.
        cursor
            Of the last event applied: the index holds all up to there. None if the changes were found by comparison.
        """
        if cursor is None:
            self._repairs += 1
            self._repaired.set()
            return
        self._next_mark = sha256(cursor.encode()).hexdigest()[:32]
        if removed:
            self._move(self._clock())

    async def follow(self) -> None:
        """Keep up with the shared number, and move it after repairs, until cancelled."""
        while True:
            self._repaired.clear()
            await self._exchange()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # Lost on the way: `asyncio.wait_for`, by which redis-py sends, may do so before Python 3.12 (CPython #86296).
                raise asyncio.CancelledError
            try:
                async with asyncio.timeout(POLL_S):
                    await self._repaired.wait()
            except TimeoutError:
                continue

    def _move(self, now_s: float) -> None:
        self._mark, self._next_mark = self._next_mark, None
        self._moved_at_s = now_s

    async def _exchange(self) -> None:
        repairs, asked_at_s = self._repairs, self._clock()
        try:
            async with asyncio.timeout(PATIENCE_S):
                with translated():
                    kept = None if repairs > self._told else await self._redis.client.get(KEY)
                    number = await self._raise_number() if kept is None else int(kept)
        except (MediaGatewayError, TimeoutError) as error:
            self._note(str(error) or "Redis took too long")
            return
        self._note(None)
        self._number, self._told, self._heard_at_s = number, repairs, asked_at_s

    async def _raise_number(self) -> int:
        async with self._redis.client.pipeline(transaction=True) as pipe:
            pipe.set(KEY, int(time.time() * 1000), nx=True)
            pipe.incr(KEY)
            _, number = await pipe.execute()
        return int(number)

    def _note(self, problem: str | None) -> None:
        if problem is not None and not self._deaf:
            _log.warning("the catalogue generation can't be read", problem=problem)
        elif problem is None and self._deaf:
            _log.info("the catalogue generation is read again")
        self._deaf = problem is not None
