"""Which replica acts: leader election by a Lease, with the rules of client-go.

A replica never compares its clock with another's: it notes by its own monotonic clock when it saw the Lease change. The
leader stops writing one renew deadline after the start of its last successful renewal (`Lease.check`, asked by the client
before each write), which is before anybody else can think that the Lease has run out.
"""

import asyncio
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from media_gateway.core.errors import ConflictError, MediaGatewayError
from media_gateway_operator.engine import metrics
from media_gateway_operator.kube.client import KubeClient
from media_gateway_operator.kube.errors import NotLeaderError
from media_gateway_operator.kube.kinds import LEASE, STATE_PREFIX, Object, Ref

PROGRESS_ADDRESS: Final = f"{STATE_PREFIX}progress-address"
"""On the Lease: where the leader takes job pods' reports, for the followers to point to."""

RELEASE_S: Final = 2.0
"""How long a leader that ends tries to give the Lease back, in seconds."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Times of the election, in seconds."""

    duration_s: float = 15.0
    renew_deadline_s: float = 10.0
    retry_s: float = 2.0


class Lease:
    """This replica's part in the election.

    Parameters
    ----------
    client
        One without a fence: the Lease itself must be writable while nobody leads.
    identity
        Unique among the replicas, also after a restart.
    address
        Published while leading.
    """

    def __init__(
        self,
        client: KubeClient,
        ref: Ref,
        identity: str,
        *,
        terms: Terms | None = None,
        address: str | None = None,
    ) -> None:
        self._client = client
        self._ref = ref
        self._identity = identity
        self._terms = terms or Terms()
        self._address = address
        self._certain_until = float("-inf")
        self._seen: Object | None = None
        self._seen_spec: Object | None = None
        self._seen_at = float("-inf")
        self._released = False
        self._written_last = False
        self.looked_at = time.monotonic()

    @property
    def leads(self) -> bool:
        """Whether this replica may write now."""
        return time.monotonic() < self._certain_until

    @property
    def lost(self) -> bool:
        """Whether this replica led and has let the deadline pass: its process must end."""
        return self._certain_until > float("-inf") and not self.leads

    @property
    def leader_address(self) -> str | None:
        """Where the leader takes reports, as far as known."""
        annotations = (self._seen or {}).get("metadata", {}).get("annotations") or {}
        return annotations.get(PROGRESS_ADDRESS)

    def check(self) -> float:
        """For how many seconds it is certain that this replica leads.

        Raises
        ------
        NotLeaderError
            It is not.
        """
        left = self._certain_until - time.monotonic()
        if left <= 0:
            raise NotLeaderError("this replica does not lead (any more)")
        return left

    async def acquire(self) -> None:
        """Wait until this replica leads."""
        while not await self._try():  # noqa: ASYNC110 - each turn asks the API server
            await asyncio.sleep(self._pause_s())
        _log.info("leading", identity=self._identity, lease=str(self._ref))

    async def keep(self) -> None:
        """Renew until the lease is lost; returning means that.

        Only the deadline decides: single failures are what the time between deadline and duration is for.
        """
        while self.leads:
            await asyncio.sleep(min(self._terms.retry_s, max(0.0, self._certain_until - time.monotonic())))
            if not self.leads:
                break
            if not await self._try() and self._held_by_other():
                break
        self._certain_until = min(self._certain_until, time.monotonic())
        metrics.leading.set(0)
        _log.error("the lease is lost", identity=self._identity)

    async def release(self) -> None:
        """Let another replica lead at once; a failure is only logged, since the lease runs out by itself."""
        if not self.leads:
            return
        self._certain_until = float("-inf")
        self._released = True
        metrics.leading.set(0)
        try:
            async with asyncio.timeout(RELEASE_S):
                while not await self._give_back():  # noqa: ASYNC110 - each turn asks the API server
                    await asyncio.sleep(0.05)
        except (MediaGatewayError, TimeoutError) as error:
            _log.warning("the lease could not be released", error=str(error) or type(error).__name__)
        else:
            _log.info("the lease is released")

    async def _give_back(self) -> bool:
        lease = await self._client.get(self._ref)
        if lease is None or lease["spec"].get("holderIdentity") != self._identity:
            return True
        self._note(lease)
        try:
            await self._client.replace(self._manifest("", 1), fenced=False)
        except ConflictError:
            return False  # with a renewal of our own that was under way
        return True

    async def _try(self) -> bool:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._terms.renew_deadline_s / 2):
                held = await self._acquire_or_renew()
        except (MediaGatewayError, TimeoutError) as error:
            metrics.lease_renewals.labels("failed").inc()
            if not isinstance(error, ConflictError):
                _log.warning(
                    "the lease could not be read or renewed", error=str(error) or type(error).__name__
                )
            held = False
        else:
            metrics.lease_renewals.labels("held" if held else "other").inc()
            self.looked_at = time.monotonic()
        if held and not self._released:
            self._certain_until = began + self._terms.renew_deadline_s
            metrics.leading.set(1)
        return held

    async def _acquire_or_renew(self) -> bool:
        # A leader writes over what it wrote last; it looks again only when that did not go well.
        written, self._written_last = self._written_last, False
        if not written:
            current = await self._client.get(self._ref)
            if current is None:
                self._seen = self._seen_spec = None
                self._note(await self._client.create(self._manifest(self._identity, None), fenced=False))
                self._written_last = True
                return True
            self._note(current)
            if self._held_by_other() and not self._ran_out():
                return False
        self._note(
            await self._client.replace(self._manifest(self._identity, self._terms.duration_s), fenced=False)
        )
        self._written_last = True
        return True

    def _note(self, lease: Object) -> None:
        # A change of the spec, whatever its times say, is a sign of life at our own time.
        if lease.get("spec") != self._seen_spec:
            self._seen_spec = lease.get("spec")
            self._seen_at = time.monotonic()
        self._seen = lease

    def _held_by_other(self) -> bool:
        holder = (self._seen_spec or {}).get("holderIdentity")
        return bool(holder) and holder != self._identity

    def _ran_out(self) -> bool:
        return time.monotonic() >= self._runs_out_at()

    def _runs_out_at(self) -> float:
        duration_s = float((self._seen_spec or {}).get("leaseDurationSeconds") or self._terms.duration_s)
        return self._seen_at + duration_s

    def _pause_s(self) -> float:
        # A silent leader is followed when its time is over, not up to a pause later.
        left_s = self._runs_out_at() - time.monotonic()
        return min(self._terms.retry_s, left_s) if left_s > 0 else self._terms.retry_s

    def _manifest(self, holder: str, duration_s: float | None) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = (self._seen or {}).get("spec") or {}
        changes = before.get("holderIdentity") != holder
        address = self._address if holder else None
        metadata = dict((self._seen or {}).get("metadata") or {})
        annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != PROGRESS_ADDRESS}
        if address:
            annotations[PROGRESS_ADDRESS] = address
        metadata |= {"name": self._ref.name, "namespace": self._ref.namespace, "annotations": annotations}
        metadata.pop("managedFields", None)
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": metadata,
            "spec": {
                **before,
                "holderIdentity": holder,
                "leaseDurationSeconds": max(1, math.ceil(duration_s or self._terms.duration_s)),
                "renewTime": now,
                "acquireTime": now if changes else before.get("acquireTime", now),
                "leaseTransitions": int(before.get("leaseTransitions") or 0)
                + (1 if changes and holder else 0),
            },
        }
