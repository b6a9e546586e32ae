"""Carrying a plan out: no needless write, nothing of somebody else's, drift corrected and told."""

import asyncio
import copy
from collections.abc import Sequence

import pytest

from media_gateway.core.errors import ConflictError, InvalidInputError
from media_gateway_operator.engine.apply import Applier, ForeignObjectError
from media_gateway_operator.engine.plan import Note, Plan
from media_gateway_operator.kube.errors import TerminatingError
from media_gateway_operator.kube.kinds import (
    APPLIED_HASH,
    CONFIG_MAP,
    DEPLOYMENT,
    INGESTION_JOB,
    SECRET,
    Object,
    Ref,
)
from media_gateway_operator.kube.store import Store
from tests.support.memory_kube import MemoryKube

WATCHED = frozenset({INGESTION_JOB, DEPLOYMENT, CONFIG_MAP})
CHILD = Ref(DEPLOYMENT, "x", "child")


def deployment(replicas: int = 2, name: str = "child") -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "x", "labels": {"a": "b"}},
        "spec": {"replicas": replicas, "paused": None},
    }


class World:
    def __init__(self) -> None:
        self.kube, self.store = MemoryKube(), Store()
        self.told: list[Object] = []
        self.changed: list[Object] = []
        self.applier = Applier(
            self.kube.as_client(), self.store, WATCHED, self.told.append, self.changed.append
        )
        self.resource = self.put({
            "apiVersion": INGESTION_JOB.api_version,
            "kind": "IngestionJob",
            "metadata": {"name": "owner", "namespace": "x"},
            "spec": {},
        })  # fmt: skip

    def put(self, thing: Object) -> Object:
        answer = self.kube.put(thing)
        self.store.put(answer)
        return answer

    async def do(
        self, *objects: Object, status: Object | None = None, delete: Sequence[Ref] = ()
    ) -> list[Note]:
        resource = self.store.find(Ref.of(self.resource))
        assert resource is not None
        self.kube.writes.clear()
        return await self.applier.carry_out(
            resource, Plan(objects=objects, status=status or {}, delete=delete)
        )


@pytest.fixture
def world():
    return World()


async def test_child_is_created_with_owner_and_hash(world):
    await world.do(deployment())
    live = world.kube.objects[CHILD]
    (owner,) = live["metadata"]["ownerReferences"]
    assert owner["uid"] == world.resource["metadata"]["uid"]
    assert owner["controller"]
    assert owner["blockOwnerDeletion"]
    assert len(live["metadata"]["annotations"][APPLIED_HASH]) == 16
    assert "paused" not in live["spec"]


async def test_equal_plan_writes_nothing(world):
    await world.do(deployment(), status={"phase": "Ready"})
    assert len(world.kube.writes) == 2
    await world.do(deployment(), status={"phase": "Ready"})
    assert world.kube.writes == []


async def test_equal_plan_writes_nothing_after_a_restart(world):
    await world.do(deployment(), status={"phase": "Ready"})
    store = Store()
    for thing in world.kube.objects.values():
        store.put(thing)
    applier = Applier(world.kube, store, WATCHED)
    world.kube.writes.clear()
    resource = store.find(Ref.of(world.resource))
    assert resource is not None
    assert await applier.carry_out(resource, Plan(objects=[deployment()], status={"phase": "Ready"})) == []
    assert world.kube.writes == []


async def test_change_that_our_write_brings_before_the_watch_is_looked_at(world):
    world.kube.put({**world.resource, "metadata": {**world.resource["metadata"], "generation": 2}})
    await world.do(deployment(), status={"phase": "Ready"})
    assert [one["metadata"]["name"] for one in world.changed] == ["owner"]
    world.kube.put({**world.kube.objects[CHILD], "status": {"readyReplicas": 1}})
    await world.do(deployment(replicas=3), status={"phase": "Ready"})
    assert [one["metadata"]["name"] for one in world.changed] == ["owner", "child"]
    await world.do(deployment(replicas=4), status={"phase": "Degraded"})
    assert len(world.changed) == 2, "what the plan knew is no news"


async def test_changed_plan_is_applied_and_is_no_drift(world):
    await world.do(deployment())
    assert await world.do(deployment(replicas=3)) == []
    assert world.kube.objects[CHILD]["spec"]["replicas"] == 3


async def test_foreign_change_of_a_declared_field_is_reverted_and_told(world):
    await world.do(deployment())
    live = world.kube.objects[CHILD]
    world.put({**live, "spec": {**live["spec"], "replicas": 7, "minReadySeconds": 5}})
    (note,) = await world.do(deployment())
    assert note.reason == "DriftCorrected"
    assert "spec.replicas" in note.message
    assert world.kube.objects[CHILD]["spec"] == {"replicas": 2, "minReadySeconds": 5}


