"""Every watched object, compressed: what the engine and the reconcilers read instead of asking the API server.

Filled by watches, by the first list, and by the answers to our own writes, in any order: an older version never replaces
a newer one, and a deleted object doesn't come back by a late answer.
"""

import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from media_gateway_operator.kube.kinds import Object, Ref, ResourceKind, kind_of

GRAVES: Final = 4096
"""How many deleted objects are remembered, so that a late answer does not bring one back."""


@dataclass(slots=True)
class _Entry:
    data: bytes
    version: int
    content: int
    """Hash of all but the version: tells a change from a mere new version."""
    uid: str
    owner: str | None
    seen: float
    verified: str | None = None


class Store:
    """Objects by kind, namespace and name, and by the uid of their controller."""

    def __init__(self) -> None:
        self._places: dict[tuple[ResourceKind, str], dict[str, _Entry]] = {}
        self._owned: dict[str, tuple[Ref, ...]] = {}
        self._graves: set[str] = set()
        self._graves_in_order: deque[str] = deque()

    def __len__(self) -> int:
        return sum(len(place) for place in self._places.values())

    def put(self, thing: Object) -> bool:
        """Keep an object as it is now.

        Returns
        -------
        bool
            Whether that says anything new; False for an older version, one that is known, and one that differs in
            nothing but its version.
        """
        metadata = thing["metadata"]
        uid, version = metadata["uid"], int(metadata["resourceVersion"])
        ref = Ref.of(thing)
        if uid in self._graves:
            return False
        place = self._places.setdefault((ref.kind, ref.namespace), {})
        before = place.get(ref.name)
        now = time.monotonic()
        if before is not None and version <= before.version:
            # Versions of one kind are ordered across objects, so this holds for a namesake, too.
            before.seen = now
            return False
        entry = _entry(thing, uid, version, now)
        place[ref.name] = entry
        if before is None or before.owner != entry.owner:
            self._disown(ref, before)
            self._own(ref, entry)
        return before is None or before.content != entry.content or before.uid != uid

    def drop(self, ref: Ref, uid: str) -> bool:
        """Forget an object that is gone; says whether it was there."""
        if uid not in self._graves:
            self._graves.add(uid)
            self._graves_in_order.append(uid)
            if len(self._graves_in_order) > GRAVES:
                self._graves.discard(self._graves_in_order.popleft())
        place = self._places.get((ref.kind, ref.namespace))
        entry = place.get(ref.name) if place is not None else None
        if place is None or entry is None or entry.uid != uid:
            return False
        del place[ref.name]
        if not place:
            del self._places[ref.kind, ref.namespace]
        self._disown(ref, entry)
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._places.clear()
        self._owned.clear()

    def find(self, ref: Ref) -> Object | None:
        """An object, if it is there."""
        entry = self._entry(ref)
        return None if entry is None else _load(entry)

    def list(self, kind: ResourceKind, namespace: str) -> Sequence[Object]:
        """The objects of a kind in a namespace."""
        return [_load(entry) for entry in self._places.get((kind, namespace), {}).values()]

    def refs(self, kind: ResourceKind) -> Iterator[Ref]:
        """All objects of a kind."""
        for (of_kind, namespace), place in list(self._places.items()):
            if of_kind == kind:
                yield from [Ref(kind, namespace, name) for name in place]

    def owned(self, uid: str) -> Sequence[Object]:
        """The objects whose controller has that uid, and those whose controller is one of them."""
        found: list[Object] = []
        for ref in self._owned.get(uid, ()):
            if (entry := self._entry(ref)) is not None:
                found.append(_load(entry))
                found += [
                    _load(one) for inner in self._owned.get(entry.uid, ()) if (one := self._entry(inner))
                ]
        return found

    def unseen(self, kind: ResourceKind, namespace: str | None, since: float) -> Sequence[tuple[Ref, str]]:
        """Objects (and their uids) that nothing has spoken of since a monotonic time; namespace None is all."""
        return [
            (Ref(kind, place, name), entry.uid)
            for (of_kind, place), entries in self._places.items()
            if of_kind == kind and namespace in {None, place}
            for name, entry in entries.items()
            if entry.seen < since
        ]

    def verified(self, ref: Ref, digest: str) -> bool:
        """Whether this very version is known to be as declared by the manifest of that digest."""
        entry = self._entry(ref)
        return entry is not None and entry.verified == digest

    def verify(self, ref: Ref, digest: str) -> None:
        """Remember that the kept version is as declared."""
        if (entry := self._entry(ref)) is not None:
            entry.verified = digest

    def _entry(self, ref: Ref) -> _Entry | None:
        place = self._places.get((ref.kind, ref.namespace))
        return None if place is None else place.get(ref.name)

    def _own(self, ref: Ref, entry: _Entry) -> None:
        if entry.owner:
            self._owned[entry.owner] = (*self._owned.get(entry.owner, ()), ref)

    def _disown(self, ref: Ref, entry: _Entry | None) -> None:
        if entry is None or not entry.owner:
            return
        left = tuple(one for one in self._owned.get(entry.owner, ()) if one != ref)
        if left:
            self._owned[entry.owner] = left
        else:
            self._owned.pop(entry.owner, None)


def controller_of(thing: Object) -> Object | None:
    """The owner reference of an object's controller."""
    owners: Iterable[Object] = thing["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def wish_of(thing: Object) -> Object:
    """What people have said of an object: another one means that it must be looked at again.

    The answer to a write of ours may bring it before the watch does, which then brings nothing new.
    """
    said = ("generation", "labels", "annotations", "deletionTimestamp")
    return {name: thing["metadata"].get(name) for name in said}


def owner_ref(thing: Object) -> Ref | None:
    """An object's controller, if it is of one of our kinds."""
    owner = controller_of(thing)
    if owner is None:
        return None
    try:
        kind = kind_of(owner)
    except KeyError:
        return None
    return Ref(kind, thing["metadata"].get("namespace", ""), owner["name"])


def _entry(thing: Object, uid: str, version: int, now: float) -> _Entry:
    metadata = {key: value for key, value in thing["metadata"].items() if key != "managedFields"}
    owner = controller_of(thing)
    data = orjson.dumps({**thing, "metadata": metadata})
    metadata.pop("resourceVersion")
    content = hash(orjson.dumps({**thing, "metadata": metadata}))
    return _Entry(zlib.compress(data, 1), version, content, uid, owner["uid"] if owner else None, now)


def _load(entry: _Entry) -> Object:
    thing: Object = orjson.loads(zlib.decompress(entry.data))
    return thing
