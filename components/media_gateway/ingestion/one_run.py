"""What every process shares that works on one run and ends with it: stopping, delivering, and the exit status.

Called by ``media-gateway ingest run`` and `job`. Knows no terminal.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from media_gateway.core.bootstrap import BackendName, Backends
from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.outbox import RelayPolicy
from media_gateway.ingestion.exit_codes import EXIT_RETRYABLE, exit_code, exit_code_after
from media_gateway.ingestion.runs import RunCancelledError, RunState
from media_gateway.ingestion.services.relays import events_relay
from media_gateway.ingestion.services.runs import RunResult
from media_gateway.ingestion.services.vectors import VectorWriter

EVERYTHING: frozenset[BackendName] = frozenset({"database", "redis", "vectors", "events", "embedder"})
"""What a run and the delivery after it need."""

DELIVERY_LIMIT_S = 600.0
"""How long a finished run waits until its events and vectors are delivered; the service delivers what is left."""

POLL_S = 0.5


@dataclass(slots=True)
class Stop:
    """A request to end, and the signal that made it."""

    event: asyncio.Event
    number: int | None = None

    @property
    def exit_code(self) -> int:
        """Status after this signal."""
        return exit_code_after(self.number)


@contextmanager
def stopping() -> Iterator[Stop]:
    """SIGTERM and Ctrl-C ask to stop; the second one ends the process where it stands, which loses nothing either."""
    loop, stop = asyncio.get_running_loop(), Stop(asyncio.Event())

    def on_signal(number: int) -> None:
        if stop.event.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.number = number
        stop.event.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def status_of(result: RunResult, stop: Stop) -> int:
    """Exit status after an attempt, by `exit_codes.EXIT_CODES`."""
    if result.run.state is RunState.SUSPENDED:
        return stop.exit_code if stop.event.is_set() else EXIT_RETRYABLE
    if result.error is not None:
        return exit_code(result.error)
    return 0 if result.run.state is RunState.COMPLETE else exit_code(RunCancelledError("cancelled"))


class Listener(Protocol):
    """Is told how the delivery goes."""

    def line(self, text: str) -> None:
        """Something to be kept."""

    def say(self, detail: str, percent: float | None = None) -> None:
        """How it stands; the next call replaces it."""


async def deliver(backends: Backends, listener: Listener, stop: Stop) -> None:
    """Deliver events and vectors, as far as that can be done now; what is left stays for the service."""
    writer = VectorWriter(backends.database, backends.vectors, backends.embedder)
    policy = RelayPolicy.from_settings(backends.settings)
    relays = {"events": events_relay(backends.database, backends.events, policy)}
    try:
        await writer.ready()
        relays["vectors"] = writer.relay(policy)
    except MediaGatewayError as error:
        if waiting := await writer.backlog():
            listener.line(f"{waiting:,} vectors are left to the service: {error.message}")
    drains = [asyncio.create_task(relay.drain(timeout_s=DELIVERY_LIMIT_S)) for relay in relays.values()]
    stopped = asyncio.create_task(stop.event.wait())
    most = 0
    while not all(drain.done() for drain in drains) and not stopped.done():
        left = await writer.backlog()
        most = max(most, left)
        listener.say(f"{left:,} vectors left", 100 * (most - left) / most if most else None)
        await asyncio.wait({*drains, stopped}, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
    for task in (*drains, stopped):
        task.cancel()
    await asyncio.wait({*drains, stopped})
    if not all(not drain.cancelled() and drain.result() for drain in drains):
        listener.line("not everything is delivered yet; the service goes on with it")
