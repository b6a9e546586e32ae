"""aiokafka's exceptions in terms of ours, awaiting it with a limit, and stopping what does not stop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiokafka import errors as kafka

from media_gateway.core.errors import (
    MediaGatewayError,
    NotConfiguredError,
    PayloadTooLargeError,
    UnavailableError,
)

STOP_TIMEOUT_S = 1.5
"""Longest a client may take to stop in good order, in seconds, and each of the two steps of cutting it off."""

_log = structlog.get_logger(__name__)

_OPERATOR_MUST_ACT = (
    kafka.AuthenticationFailedError,
    kafka.AuthenticationMethodNotSupported,
    kafka.ClusterAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.SaslAuthenticationFailed,
    kafka.TopicAuthorizationFailedError,
    kafka.UnsupportedCodecError,
    kafka.UnsupportedSaslMechanismError,
)
_TOO_LARGE = (kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError, kafka.RecordTooLargeError)


def translate(error: Exception) -> MediaGatewayError:
    """Our error for one of aiokafka's."""
    name = type(error).__name__
    if isinstance(error, _TOO_LARGE):
        return PayloadTooLargeError("the event is larger than Kafka accepts")
    if isinstance(error, _OPERATOR_MUST_ACT):
        return NotConfiguredError(f"Kafka refuses us: {name}")
    return UnavailableError(f"Kafka can't be reached or is not ready: {name}")


@asynccontextmanager
async def limited(timeout_ms: int) -> AsyncIterator[None]:
    """Cut off what aiokafka would wait for without end, and translate what it raises."""
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            yield
    except TimeoutError as error:
        raise UnavailableError("Kafka did not answer in time") from error
    except (kafka.KafkaError, OSError) as error:
        raise translate(error) from error


async def put_down(stop: Callable[[], Awaitable[Any]], client: Any, *owners: object) -> None:
    """Stop one of aiokafka's clients in good order; if it does not, `cut_off`."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Not we were cancelled: aiokafka cancels tasks of its own and lets their end through.
    except Exception as error:  # noqa: BLE001 - what it raises while it falls apart is of no use to anyone
        _log.info("Kafka client did not stop", error=type(error).__name__)
    else:
        return
    await cut_off(client, *owners)


async def cut_off(client: Any, *owners: object) -> None:
    """End a client at once: its connections and its tasks.

    aiokafka's tasks wait for their brokers without end and are not all reachable, so they are found by the object whose
    method they run.
    """
    # A client that never started lacks some of its parts.
    parts = tuple(part for part in (client, *owners) if part is not None)
    tasks = [task for task in asyncio.all_tasks() if _runs_method_of(task, parts)]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=STOP_TIMEOUT_S)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await client.close()
    except Exception as error:  # noqa: BLE001 - as in put_down
        _log.warning("Kafka connections left open", error=type(error).__name__)


def _runs_method_of(task: asyncio.Task[Any], owners: tuple[object, ...]) -> bool:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and any(frame.f_locals.get("self") is owner for owner in owners)
