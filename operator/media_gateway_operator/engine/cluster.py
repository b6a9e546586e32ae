"""What reconcilers may ask while they observe: the store first, the API server for the rest, answers briefly kept."""

import base64
import hashlib
import time
from collections.abc import Sequence
from typing import Final

from media_gateway_operator.engine.plan import SecretKeys
from media_gateway_operator.kube.client import KubeClient
from media_gateway_operator.kube.kinds import POD, SECRET, Object, Ref, ResourceKind
from media_gateway_operator.kube.store import Store

SECRET_KEPT_S: Final = 2.0
"""How long a Secret's digests are reused: one read for all resources of a burst that name it."""

SECRETS_KEPT: Final = 1024

PODS_READ: Final = 20


class LiveCluster:
    """The `Cluster` that the engine hands to reconcilers."""

    def __init__(self, client: KubeClient, store: Store) -> None:
        self._client = client
        self._store = store
        self._secrets: dict[Ref, tuple[float, SecretKeys | None]] = {}

    def find(self, ref: Ref) -> Object | None:
        """A watched object, from the store."""
        return self._store.find(ref)

    def list(self, kind: ResourceKind, namespace: str) -> Sequence[Object]:
        """Watched objects of a namespace, from the store."""
        return self._store.list(kind, namespace)

    async def get(self, ref: Ref) -> Object | None:
        """Any object, from the API server."""
        return await self._client.get(ref)

    async def secret_keys(self, namespace: str, name: str) -> SecretKeys | None:
        """Which keys a Secret has, and digests of their values; None if there is no such Secret."""
        ref, now = Ref(SECRET, namespace, name), time.monotonic()
        kept = self._secrets.get(ref)
        if kept is not None and now - kept[0] < SECRET_KEPT_S:
            return kept[1]
        secret = await self._client.get(ref)
        keys = (
            None
            if secret is None
            else SecretKeys({k: _sha(v) for k, v in (secret.get("data") or {}).items()})
        )
        if len(self._secrets) >= SECRETS_KEPT:
            self._secrets.clear()
        self._secrets[ref] = (now, keys)
        return keys

    async def pods(self, namespace: str, label_selector: str) -> Sequence[Object]:
        """Pods, from the API server (at most 20)."""
        found = self._client.list(POD, namespace, label_selector=label_selector, limit=PODS_READ)
        return [pod async for pod in found]

    async def serves(self, kind: ResourceKind) -> bool:
        """Whether the API server knows a kind."""
        return await self._client.serves(kind)


def _sha(value: str) -> str:
    return hashlib.sha256(base64.b64decode(value)).hexdigest()[:16]
