"""What can go wrong between an operator and its API server, for `kube_proxy` to do."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiohttp import web

from tests.support.kube_exchange import WRITES, Act, Exchange, Rule

_GONE: Final = {
    "type": "ERROR",
    "object": {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410,
    },
}  # fmt: skip


async def conflict(exchange: Exchange) -> web.StreamResponse:
    """409: somebody else changed the object meanwhile."""
    return exchange.answer(409, "Conflict", "the object has been modified; please apply your changes to it")


async def invalid(exchange: Exchange) -> web.StreamResponse:
    """422: the server finds something wrong with the object."""
    return exchange.answer(422, "Invalid", "admission of the test refuses this object")


async def throttled(exchange: Exchange) -> web.StreamResponse:
    """429 with ``Retry-After: 1``."""
    return exchange.answer(
        429, "TooManyRequests", "too many requests, please try again later", retry_after_s=1
    )


async def broken(exchange: Exchange) -> web.StreamResponse:
    """500."""
    return exchange.answer(500, "InternalError", "etcdserver: request timed out")


async def gone(exchange: Exchange) -> web.StreamResponse:
    """410 as the answer to a request: a list's continuation, or a watch that begins too far back."""
    return exchange.answer(410, "Expired", "the provided continue parameter is too old")


async def cut_before(exchange: Exchange) -> web.StreamResponse:
    """The connection ends before the server hears anything."""
    return exchange.cut()


async def cut_after(exchange: Exchange) -> web.StreamResponse:
    """The server does it, its answer is lost."""
    await exchange.forward()
    return exchange.cut()


def slow(seconds: float) -> Act:
    """The server takes its time."""

    async def slow(exchange: Exchange) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await exchange.forward()

    return slow


async def gone_in_stream(exchange: Exchange) -> web.StreamResponse:
    """A watch that says 410 as its first event, and ends."""

    async def lines(_: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield json.dumps(_GONE).encode()

    return await exchange.forward(lines)


def ending_after(events: int) -> Act:
    """A watch that the server ends after so many events."""

    async def ending(exchange: Exchange) -> web.StreamResponse:
        async def lines(arriving: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            count = 0
            async for line in arriving:
                yield line
                count += 1
                if count >= events:
                    return

        return await exchange.forward(lines)

    return ending


async def silent(exchange: Exchange) -> web.StreamResponse:
    """A watch that stays open and never delivers anything."""

    async def lines(arriving: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for _ in arriving:
            pass
        return
        yield b""

    return await exchange.forward(lines)


async def doubled(exchange: Exchange) -> web.StreamResponse:
    """A watch that delivers each event twice, and the one before it again, unless that would undo a deletion."""

    async def lines(arriving: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        before: bytes | None = None
        async for line in arriving:
            yield line
            yield line
            if b'"DELETED"' in line[:32]:
                before = None
                continue
            if before is not None:
                yield before
            before = line

    return await exchange.forward(lines)


def first(do: Callable[[], object], then: Act) -> Act:
    """Do something in the test (kill a process) at the moment an exchange arrives, then let the fault go on."""

    async def first(exchange: Exchange) -> web.StreamResponse:
        do()
        return await then(exchange)

    return first


def forwarded_then(do: Callable[[], object]) -> Act:
    """Let the server do it, then do something in the test; the answer is lost."""

    async def forwarded_then(exchange: Exchange) -> web.StreamResponse:
        await exchange.forward()
        do()
        return exchange.cut()

    return forwarded_then


def on_writes(
    act: Act, path: str = "", *, skip: int = 0, times: int | None = None, share: float = 1.0
) -> Rule:
    """The rule that makes a fault of writes."""
    return Rule(act=act, verbs=WRITES, path=path, skip=skip, times=times, share=share)


def on_watches(act: Act, path: str = "", *, times: int | None = None) -> Rule:
    """The rule that makes a fault of watches."""
    return Rule(act=act, path=path, watch=True, times=times)