async def test_undeclared_change_survives_without_a_write(world):
    await world.do(deployment())
    live = world.kube.objects[CHILD]
    world.put({**live, "spec": {**live["spec"], "minReadySeconds": 5}})
    assert await world.do(deployment()) == []
    assert world.kube.writes == []


async def test_difference_that_applying_does_not_change_is_written_once(world):
    await world.do(deployment())
    real = world.kube._store

    def rewriting(ref, thing):
        if ref == CHILD:
            thing["spec"]["replicas"] = "two"
        return real(ref, thing)

    world.kube._store = rewriting
    live = world.kube.objects[CHILD]
    world.put({**live, "spec": {**live["spec"], "replicas": "two"}})
    assert await world.do(deployment()) == []
    assert len(world.kube.writes) == 1
    await world.do(deployment())
    assert world.kube.writes == []


async def test_somebodys_object_of_that_name_is_not_touched(world):
    before = world.kube.put(deployment(replicas=9))  # not ours, so not in the store
    with pytest.raises(
        ForeignObjectError, match=r"Deployment child exists and is not managed by this operator"
    ):
        await world.do(deployment())
    assert world.kube.objects[CHILD] == before


async def test_child_of_a_namesake_being_collected_is_waited_for(world):
    await world.do(deployment())
    live = copy.deepcopy(world.kube.objects[CHILD])
    live["metadata"]["ownerReferences"][0]["uid"] = "of-the-one-before"
    world.put(live)
    with pytest.raises(ConflictError, match="not gone yet"):
        await world.do(deployment())


async def test_own_child_that_the_store_has_not_seen_is_taken_up(world):
    await world.do(deployment())
    world.store.clear()
    world.store.put(world.kube.objects[Ref.of(world.resource)])
    await world.do(deployment(replicas=4))
    assert world.kube.objects[CHILD]["spec"]["replicas"] == 4


async def test_unwatched_child_is_read_before_it_is_written(world):
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "x"},
        "stringData": {"a": "b"},
    }
    await world.do(secret)
    assert world.kube.objects[Ref(SECRET, "x", "s")]["data"] == {"a": "Yg=="}
    await world.do(secret)
    assert world.kube.writes == []


async def test_resource_being_deleted_gets_no_children(world):
    world.put({**world.resource, "metadata": {**world.resource["metadata"], "deletionTimestamp": "now"}})
    await world.do(deployment())
    assert world.kube.writes == []


async def test_namespace_being_deleted_ends_quietly(world):
    def refuse(verb, ref):
        if verb == "apply":
            raise TerminatingError("forbidden: because it is being terminated")

    world.kube.before = refuse
    assert await world.do(deployment(), status={"phase": "Ready"}) == []
    assert world.kube.writes == []


async def test_child_being_deleted_is_left_until_it_is_gone(world):
    await world.do(deployment())
    live = world.kube.objects[CHILD]
    world.put({**live, "metadata": {**live["metadata"], "deletionTimestamp": "now"}, "spec": {}})
    await world.do(deployment())
    assert world.kube.writes == []


async def test_surplus_child_is_deleted_once(world):
    await world.do(deployment())
    await world.do(delete=[CHILD])
    assert CHILD not in world.kube.objects
    world.store.drop(CHILD, world.store.find(CHILD)["metadata"]["uid"])
    await world.do(delete=[CHILD])
    assert world.kube.writes == []


async def test_somebodys_object_is_not_deleted(world):
    world.put(deployment())
    with pytest.raises(ForeignObjectError):
        await world.do(delete=[CHILD])
    assert CHILD in world.kube.objects


async def test_resource_itself_is_deleted_after_its_status(world):
    own = Ref.of(world.resource)
    await world.do(status={"phase": "Complete"}, delete=[own])
    assert [verb for verb, _ in world.kube.writes] == ["apply_status", "delete"]


async def test_status_of_the_progress_manager_causes_no_write(world):
    await world.do(status={"phase": "Running"})
    live = world.kube.objects[Ref.of(world.resource)]
    world.put({**live, "status": {"phase": "Running", "progress": {"read": 5}, "cursor": {"value": "x"}}})
    await world.do(status={"phase": "Running", "nothing": None})
    assert world.kube.writes == []


async def test_no_status_is_written_when_a_child_fails(world):
    def refuse(verb, ref):
        if ref == CHILD:
            raise InvalidInputError("spec.replicas: must not be negative")

    world.kube.before = refuse
    with pytest.raises(InvalidInputError):
        await world.do(deployment(), status={"phase": "Ready"})
    assert world.kube.writes == []


async def test_others_are_told_of_our_own_writes(world):
    await world.do(deployment(), status={"phase": "Ready"})
    assert [one["kind"] for one in world.told] == ["Deployment", "IngestionJob"]


async def test_two_carried_out_at_once_do_not_disturb_each_other(world):
    await asyncio.gather(*(world.do(deployment(name=f"c{number}")) for number in range(20)))
    assert len(world.kube.objects) == 21
