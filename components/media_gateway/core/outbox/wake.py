"""Tells the relays of this process that rows are coming. Other processes' rows they find by looking."""

import asyncio
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy.ext.asyncio import AsyncEngine

_listening: WeakKeyDictionary[AsyncEngine, WeakSet[asyncio.Event]] = WeakKeyDictionary()


def listen(engine: AsyncEngine) -> asyncio.Event:
    """An event that is set whenever this process writes rows through the engine, shortly before their commit."""
    event = asyncio.Event()
    _listening.setdefault(engine, WeakSet()).add(event)
    return event


def wake(engine: AsyncEngine) -> None:
    """Set the events of all who listen."""
    for event in _listening.get(engine, ()):
        event.set()
