"""Events: few, aggregated, never in the way."""

import asyncio

import pytest

from media_gateway.core.errors import UnavailableError
from media_gateway_operator.engine import recorder as module
from media_gateway_operator.engine.plan import Note
from media_gateway_operator.engine.recorder import BURST, REMEMBERED, Recorder
from media_gateway_operator.kube.kinds import INGESTION_JOB
from tests.support.memory_kube import MemoryKube
from tests.support.waiting import eventually
from tests.unit.test_operator_store import thing

RESOURCE = thing(INGESTION_JOB, "nightly")
NOTE = Note("Warning", "ReconcileFailed", "because")


@pytest.fixture
def kube():
    return MemoryKube()


@pytest.fixture
async def recorder(kube):
    recorder = Recorder(kube, "me")
    task = asyncio.create_task(recorder.run())
    yield recorder
    task.cancel()
    await asyncio.wait({task})


async def test_event_tells_of_what_and_why(recorder, kube):
    recorder.tell(RESOURCE, NOTE)
    (event,) = await eventually(lambda: list(kube.objects.values()))
    assert event["involvedObject"]["uid"] == "uid-nightly"
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "ReconcileFailed", "because")
    assert event["count"] == 1
    assert event["metadata"]["namespace"] == "x"


async def test_repeated_event_is_one_write_and_later_a_count(recorder, kube, monkeypatch):
    for _ in range(10):
        recorder.tell(RESOURCE, NOTE)
    await eventually(lambda: kube.objects)
    assert len(kube.writes) == 1
    monkeypatch.setattr(module, "QUIET_S", 0.0)
    recorder.tell(RESOURCE, Note("Warning", "ReconcileFailed", "still"))
    await eventually(lambda: len(kube.writes) == 2)
    (event,) = kube.objects.values()
    assert (event["count"], event["message"]) == (11, "still")


async def test_event_that_the_server_has_forgotten_is_made_anew(recorder, kube, monkeypatch):
    monkeypatch.setattr(module, "QUIET_S", 0.0)
    recorder.tell(RESOURCE, NOTE)
    await eventually(lambda: kube.objects)
    kube.objects.clear()
    recorder.tell(RESOURCE, NOTE)
    await eventually(lambda: kube.objects)


async def test_burst_of_resources_is_bounded(recorder, kube):
    for number in range(500):
        recorder.tell(thing(INGESTION_JOB, f"job-{number}"), NOTE)
    await eventually(recorder._waiting.empty)
    assert len(kube.writes) <= BURST + 10


async def test_telling_never_fails_or_waits(kube):
    recorder = Recorder(kube, "me")  # nothing posts
    for number in range(2 * REMEMBERED):
        recorder.tell(thing(INGESTION_JOB, f"job-{number}"), NOTE)
    assert len(recorder._told) == REMEMBERED


async def test_unreachable_server_does_not_end_the_posting(recorder, kube):
    def down(_verb, _ref):
        raise UnavailableError("down")

    kube.before = down
    recorder.tell(RESOURCE, NOTE)
    await eventually(recorder._waiting.empty)
    kube.before = lambda _verb, _ref: None
    recorder.tell(thing(INGESTION_JOB, "other"), NOTE)
    await eventually(lambda: kube.objects)
