"""The control loop: what follows an event, a failure, a defect, and an end."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import pytest
from prometheus_client import REGISTRY

from media_gateway.core.errors import ConflictError, InvalidInputError, RateLimitedError, UnavailableError
from media_gateway.core.supervisor import Backoff
from media_gateway_operator.engine.apply import Applier
from media_gateway_operator.engine.cluster import LiveCluster
from media_gateway_operator.engine.controller import FAILURES_SHOWN, Controller, Pace, Tools
from media_gateway_operator.engine.plan import Cluster, Note, Plan, Snapshot
from media_gateway_operator.engine.routes import Routes
from media_gateway_operator.kube.errors import NotLeaderError, TerminatingError
from media_gateway_operator.kube.kinds import (
    CRON_JOB,
    INGESTION_JOB,
    JOB,
    MEDIA_GATEWAY,
    Object,
    Ref,
    ResourceKind,
)
from media_gateway_operator.kube.store import Store
from tests.support.memory_kube import MemoryKube
from tests.support.waiting import eventually
from tests.unit.test_operator_store import thing

if TYPE_CHECKING:
    from media_gateway_operator.engine.recorder import Recorder

OWN = Ref(INGESTION_JOB, "x", "nightly")


class Fake:
    """A reconciler that does what the test says."""

    kind = INGESTION_JOB

    def __init__(self) -> None:
        self.plan = Plan(status={"phase": "Seen", "observedGeneration": 1})
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.snapshots: list[Snapshot] = []
        self.depends_on = MEDIA_GATEWAY.kind

    async def observe(self, snapshot: Snapshot, cluster: Cluster) -> Snapshot:
        self.snapshots.append(snapshot)
        if self.hold:
            await self.hold.wait()
        return snapshot

    def desired(self, observed: Snapshot) -> Plan:
        if self.error:
            raise self.error
        return self.plan

    def interested(self, changed: Object, cluster: Cluster) -> Sequence[Ref]:
        return [OWN] if changed["kind"] == self.depends_on else ()


class Told(list[Note]):
    def tell(self, resource: Object, note: Note) -> None:
        self.append(note)


class World:
    def __init__(self) -> None:
        self.kube, self.store, self.fake, self.told = MemoryKube(), Store(), Fake(), Told()
        self.routes = Routes(self.store)
        client, watched = self.kube.as_client(), frozenset({INGESTION_JOB, JOB})
        applier = Applier(client, self.store, watched, self.routes.written)
        recorder = cast("Recorder", self.told)
        tools = Tools(self.store, LiveCluster(client, self.store), applier, recorder)
        pace = Pace(concurrency=2, timeout_s=0.2, resync_s=600, backoff=Backoff(base_s=0.01, max_s=0.05))
        self.controller = Controller(self.fake, tools, pace)
        self.routes.add(self.controller)

    def see(self, something: Object) -> None:
        if self.store.put(something):
            self.routes.changed(something)

    def create(self, kind: ResourceKind = INGESTION_JOB, name: str = "nightly", **rest: Any) -> Object:
        made = self.kube.put(thing(kind, name, **rest))
        self.see(made)
        return made

    def timers(self) -> dict[Ref, float]:
        loop = asyncio.get_running_loop()
        return {ref: timer.when() - loop.time() for ref, timer in self.controller.queue._timers.items()}


@pytest.fixture
async def world():
    world = World()
    task = asyncio.create_task(world.controller.run())
    yield world
    task.cancel()
    await asyncio.wait({task})


async def test_new_resource_gets_its_status(world):
    world.create()
    await eventually(lambda: world.kube.objects[OWN].get("status") == world.fake.plan.status)
    assert 530 < world.timers()[OWN] <= 600, "looked at again without a reason, in ten minutes"


async def test_wish_of_the_plan_decides_when_to_look_again(world):
    world.fake.plan = Plan(status={}, requeue_after_s=42)
    world.create()
    await eventually(lambda: 40 < world.timers().get(OWN, 0) <= 42)


async def test_echo_of_our_own_write_causes_no_second_look(world):
    world.create()
    await eventually(world.timers)
    world.see(world.kube.objects[OWN])
    await eventually(lambda: len(world.controller.queue) == 0)
    assert len(world.fake.snapshots) == 1


async def test_child_wakes_its_owner_and_so_does_its_child(world):
    job = world.create()
    await eventually(lambda: len(world.fake.snapshots) == 1)
    cron = world.create(CRON_JOB, "nightly", owner=job)
    await eventually(lambda: len(world.fake.snapshots) == 2)
    world.create(JOB, "nightly-1", owner=cron)
    await eventually(lambda: len(world.fake.snapshots) == 3)
    assert len(world.fake.snapshots[-1].children) == 2


async def test_what_a_list_brings_lets_pass_what_people_have_changed():
    world = World()

    def list_one(something: Object) -> Object:
        world.store.put(made := world.kube.put(something))
        world.routes.changed(made, listed=True)
        return made

    def resource(name: str, generation: int) -> Object:
        one = thing(INGESTION_JOB, name, status={"observedGeneration": 3})
        one["metadata"]["generation"] = generation
        return list_one(one)

    for number in range(20):
        list_one(thing(JOB, f"old-{number}", owner=resource(f"old-{number}", 3)))
    resource("changed", 4)
    task = asyncio.create_task(world.controller.run())
    await eventually(lambda: len(world.fake.snapshots) == 21)
    task.cancel()
    await asyncio.wait({task})
    assert world.fake.snapshots[0].resource["metadata"]["name"] == "changed"


async def test_resource_that_only_depends_on_an_object_is_woken(world):
    world.create()
    await eventually(lambda: len(world.fake.snapshots) == 1)
    world.create(MEDIA_GATEWAY, "main")
    await eventually(lambda: len(world.fake.snapshots) == 2)


async def test_defect_in_interest_does_not_stop_the_watch(world):
    def broken(changed, cluster):
        raise ZeroDivisionError

    world.fake.interested = broken
    world.create()
    await eventually(lambda: len(world.fake.snapshots) == 1)


async def test_deleted_resource_leaves_nothing(world):
    world.fake.error = UnavailableError("down")
    world.create()
    await eventually(lambda: len(world.fake.snapshots) > 2)
    made = world.store.find(OWN)
    world.store.drop(OWN, made["metadata"]["uid"])
    world.routes.changed(made)
    await eventually(lambda: world.controller.queue.remembered == 0)
    assert list(world.controller.lags()) == []


async def test_passing_failure_is_retried_quietly(world):
    world.fake.error = UnavailableError("down")
    world.create()
    await eventually(lambda: len(world.fake.snapshots) == 3)
    assert world.told == []
    world.fake.error = None
    await eventually(lambda: world.kube.objects[OWN].get("status"))


async def test_lasting_failure_is_shown(world):
    world.fake.error = UnavailableError("the API server did not answer")
    world.create()
    await eventually(lambda: world.told)
    assert world.told[0].reason == "ReconcileFailed"
    assert "did not answer" in world.told[0].message
    assert len(world.fake.snapshots) >= FAILURES_SHOWN


async def test_refusal_is_shown_at_once(world):
    world.fake.error = InvalidInputError("spec.replicas: must not be negative")
    world.create()
    await eventually(lambda: world.told)
    assert world.told[0] == Note(
        "Warning", "ReconcileFailed", "spec.replicas: must not be negative (tried 1 times)"
    )


async def test_conflict_is_retried_and_not_shown(world):
    world.fake.error = ConflictError("somebody was faster")
    world.create()
    await eventually(lambda: len(world.fake.snapshots) == 3)
    assert world.told == []


async def test_server_that_asks_for_patience_gets_it(world):
    world.fake.error = RateLimitedError("too many", retry_after_ms=30_000)
    world.create()
    await eventually(lambda: world.timers().get(OWN, 0) > 25)


async def test_defect_of_a_reconciler_stops_nobody_else(world):
    world.fake.error = KeyError("spec")
    world.create()
    await eventually(lambda: world.told)
    assert "defect" in world.told[0].message
    world.fake.error = None
    world.create(name="other")
    await eventually(lambda: world.kube.objects[Ref(INGESTION_JOB, "x", "other")].get("status"))


async def test_reconciliation_that_hangs_is_cut_off(world):
    world.fake.hold = asyncio.Event()
    world.create()
    await eventually(lambda: len(world.fake.snapshots) >= 2, timeout_s=3)
    world.fake.hold = None
    await eventually(lambda: world.kube.objects[OWN].get("status"))


@pytest.mark.parametrize("error", [TerminatingError("being terminated"), NotLeaderError("not leading")])
async def test_end_of_a_namespace_or_of_the_lease_is_no_failure(world, error):
    before = REGISTRY.get_sample_value(
        "mgw_operator_reconcile_errors_total", {"kind": "IngestionJob", "code": error.code}
    )
    world.fake.error = error
    world.create()
    await eventually(lambda: world.fake.snapshots and len(world.controller.queue) == 0)
    after = REGISTRY.get_sample_value(
        "mgw_operator_reconcile_errors_total", {"kind": "IngestionJob", "code": error.code}
    )
    assert (before, world.told) == (after, [])


async def test_generation_lag_is_there_only_while_a_status_is_behind(world):
    world.fake.hold = asyncio.Event()
    made = thing(INGESTION_JOB, "nightly")
    made["metadata"]["generation"] = 1
    world.see(world.kube.put(made))
    assert list(world.controller.lags()) == [(("IngestionJob", "x", "nightly"), 1)]
    world.fake.hold.set()
    await eventually(lambda: list(world.controller.lags()) == [])
