"""Leader election: one leader at a time, by each replica's own clock, and nothing written after the deadline."""

import asyncio
import time

import pytest

from media_gateway.core.errors import UnavailableError
from media_gateway_operator.engine.lease import PROGRESS_ADDRESS, Lease, Terms
from media_gateway_operator.kube.errors import NotLeaderError
from media_gateway_operator.kube.kinds import LEASE, Ref
from tests.support.memory_kube import MemoryKube
from tests.support.waiting import eventually

REF = Ref(LEASE, "x", "operator")
TERMS = Terms(duration_s=1.0, renew_deadline_s=0.5, retry_s=0.05)


@pytest.fixture
def kube():
    return MemoryKube()


def replica(kube: MemoryKube, name: str, terms: Terms = TERMS) -> Lease:
    return Lease(kube.as_client(), REF, name, terms=terms, address=f"http://{name}:8088")


async def test_first_one_leads_and_says_where_it_is(kube):
    one = replica(kube, "one")
    await one.acquire()
    assert one.check() > 0.3
    lease = kube.objects[REF]
    assert lease["spec"]["holderIdentity"] == "one"
    assert lease["metadata"]["annotations"][PROGRESS_ADDRESS] == "http://one:8088"


async def test_second_one_waits_while_the_first_renews(kube):
    one, two = replica(kube, "one"), replica(kube, "two")
    await one.acquire()
    keeping, waiting = asyncio.create_task(one.keep()), asyncio.create_task(two.acquire())
    done, _ = await asyncio.wait({keeping, waiting}, timeout=1.6)
    assert not done
    assert one.leads
    assert two.leader_address == "http://one:8088"
    with pytest.raises(NotLeaderError):
        two.check()
    keeping.cancel()
    waiting.cancel()


async def test_silent_leader_has_stopped_before_another_starts(kube):
    one, two = replica(kube, "one"), replica(kube, "two")
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    while not waiting.done():
        await asyncio.sleep(0.01)
        assert not (one.leads and two.leads)
    assert one.lost
    with pytest.raises(NotLeaderError):
        one.check()


async def test_silent_leader_is_followed_when_its_time_is_over(kube):
    one = replica(kube, "one")
    two = replica(kube, "two", Terms(duration_s=120, renew_deadline_s=110, retry_s=100))
    await one.acquire()
    async with asyncio.timeout(30):
        await two.acquire()
    assert two.leads


async def test_released_lease_is_taken_at_once(kube):
    one, two = (
        replica(kube, "one"),
        replica(kube, "two", Terms(duration_s=60, renew_deadline_s=30, retry_s=0.05)),
    )
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    await eventually(lambda: two.leader_address)
    await one.release()
    began = time.monotonic()
    await waiting
    assert time.monotonic() - began < 0.5
    assert not one.leads
    assert not one.lost, "giving it back is no loss"
    assert kube.objects[REF]["metadata"]["annotations"] == {PROGRESS_ADDRESS: "http://two:8088"}
    assert kube.objects[REF]["spec"]["leaseTransitions"] == 2


async def test_release_wins_against_a_renewal_under_way(kube):
    one = replica(kube, "one")
    await one.acquire()
    renewed = False

    def renew_meanwhile(verb, ref):
        nonlocal renewed
        if verb == "replace" and not renewed:
            renewed = True
            live = kube.objects[ref]
            kube.put({**live, "spec": {**live["spec"], "renewTime": "later"}})

    kube.before = renew_meanwhile
    await one.release()
    assert kube.objects[REF]["spec"]["holderIdentity"] == ""


async def test_leader_survives_failures_shorter_than_the_deadline(kube):
    one = replica(kube, "one")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    down_until = time.monotonic() + 0.3

    def down(_verb, _ref):
        if time.monotonic() < down_until:
            raise UnavailableError("down")

    kube.before = down
    done, _ = await asyncio.wait({keeping}, timeout=1.2)
    assert not done
    assert one.leads
    keeping.cancel()


async def test_keeping_ends_when_the_deadline_has_passed(kube):
    one = replica(kube, "one")
    await one.acquire()

    def down(_verb, _ref):
        raise UnavailableError("down")

    kube.before = down
    async with asyncio.timeout(2):
        await one.keep()
    assert one.lost


async def test_keeping_ends_at_once_when_another_holds_it(kube):
    one = replica(kube, "one", Terms(duration_s=60, renew_deadline_s=30, retry_s=0.05))
    await one.acquire()
    live = kube.objects[REF]
    kube.put({**live, "spec": {**live["spec"], "holderIdentity": "two"}})
    async with asyncio.timeout(2):
        await one.keep()
    assert not one.leads


async def test_clock_of_another_replica_does_not_matter(kube):
    one, two = replica(kube, "one"), replica(kube, "two")
    await one.acquire()
    live = kube.objects[REF]
    kube.put({**live, "spec": {**live["spec"], "renewTime": "1999-01-01T00:00:00.000000Z"}})
    assert not await two._try(), "an old time stamp is no silence"


async def test_same_identity_after_a_restart_goes_on(kube):
    await replica(kube, "one").acquire()
    again = replica(kube, "one")
    async with asyncio.timeout(0.5):
        await again.acquire()
    assert kube.objects[REF]["spec"]["leaseTransitions"] == 1
