"""The ranking configuration that is in force, for the search to read at any moment without waiting.

One a process. It asks Postgres once a second whether there is a newer version; a change made by this process counts at
once. While Postgres is away, or holds what this release can't understand, the last known configuration stays.
"""

import asyncio

import structlog

from media_gateway.core.errors import MediaGatewayError
from media_gateway.discovery.ranking import InForce, NamedVariant, RankingVersion
from media_gateway.discovery.store.ranking import RankingStore

POLL_S = 1.0
"""Pause between two looks, in seconds: with the look itself a change reaches every replica within two. Polling, because
LISTEN does not work through transaction poolers and a look costs a primary key."""

LOOK_TIMEOUT_S = 5.0
"""Longest a look may take, in seconds: a server that vanished would be waited for until TCP gives up."""

_log = structlog.get_logger(__name__)


class RankingBook:
    """What is in force.

    Parameters
    ----------
    poll_s
        Pause between two looks, in seconds.
    """

    def __init__(self, store: RankingStore, *, poll_s: float = POLL_S) -> None:
        self._store = store
        self._poll_s = poll_s
        self._current = InForce()
        self._problem: str | None = "it was not read yet"

    @property
    def current(self) -> InForce:
        """The configuration in force; the built-in one until another is known. Take it once per request."""
        return self._current

    @property
    def version(self) -> str:
        """Of `current`, for cache keys."""
        return self._current.version

    def variant(self, name: str | None) -> NamedVariant:
        """A variant of `current`.

        Raises
        ------
        InvalidInputError
            There is no variant of this name.
        """
        return self._current.variant(name)

    def advance(self, stored: RankingVersion) -> None:
        """Let a version that this process has just stored be in force, unless a newer one is by now."""
        if stored.number > self._current.number:
            self._adopt(stored)

    async def follow(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._poll_s)

    async def look(self) -> None:
        """Look once for a newer version."""
        before = self._current
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                newest = await self._store.newest()
        except (MediaGatewayError, TimeoutError) as error:
            self._note(error.message if isinstance(error, MediaGatewayError) else "the database is silent")
            return
        self._note(None)
        # A change that this process made meanwhile is newer than what was read.
        if self._current is before:
            self._adopt(newest)

    async def health(self) -> str | None:
        """None if the newest configuration is in force, else which one is and why."""
        if self._problem is None:
            return None
        known = f"version {self._current.number}" if self._current.number else "the built-in one"
        return f"the ranking configuration can't be read ({self._problem}); {known} stays in force"

    def _adopt(self, newest: RankingVersion | None) -> None:
        known = self._current
        found = InForce(newest.number, newest.ranking) if newest else InForce()
        if found != known:
            self._current = found
            _log.info("ranking configuration changed", version=found.number, before=known.number)

    def _note(self, problem: str | None) -> None:
        if problem != self._problem:
            if problem:
                _log.warning("ranking configuration can't be read", problem=problem)
            elif self._current.number:
                _log.info("ranking configuration is read again")
        self._problem = problem
