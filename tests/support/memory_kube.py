"""A Kubernetes of a few dictionaries, with the face of the operator's client: versions, uids, field managers of a kind.

For unit tests of the operator's engine; what the API server really does is tested against one.
"""

import copy
import itertools
from typing import TYPE_CHECKING, Any, cast

from media_gateway.core.errors import ConflictError, NotFoundError
from media_gateway_operator.kube.kinds import MANAGER, Object, Ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from media_gateway_operator.kube.client import KubeClient


class MemoryKube:
    """Objects by reference.

    Attributes
    ----------
    writes : list of tuple
        Verb and reference of each write that was asked for.
    before : Callable
        Called with verb and reference before each request; may raise.
    """

    def __init__(self) -> None:
        self.objects: dict[Ref, Object] = {}
        self.writes: list[tuple[str, Ref]] = []
        self.before: Callable[[str, Ref], None] = lambda _verb, _ref: None
        self._numbers = itertools.count(1)

    def as_client(self) -> "KubeClient":
        """Itself, for what asks for a client: it has those methods of one that the engine calls."""
        return cast("KubeClient", self)

    async def get(self, ref: Ref) -> Object | None:
        self.before("get", ref)
        return copy.deepcopy(self.objects.get(ref))

    async def apply(self, manifest: Object, *, manager: str = MANAGER, force: bool = True) -> Object:
        ref = self._write("apply", manifest)
        live = self.objects.get(ref)
        if live is not None and not force:
            raise ConflictError(f"conflict with {live['metadata'].get('manager')}")
        merged = _merged(live or {}, manifest)
        merged["metadata"].setdefault("manager", manager)
        return self._store(ref, merged)

    async def apply_status(self, manifest: Object, *, manager: str = MANAGER) -> Object:
        ref = self._write("apply_status", manifest)
        live = self.objects.get(ref)
        if live is None:
            raise NotFoundError(str(ref))
        return self._store(ref, {**live, "status": copy.deepcopy(manifest["status"])})

    async def create(self, manifest: Object, *, manager: str = MANAGER, fenced: bool = True) -> Object:
        ref = self._write("create", manifest)
        if ref in self.objects:
            raise ConflictError(f"{ref} exists")
        return self._store(ref, copy.deepcopy(manifest))

    async def replace(self, manifest: Object, *, manager: str = MANAGER, fenced: bool = True) -> Object:
        ref = self._write("replace", manifest)
        live = self.objects.get(ref)
        if live is None:
            raise NotFoundError(str(ref))
        if live["metadata"]["resourceVersion"] != manifest["metadata"].get("resourceVersion"):
            raise ConflictError("the object has been modified")
        return self._store(ref, copy.deepcopy(manifest))

    async def patch(self, ref: Ref, body: Object, *, manager: str = MANAGER) -> Object:
        self.before("patch", ref)
        self.writes.append(("patch", ref))
        if ref not in self.objects:
            raise NotFoundError(str(ref))
        return self._store(ref, _merged(self.objects[ref], body))

    async def delete(self, ref: Ref, *, uid: str | None = None, propagation: str = "Background") -> None:
        self.before("delete", ref)
        self.writes.append(("delete", ref))
        live = self.objects.get(ref)
        if live is None:
            return
        if uid and live["metadata"]["uid"] != uid:
            raise ConflictError("another uid")
        del self.objects[ref]

    def put(self, thing: Object) -> Object:
        """Somebody else's write."""
        return self._store(Ref.of(thing), copy.deepcopy(thing))

    def _write(self, verb: str, manifest: Object) -> Ref:
        ref = Ref.of(manifest)
        self.before(verb, ref)
        self.writes.append((verb, ref))
        return ref

    def _store(self, ref: Ref, thing: Object) -> Object:
        before = self.objects.get(ref)
        metadata = thing["metadata"]
        metadata["uid"] = before["metadata"]["uid"] if before else f"uid-{next(self._numbers)}"
        metadata["resourceVersion"] = before["metadata"]["resourceVersion"] if before else ""
        if thing != before:
            metadata["resourceVersion"] = str(next(self._numbers))
            self.objects[ref] = thing
        return copy.deepcopy(self.objects[ref])


def _merged(live: Any, declared: Any) -> Any:
    if not isinstance(live, dict) or not isinstance(declared, dict):
        return copy.deepcopy(declared)
    return {**copy.deepcopy(live), **{k: _merged(live.get(k), v) for k, v in declared.items()}}
