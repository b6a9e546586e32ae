"""From a changed object to the resources that must be looked at again.

Called for everything that is new in the store, be it from a watch, a list, or an answer to our own write.
"""

from media_gateway_operator.engine.controller import Controller
from media_gateway_operator.kube.kinds import Object, Ref, ResourceKind
from media_gateway_operator.kube.store import Store, owner_ref


class Routes:
    """Which controller's queue an object's change belongs to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._controllers: dict[ResourceKind, Controller] = {}

    def add(self, controller: Controller) -> None:
        """Route to this one, too."""
        self._controllers[controller.kind] = controller

    def wake(self, ref: Ref) -> None:
        """Have a resource looked at again."""
        if ref.kind in self._controllers:
            self._controllers[ref.kind].queue.add(ref)

    def changed(self, thing: Object, *, listed: bool = False) -> None:
        """An object is new, has changed, or has gone.

        Parameters
        ----------
        listed
            It came in a list of all there is. Nearly all of that was so before, too: it lets pass what people have just
            changed, or else a new leader would look at thousands that want nothing before it answers anybody.
        """
        ref = Ref.of(thing)
        controller = self._controllers.get(ref.kind)
        if controller is not None:
            behind = controller.noticed(ref, thing)
            controller.queue.add(ref, patient=listed and not behind)
        elif (owner := self._owner(thing)) is not None:
            self._controllers[owner.kind].queue.add(owner, patient=listed)
        self.written(thing, listed=listed)

    def written(self, thing: Object, *, listed: bool = False) -> None:
        """An object was written by us: its own controller knows, others may depend on it."""
        for controller in self._controllers.values():
            for ref in controller.interested(thing):
                controller.queue.add(ref, patient=listed)

    def _owner(self, thing: Object) -> Ref | None:
        owner = owner_ref(thing)
        if owner is None or owner.kind in self._controllers:
            return owner
        # The Job of a CronJob: its resource is one step further.
        between = self._store.find(owner)
        above = None if between is None else owner_ref(between)
        return above if above is not None and above.kind in self._controllers else None
