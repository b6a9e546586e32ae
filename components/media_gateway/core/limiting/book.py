"""The limits that are in force in this process, renewed within a second of a change.

A document that can't be read or is wrong changes nothing: the last good one stays, and health and metrics say so.
"""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog
from prometheus_client import Gauge

from media_gateway.core.errors import MediaGatewayError, NotFoundError
from media_gateway.core.limiting.compiling import RuleSet
from media_gateway.core.limiting.document import LimitDocument, read_document

if TYPE_CHECKING:
    from media_gateway.core.adapters.redis import RedisHandle

POLL_S = 0.4
"""Pause between two looks, in seconds: twice a second and more, so that one slow look still keeps to the second."""

LOOK_TIMEOUT_MS = 500
"""Longest a look at Redis may take, in milliseconds."""

_log = structlog.get_logger(__name__)
_revision = Gauge(
    "mgw_ratelimit_revision", "1 for the revision of the limits in force", ["component", "revision"]
)
_refused = Gauge(
    "mgw_ratelimit_document_refused", "1 while the newest limits can't be read or are wrong", ["component"]
)


class Place(Protocol):
    """Where a document is kept."""

    async def changed(self) -> bytes | None:
        """The document if it may be another than at the last call, else None.

        Raises
        ------
        MediaGatewayError, OSError
            It can't be read; the next call tries again.
        """

    async def close(self) -> None:
        """Close what is open."""


class FilePlace:
    """A file. A link is followed anew at each look: Kubernetes renews a mounted ConfigMap by turning one round."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()

    async def changed(self) -> bytes | None:
        """See `Place`."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes | None:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)
            if seen == self._seen:
                return None
            data = self._path.read_bytes()
        except OSError:
            self._seen = ()
            raise
        # As it was before it was read: what was written meanwhile is seen at the next look.
        self._seen = seen
        return data

    async def close(self) -> None:
        """See `Place`."""


class KeyPlace:
    """A key in Redis."""

    def __init__(self, redis: "RedisHandle", key: str) -> None:
        self._client = redis.client_of_its_own(timeout_ms=LOOK_TIMEOUT_MS)
        self._key = key
        self._seen: bytes | None = None

    async def changed(self) -> bytes | None:
        """See `Place`."""
        from media_gateway.core.adapters.redis import translated

        with translated():
            data = await self._client.get(self._key)
        if data is None:
            self._seen = None
            raise NotFoundError(f"there is no key {self._key!r}")
        if data == self._seen:
            return None
        self._seen = data if isinstance(data, bytes) else data.encode()
        return self._seen

    async def close(self) -> None:
        """See `Place`."""
        await self._client.aclose()


class LimitBook:
    """What is in force.

    Parameters
    ----------
    component
        Whose limits.
    built_in
        Those that hold without a document.
    place
        Where the document is kept; None leaves it at the built-in ones.
    dry_run
        Refuse nothing, whatever the documents say.
    """

    def __init__(
        self, component: str, built_in: LimitDocument, place: Place | None = None, *, dry_run: bool = False
    ) -> None:
        self._component = component
        self._built_in = built_in
        self._place = place
        self._dry_run = dry_run
        self._problem: str | None = None
        self.rules = RuleSet(component, None, built_in, dry_run=dry_run)
        """The limits in force. Take them once per request."""
        self.revision = built_in.revision
        """Of the document in force."""
        _revision.labels(component, self.revision).set(1)
        _refused.labels(component).set(0)

    async def follow(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Look once for another document."""
        if self._place is None:
            return
        try:
            data = await self._place.changed()
            if data is None:
                return
            document = read_document(data)
        except MediaGatewayError as error:
            self._note(error.message)
        except OSError as error:
            self._note(os.strerror(error.errno or 0).lower())
        else:
            self._adopt(document)
            self._note(None)

    async def health(self) -> str | None:
        """None if the newest limits are in force, else which ones are and why."""
        if self._problem is None:
            return None
        return f"the limits can't be renewed ({self._problem}); revision {self.revision} stays in force"

    async def close(self) -> None:
        """Close what is open."""
        if self._place is not None:
            await self._place.close()

    def _adopt(self, document: LimitDocument) -> None:
        before, self.revision = self.revision, document.revision
        self.rules = RuleSet(self._component, document, self._built_in, dry_run=self._dry_run)
        if before != self.revision:
            _revision.remove(self._component, before)
            _log.info("limits changed", component=self._component, revision=self.revision, before=before)
        _revision.labels(self._component, self.revision).set(1)

    def _note(self, problem: str | None) -> None:
        if problem != self._problem:
            if problem:
                _log.warning("limits can't be renewed", component=self._component, problem=problem)
            else:
                _log.info("limits are read again", component=self._component)
        self._problem = problem
        _refused.labels(self._component).set(problem is not None)
