"""Whatever the API server and the way to it do, the namespace ends up the same, and nobody is flooded with requests."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from media_gateway_operator.kube.kinds import INGESTION_JOB, JOB, MEDIA_GATEWAY, SERVICE, Object
from tests.support.control_plane import ControlPlane
from tests.support.kube_api import NAMESPACE
from tests.support.kube_exchange import Rule
from tests.support.kube_faults import (
    broken,
    conflict,
    cut_after,
    cut_before,
    doubled,
    ending_after,
    gone,
    gone_in_stream,
    invalid,
    on_watches,
    on_writes,
    silent,
    slow,
    throttled,
)
from tests.support.operator_fixtures import Golden
from tests.support.operator_process import SHORT_LEASE
from tests.support.operator_scenario import condition_of, ingestion_job
from tests.support.operator_stage import Stage
from tests.support.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

INACTIVITY_S = 2.0

QUIET_S = 3.0

MANY = 520
"""More than one page of a list."""

RULES: dict[str, Callable[[], list[Rule]]] = {
    "conflicts": lambda: [on_writes(conflict, share=0.3)],
    "objects-refused": lambda: [on_writes(invalid, share=0.3)],
    "throttled": lambda: [on_writes(throttled, share=0.2)],
    "server-errors": lambda: [
        on_writes(broken, share=0.3),
        Rule(act=broken, verbs=frozenset({"GET"}), share=0.2),
    ],
    "cut-before-the-server": lambda: [on_writes(cut_before, share=0.3)],
    "answers-lost": lambda: [on_writes(cut_after, share=0.3)],
    "slow-writes": lambda: [on_writes(slow(0.5))],
    "watches-gone": lambda: [on_watches(gone_in_stream, times=20)],
    "watches-that-end": lambda: [on_watches(ending_after(2))],
    "events-doubled": lambda: [on_watches(doubled)],
    "some-watches-silent": lambda: [Rule(act=silent, watch=True, share=0.3)],
}
"""Faults that last as long as the scenario."""


@asynccontextmanager
async def during(work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Repeat something beside the block."""

    async def repeat() -> None:
        while True:
            await work()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def play(stage: Stage, golden: Golden) -> None:
    """The scenario, then what it must have led to: the same state, each child created once, no flood, no more writes."""
    await stage.afternoon(timeout_s=60).play()
    await stage.reached(golden.state)
    assert_created_once(stage)
    stage.proxy.rules.clear()
    await stage.settled()
    assert_no_flood(stage, golden)
    await assert_quiet(stage)


def assert_created_once(stage: Stage) -> None:
    # The scenario itself deletes one Service and one Job, whose names come back once.
    by_hand = (f"/{SERVICE.plural}/", f"/{JOB.plural}/two-")
    twice = {
        path: uids
        for path, uids in stage.created().items()
        if len(uids) > (2 if any(part in path for part in by_hand) else 1)
    }
    assert twice == {}


def assert_no_flood(stage: Stage, golden: Golden) -> None:
    sent = [one for one in stage.proxy.seen if not one.lease]
    assert len(sent) < 10 * golden.requests + 300, f"{len(sent)} requests, {golden.requests} without faults"


async def assert_quiet(stage: Stage) -> None:
    """Nothing is written while nothing happens, and hardly anything is asked."""
    number, began = len(stage.proxy.seen), time.monotonic()
    await eventually(lambda: time.monotonic() - began > QUIET_S, interval_s=0.1)
    later = [one for one in stage.proxy.seen[number:] if not one.lease]
    assert [one for one in later if one.write] == []
    assert len(later) < 60, [f"{one.verb} {one.path}" for one in later]


@pytest.mark.parametrize("fault", RULES)
async def test_the_end_state_is_the_same_under(fault: str, own_stage: Stage, golden: Golden):
    own_stage.settings = {**own_stage.settings, "watch_inactivity_s": str(INACTIVITY_S)}
    rules = [own_stage.proxy.inject(rule) for rule in RULES[fault]()]
    async with own_stage.operator() as operator:
        await play(own_stage, golden)
        assert operator.complaints() == []
        assert operator.running
    assert any(rule.hits for rule in rules), "the fault never came up"


async def test_the_end_state_is_the_same_after_watches_were_refused(own_stage: Stage, golden: Golden):
    rule = own_stage.proxy.inject(on_watches(gone, times=10))
    async with own_stage.operator() as operator:
        await play(own_stage, golden)
        assert operator.running
    assert rule.hits == 10


async def test_the_end_state_is_the_same_while_watches_are_dropped(own_stage: Stage, golden: Golden):
    async def drop() -> None:
        await asyncio.sleep(0.5)
        own_stage.proxy.drop_watches()

    async with own_stage.operator(), during(drop):
        await own_stage.afternoon(timeout_s=60).play()
        await own_stage.reached(golden.state)
        assert_created_once(own_stage)


