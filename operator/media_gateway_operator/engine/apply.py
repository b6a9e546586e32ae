"""Carries a `Plan` out: what is so already is not written, what differs is applied, and somebody's change is reported.

Called by the controller with the resource the plan is for. It writes nothing that the plan does not name.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
import structlog

from media_gateway.core.errors import ConflictError, MediaGatewayError
from media_gateway_operator.engine import metrics
from media_gateway_operator.engine.compare import differences
from media_gateway_operator.engine.plan import Note, Plan
from media_gateway_operator.kube.client import KubeClient
from media_gateway_operator.kube.errors import NotLeaderError, TerminatingError
from media_gateway_operator.kube.kinds import APPLIED_HASH, Object, Ref, ResourceKind
from media_gateway_operator.kube.store import Store, controller_of, wish_of

PROGRESS_FIELDS: Final = frozenset({"progress", "cursor"})
"""Fields of a status that belong to the progress manager."""

PATHS_SHOWN: Final = 5
"""How many changed fields an Event names."""

_log = structlog.get_logger(__name__)


class ForeignObjectError(MediaGatewayError):
    """An object of a child's name exists and belongs to somebody else."""

    code = "foreign_object"


class Applier:
    """Writes for all kinds.

    Parameters
    ----------
    watched
        Kinds that the store knows completely (of what is ours); others are read before they are written.
    written
        Told of each object as it is after our write, if that brought anything new.
    changed
        Told instead if it brought somebody else's change too, which the plan did not know of.
    """

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        watched: frozenset[ResourceKind],
        written: Callable[[Object], None] = lambda _: None,
        changed: Callable[[Object], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._store = store
        self._watched = watched
        self._written = written
        self._changed = changed

    async def carry_out(self, resource: Object, plan: Plan) -> list[Note]:
        """Make it so; gives what else is to be told.

        Raises
        ------
        MediaGatewayError
            The first write that failed; what came before it is done, and the status tells of neither.
        """
        notes: list[Note] = []
        if not resource["metadata"].get("deletionTimestamp"):
            try:
                for manifest in plan.objects:
                    notes += await self._child(resource, manifest)
            except TerminatingError:
                _log.debug("the namespace is being deleted", resource=str(Ref.of(resource)))
                return notes
        await self._delete(resource, [ref for ref in plan.delete if ref != Ref.of(resource)])
        await self._status(resource, plan.status)
        await self._delete(resource, [ref for ref in plan.delete if ref == Ref.of(resource)])
        return notes

    async def _child(self, resource: Object, manifest: Object) -> list[Note]:
        ref = Ref.of(manifest)
        declared, digest = _declared(resource, manifest)
        if self._store.verified(ref, digest):
            return []
        live = await self._live(ref)
        if live is None:
            await self._create(resource, ref, declared, digest)
            return []
        _check_owner(resource, ref, live)
        if live["metadata"].get("deletionTimestamp"):
            # It goes; when it has gone, the watch says so and it is created anew.
            return []
        changed = list(differences(declared, live))
        if not changed:
            self._store.verify(ref, digest)
            return []
        drifted = (live["metadata"].get("annotations") or {}).get(APPLIED_HASH) == digest
        answer = await self._client.apply(declared)
        self._keep(ref, answer, digest, foreign=answer.get("status") != live.get("status"))
        if not drifted or answer["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]:
            return []
        metrics.drift_corrected.labels(ref.kind.kind).inc()
        return [Note("Normal", "DriftCorrected", f"{ref.kind.kind} {ref.name}: {_some(changed)} set back")]

    async def _live(self, ref: Ref) -> Object | None:
        if ref.kind in self._watched:
            return self._store.find(ref)
        return await self._client.get(ref)

    async def _create(self, resource: Object, ref: Ref, declared: Object, digest: str) -> None:
        try:
            # Without force this creates what is absent, and does not touch somebody's object of that name.
            answer = await self._client.apply(declared, force=False)
        except NotLeaderError:
            raise
        except ConflictError:
            live = await self._client.get(ref)
            if live is None:
                raise
            _check_owner(resource, ref, live)
            answer = await self._client.apply(declared)
        self._keep(ref, answer, digest)

    def _keep(self, ref: Ref, answer: Object, digest: str, *, foreign: bool = False) -> None:
        if ref.kind not in self._watched:
            return
        self._put(answer, foreign=foreign)
        self._store.verify(ref, digest)

    def _put(self, answer: Object, *, foreign: bool) -> None:
        if self._store.put(answer):
            (self._changed if foreign else self._written)(answer)

    async def _delete(self, resource: Object, refs: Sequence[Ref]) -> None:
        for ref in refs:
            live = await self._live(ref)
            if live is None or live["metadata"].get("deletionTimestamp"):
                continue
            if ref != Ref.of(resource) and not self._of_family(resource, live):
                _check_owner(resource, ref, live)
            await self._client.delete(ref, uid=live["metadata"]["uid"])

    def _of_family(self, resource: Object, live: Object) -> bool:
        # A Job of a CronJob is owned by the CronJob; both are the resource's.
        family = self._store.owned(resource["metadata"]["uid"])
        return any(one["metadata"]["uid"] == live["metadata"]["uid"] for one in family)

    async def _status(self, resource: Object, status: Object) -> None:
        ref = Ref.of(resource)
        status = _without_nulls(status)
        live = {k: v for k, v in (resource.get("status") or {}).items() if k not in PROGRESS_FIELDS}
        digest = _digest(status)
        if live == status or self._store.verified(ref, digest):
            return
        metadata = resource["metadata"]
        manifest = {
            "apiVersion": resource["apiVersion"],
            "kind": resource["kind"],
            # With the uid, so that a namesake made meanwhile doesn't get it.
            "metadata": {"name": ref.name, "namespace": ref.namespace, "uid": metadata["uid"]},
            "status": status,
        }
        answer = await self._client.apply_status(manifest)
        self._put(answer, foreign=wish_of(answer) != wish_of(resource))
        # Should the API server keep it in other words, this version of it is not written again.
        self._store.verify(ref, digest)


def _declared(resource: Object, manifest: Object) -> tuple[Object, str]:
    """The manifest as it is applied, and its digest."""
    owner = resource["metadata"]
    metadata = dict(manifest["metadata"])
    metadata["ownerReferences"] = [
        {
            "apiVersion": resource["apiVersion"],
            "kind": resource["kind"],
            "name": owner["name"],
            "uid": owner["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    declared = _with_data({**_without_nulls(manifest), "metadata": _without_nulls(metadata)})
    digest = _digest(declared)
    declared["metadata"]["annotations"] = {
        **(declared["metadata"].get("annotations") or {}),
        APPLIED_HASH: digest,
    }
    return declared, digest


def _with_data(manifest: Object) -> Object:
    # stringData can be written and never read, so it could not be compared.
    if "stringData" not in manifest:
        return manifest
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in manifest["stringData"].items()}
    plain = {k: v for k, v in manifest.items() if k != "stringData"}
    return {**plain, "data": {**(manifest.get("data") or {}), **encoded}}


def _digest(document: Object) -> str:
    return hashlib.blake2b(orjson.dumps(document, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def _without_nulls(value: Object) -> Object:
    # Nearly always there are none, and the serializer sees that sooner than a walk through the tree.
    return _stripped(value) if b"null" in orjson.dumps(value) else dict(value)


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stripped(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_stripped(inner) for inner in value]
    return value


def _check_owner(resource: Object, ref: Ref, live: Object) -> None:
    owner = controller_of(live)
    if owner is not None and owner["uid"] == resource["metadata"]["uid"]:
        return
    if owner is not None and (owner["kind"], owner["name"]) == (
        resource["kind"],
        resource["metadata"]["name"],
    ):
        # Of a namesake deleted a moment ago; the garbage collector takes it away, and the watch tells.
        raise ConflictError(f"{ref.kind.kind} {ref.name} of a deleted namesake is not gone yet")
    whose = f"belongs to {owner['kind']} {owner['name']}" if owner else "is not managed by this operator"
    raise ForeignObjectError(
        f"{ref.kind.kind} {ref.name} exists and {whose}; delete or rename it, or rename "
        f"{resource['kind']} {resource['metadata']['name']}"
    )


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - PATHS_SHOWN} more" if len(paths) > PATHS_SHOWN else ""
    return ", ".join(paths[:PATHS_SHOWN]) + more
