"""Writing to Redis after the answer has been given: nobody waits for it, little of it is held back, the rest is dropped.

It also keeps what this process has stored within a bound. Redis is shared with the event bus and refuses everybody's
writes once it is full, so a cache may not grow until its entries expire.
"""

import asyncio
from collections import deque
from typing import Any

import structlog
from prometheus_client import Counter

from media_gateway.core.cache.asking import SparingClient
from media_gateway.core.errors import MediaGatewayError

VALUE_LIMIT_BYTES = 1 << 20
"""A larger value is not kept: it would hold up the lookups beside it."""

MOST_WAITING = 64
"""Commands held back; of the largest values, 64 MiB."""

MOST_AT_ONCE = 16

PATIENCE_S = 0.25
"""Longest a batch of writes may take, in seconds: nobody waits for it."""

ENTRY_OVERHEAD_BYTES = 120
"""What Redis keeps beside key and value: 112 to 117 measured (Redis 6.2, values of 1.5 to 20 KB)."""

_log = structlog.get_logger(__name__)
_failures = Counter("mgw_cache_store_failures_total", "Values not kept in the cache", ["reason"])

Command = tuple[str | bytes | int, ...]
_Waiting = tuple[Command, asyncio.Future[bool]]


class Writes:
    """Commands to Redis, in order, in batches.

    Parameters
    ----------
    most_bytes
        What values stored by this object may occupy; beyond it the oldest are taken out.
    """

    def __init__(self, client: SparingClient, *, most_bytes: int) -> None:
        self._client = client
        self._most_bytes = most_bytes
        self._waiting: deque[_Waiting] = deque()
        self._batches: asyncio.Task[None] | None = None
        self._kept: dict[str, int] = {}
        self._kept_bytes = 0
        self._failing = False

    def store(self, key: str, value: bytes, *, life_ms: int) -> asyncio.Future[bool]:
        """Keep a value; the future tells whether it is kept."""
        if len(value) > VALUE_LIMIT_BYTES:
            return _dropped("too_large")
        if len(self._waiting) >= MOST_WAITING:
            return _dropped("too_many")
        stored = self._add("SET", key, value, "PX", life_ms)
        for old in self._make_room(key, len(key) + len(value) + ENTRY_OVERHEAD_BYTES):
            self._add("UNLINK", old)
        return stored

    def claim(self, key: str, *, life_ms: int) -> asyncio.Future[bool]:
        """Set a key that is not there; the future tells whether it was done."""
        if len(self._waiting) >= MOST_WAITING:
            return _dropped("too_many")
        return self._add("SET", key, b"1", "NX", "PX", life_ms)

    async def close(self, *, timeout_s: float) -> None:
        """Carry out what waits, for so long."""
        if self._batches is not None and not self._batches.done():
            await asyncio.wait([self._batches], timeout=timeout_s)
            self._batches.cancel()
            await asyncio.wait([self._batches], timeout=timeout_s)

    def _add(self, *command: str | bytes | int) -> asyncio.Future[bool]:
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, done))
        if self._batches is None or self._batches.done():
            self._batches = asyncio.create_task(self._write_all(), name="cache writes")
        return done

    def _make_room(self, key: str, size_bytes: int) -> list[str]:
        """Count a value, and name those that must go for it."""
        self._kept_bytes += size_bytes - self._kept.pop(key, 0)
        self._kept[key] = size_bytes
        old = []
        while self._kept_bytes > self._most_bytes and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self._kept_bytes -= self._kept.pop(oldest)
            old.append(oldest)
        return old

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                await self._write(
                    [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
                )
        finally:
            # Whatever ended this, nobody waits for ever.
            while self._waiting:
                _settle(self._waiting.popleft()[1], kept=False)

    async def _write(self, batch: list[_Waiting]) -> None:
        commands = [command for command, _ in batch]
        try:
            replies = await self._client.ask(lambda client: _send(client, commands), patience_s=PATIENCE_S)
        except MediaGatewayError as error:
            self._note(error, count=len(batch))
        else:
            problems = [_problem(reply) for reply in replies]
            for (_, done), reply, problem in zip(batch, replies, problems, strict=True):
                _settle(done, kept=bool(reply) and problem is None)
            refused = [problem for problem in problems if problem is not None]
            # A full server still takes values out: only one that was kept tells that there is room.
            if refused or any(command[0] == "SET" for command in commands):
                self._note(next(iter(refused), None), count=len(refused))
        finally:
            for _, done in batch:
                _settle(done, kept=False)

    def _note(self, problem: MediaGatewayError | None, *, count: int) -> None:
        _failures.labels("redis").inc(count)
        if problem is not None and not self._failing:
            _log.warning("values can't be kept in the cache", problem=problem.message)
        elif problem is None and self._failing:
            _log.info("values are kept in the cache again")
        self._failing = problem is not None


def _problem(reply: object) -> MediaGatewayError | None:
    if isinstance(reply, Exception):
        # Here, since whoever gets a reply has the driver.
        from media_gateway.core.adapters.redis import translated

        try:
            with translated():
                raise reply
        except MediaGatewayError as error:
            return error
    return None


def _dropped(reason: str) -> asyncio.Future[bool]:
    _failures.labels(reason).inc()
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    done.set_result(False)
    return done


def _settle(done: asyncio.Future[bool], *, kept: bool) -> None:
    if not done.done():
        done.set_result(kept)


async def _send(client: Any, commands: list[Command]) -> list[Any]:
    if len(commands) == 1:
        return [await client.execute_command(*commands[0])]
    async with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        replies: list[Any] = await pipe.execute(raise_on_error=False)
    return replies