async def test_the_end_state_is_the_same_while_tokens_expire(own_stage: Stage, golden: Golden):
    token = own_stage.folder / "token"

    async def expire() -> None:
        await asyncio.sleep(0.4)
        own_stage.proxy.rotate(token)
        # A watch is not ended by its token's end, but a new one needs the new token.
        own_stage.proxy.drop_watches()

    async with own_stage.operator(token_file=token), during(expire):
        await own_stage.afternoon(timeout_s=60).play()
        # On a fast machine the scenario may be over before the first token is.
        await eventually(lambda: any(one.status == 401 for one in own_stage.proxy.seen))
        await own_stage.reached(golden.state)
    assert_created_once(own_stage)


async def test_the_end_state_is_the_same_after_a_burst_of_server_errors(own_stage: Stage, golden: Golden):
    async with own_stage.operator():
        afternoon = own_stage.afternoon(timeout_s=60)
        await afternoon.gateway_appears()
        over = time.monotonic() + 4
        burst = Rule(act=broken, path=r"/leases|", until=over)  # renewals of the Lease among them
        own_stage.proxy.inject(burst)
        own_stage.proxy.inject(Rule(act=broken, watch=True, until=over))
        own_stage.proxy.drop_watches()
        await afternoon.jobs_run()
        await afternoon.things_change()
        await afternoon.child_is_deleted()
        await own_stage.reached(golden.state)
    assert burst.hits
    assert_created_once(own_stage)


async def test_an_outage_shorter_than_the_lease_is_survived(own_stage: Stage, golden: Golden):
    own_stage.settings = {**own_stage.settings, "lease_duration_s": "20", "lease_renew_deadline_s": "15"}
    async with own_stage.operator() as operator:
        afternoon = own_stage.afternoon(timeout_s=60)
        await afternoon.gateway_appears()
        async with own_stage.proxy.outage():
            await own_stage.api.create(ingestion_job(own_stage.namespace, "one"))
            await asyncio.sleep(10)  # the length of the outage is what is tested
        await own_stage.api.delete(INGESTION_JOB, own_stage.namespace, "one")
        await afternoon.jobs_run()
        await afternoon.things_change()
        await afternoon.child_is_deleted()
        assert operator.running
        await own_stage.reached(golden.state)


async def test_an_outage_longer_than_the_lease_ends_the_process_and_its_successor_goes_on(
    own_stage: Stage, golden: Golden
):
    own_stage.settings = {**own_stage.settings, **SHORT_LEASE}
    async with own_stage.operator() as operator:
        afternoon = own_stage.afternoon(timeout_s=60)
        await afternoon.gateway_appears()
        async with own_stage.proxy.outage():
            assert await operator.exited(timeout_s=10) != 0
        await operator.start()
        await afternoon.jobs_run()
        await afternoon.things_change()
        await afternoon.child_is_deleted()
        await own_stage.reached(golden.state)


async def test_a_restarted_api_server_is_found_again(
    own_stage: Stage, golden: Golden, control_plane: ControlPlane
):
    own_stage.settings = {**own_stage.settings, "lease_duration_s": "60", "lease_renew_deadline_s": "50"}
    async with own_stage.operator() as operator:
        afternoon = own_stage.afternoon(timeout_s=60)
        await afternoon.gateway_appears()
        await control_plane.restart_api_server()
        await afternoon.jobs_run()
        await control_plane.restart_api_server()
        await afternoon.things_change()
        await afternoon.child_is_deleted()
        await own_stage.reached(golden.state)
        assert operator.running
        assert_created_once(own_stage)


async def test_a_restart_writes_nothing(own_stage: Stage):
    async with own_stage.operator() as operator:
        await own_stage.afternoon().play()
        await own_stage.settled()
        assert await operator.end() == 0
        number = len(own_stage.proxy.seen)
        await operator.start()

        async def looked_at_all() -> bool:
            metrics = await operator.metrics()
            return metrics.get("mgw_operator_reconcile_duration_seconds_count", 0) >= 4

        await eventually(looked_at_all, timeout_s=30)
        await own_stage.settled()
        assert [f"{one.verb} {one.path}" for one in own_stage.proxy.writes(number)] == []


async def test_changes_during_a_silent_watch_are_noticed_within_the_inactivity_setting(own_stage: Stage):
    own_stage.settings = {**own_stage.settings, "watch_inactivity_s": str(INACTIVITY_S)}
    async with own_stage.operator():
        await eventually(lambda: len(own_stage.proxy.watches) >= 3)
        await own_stage.api.create(ingestion_job(own_stage.namespace, "before", suspend=True))
        await own_stage.afternoon().until(INGESTION_JOB, "before", "Suspended")
        assert own_stage.proxy.silence_watches() >= 3
        began = time.monotonic()
        await own_stage.api.create(ingestion_job(own_stage.namespace, "after", suspend=True))
        await own_stage.afternoon().until(INGESTION_JOB, "after", "Suspended")
        took = time.monotonic() - began
        assert took < INACTIVITY_S + 3, f"noticed after {took:.1f} s"


async def test_liveness_fails_while_every_watch_is_silent(own_stage: Stage):
    own_stage.settings = {**own_stage.settings, "watch_stale_s": "5", "watch_inactivity_s": "3600"}
    async with own_stage.operator() as operator:
        await eventually(lambda: len(own_stage.proxy.watches) >= 3)
        assert await operator.status_of("/healthz") == 200
        own_stage.proxy.silence_watches()

        async def unhealthy() -> bool:
            return await operator.status_of("/healthz") == 503

        await eventually(unhealthy, timeout_s=20, interval_s=0.2)


async def test_a_list_whose_continuation_is_gone_is_begun_anew(own_stage: Stage):
    jobs = [ingestion_job(own_stage.namespace, f"job-{n:03}", suspend=True) for n in range(MANY)]
    await asyncio.gather(*(own_stage.api.create(job) for job in jobs))
    rule = own_stage.proxy.inject(Rule(act=gone, query=r"continue=[^&]", times=1))
    async with own_stage.operator():

        async def all_accepted() -> bool:
            found = await own_stage.api.list(INGESTION_JOB, own_stage.namespace)
            return len(found) == MANY and all(condition_of(one, "Suspended") == "True" for one in found)

        await eventually(all_accepted, timeout_s=60, interval_s=0.5)
    assert rule.hits == 1, "no list was read in pages"


async def test_an_object_that_is_always_refused_is_tried_ever_more_rarely(own_stage: Stage):
    own_stage.settings = {**own_stage.settings, "backoff_base_s": "0.5", "backoff_max_s": "60"}
    own_stage.proxy.inject(on_writes(invalid, r"/jobs/refused-"))
    async with own_stage.operator():
        await own_stage.afternoon().gateway_appears()
        await own_stage.api.create(ingestion_job(own_stage.namespace, "refused", suspend=True))
        tries = r"/jobs/refused-"
        await eventually(lambda: len(_times(own_stage, tries)) >= 4, timeout_s=30)
        moments = _times(own_stage, tries)
        gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
        assert gaps[-1] > 1.2 * gaps[0], gaps
        assert min(gaps) > 0.2, gaps
        own_stage.proxy.rules.clear()
        await own_stage.afternoon(timeout_s=60).until(INGESTION_JOB, "refused", "Suspended")


async def test_jobs_whose_writes_hang_delay_no_gateway(own_stage: Stage):
    # More jobs than the operator has workers for their kind, each held up longer than the gateway may take.
    rule = own_stage.proxy.inject(on_writes(slow(20), r"/jobs/stuck-"))
    async with own_stage.operator():
        await own_stage.afternoon().gateway_appears()
        for n in range(20):
            await own_stage.api.create(ingestion_job(own_stage.namespace, f"stuck-{n}", suspend=True))
        await eventually(lambda: rule.hits >= 16, timeout_s=30)
        replicas = {"spec": {"components": {"discovery": {"replicas": 3}}}}
        await own_stage.api.patch(MEDIA_GATEWAY, own_stage.namespace, "main", replicas)
        await own_stage.afternoon(timeout_s=10).until(MEDIA_GATEWAY, "main", "Ready")


async def test_a_namespace_is_deleted_while_the_operator_works_in_it(own_stage: Stage):
    async with own_stage.operator() as operator:
        await own_stage.afternoon().gateway_appears()
        await own_stage.afternoon().jobs_run()
        own_stage.proxy.seen.clear()
        await own_stage.api.delete(NAMESPACE, None, own_stage.namespace)
        await _gone(own_stage)
        assert len(own_stage.proxy.writes()) < 100, "the operator fights against the deletion"
        assert operator.complaints() == []


async def test_a_namespace_is_deleted_after_the_operator_is_gone(own_stage: Stage):
    async with own_stage.operator():
        await own_stage.afternoon().gateway_appears()
        await own_stage.afternoon().jobs_run()
    found = [*await own_stage.api.list(INGESTION_JOB, own_stage.namespace)]
    assert [one["metadata"].get("finalizers") for one in found] == [None] * 3
    await own_stage.api.delete(NAMESPACE, None, own_stage.namespace)
    await _gone(own_stage)


async def _gone(stage: Stage) -> None:
    async def gone() -> bool:
        found: Object | None = await stage.api.get(NAMESPACE, None, stage.namespace)
        assert found is None, found["status"]
        return True

    await eventually(gone, timeout_s=40, interval_s=0.2)


def _times(stage: Stage, path: str) -> list[float]:
    return [one.at for one in stage.proxy.writes() if path in one.path]
