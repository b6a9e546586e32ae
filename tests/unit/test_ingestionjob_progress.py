"""The progress board: what it writes, how often, and what it does when the API server is away."""

import asyncio
import time
from typing import Any

import pytest
from pydantic import ValidationError

from media_gateway.core.errors import NotFoundError, UnavailableError
from media_gateway_operator.crds.ingestion import IngestionJobStatus
from media_gateway_operator.ingestionjob import progress
from media_gateway_operator.ingestionjob.progress import ProgressBoard, Report
from media_gateway_operator.kube.errors import NotLeaderError
from media_gateway_operator.kube.kinds import PROGRESS_MANAGER, Object
from tests.support.waiting import eventually


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Server:
    """An API server's IngestionJobs, a client of it, and the board."""

    def __init__(self, monkeypatch) -> None:
        self.clock = Clock()
        monkeypatch.setattr(progress, "time", self.clock)
        self.jobs = {name: self._job(name) for name in ("films", "series")}
        self.written: list[Object] = []
        self.woken: list[str] = []
        self.error: Exception | None = None
        self.changed: Object = {}
        self.tries = 0
        self.board = ProgressBoard(self, self._find, self._keep, lambda ref: self.woken.append(ref.name))

    @staticmethod
    def _job(name: str) -> Object:
        return {"metadata": {"name": name, "uid": f"uid-{name}"}, "status": {}}

    def _find(self, ref):
        return self.jobs.get(ref.name)

    def _keep(self, answer):
        self.jobs[answer["metadata"]["name"]] = answer
        return True

    async def apply_status(self, manifest, *, manager):
        assert manager == PROGRESS_MANAGER
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.written.append(manifest)
        job = self.jobs[manifest["metadata"]["name"]]
        metadata = {**job["metadata"], **self.changed}
        return {**job, "metadata": metadata, "status": {**job["status"], **manifest["status"]}}

    def report(self, read: int, name: str = "films", **more: Any) -> None:
        body: Object = {"state": "Running", "read": read, "written": read, "skipped": 0, "failed": 0} | more
        self.board.report("media", name, "pod", Report.model_validate(body))

    async def flush(self, after_s=0.0):
        self.clock.now += after_s
        await self.board.flush()
        return len(self.written)


@pytest.fixture
def server(monkeypatch) -> Server:
    return Server(monkeypatch)


async def test_a_job_is_written_at_most_every_ten_seconds_with_its_newest_numbers(server):
    for second in range(30):
        server.report(second)
        await server.flush(1.0)
    assert [one["status"]["progress"]["read"] for one in server.written] == [0, 10, 20]


async def test_the_last_report_is_written_at_once(server):
    server.report(1)
    assert await server.flush() == 1
    server.report(2, state="Complete", percent=100.0, final=True)
    assert await server.flush() == 2
    assert server.written[-1]["status"]["progress"]["percent"] == 100


async def test_a_last_report_that_brings_nothing_new_hurries_what_waits(server):
    server.report(1)
    await server.flush()
    server.report(2)
    assert await server.flush() == 1
    server.report(2, final=True)
    assert await server.flush() == 2


async def test_the_same_numbers_again_are_no_write_and_no_progress(server):
    server.report(5, ratePerSecond=10.0)
    await server.flush()
    before = server.jobs["films"]["status"]["progress"]["lastUpdateTime"]
    for _ in range(5):
        server.report(5, ratePerSecond=0.1, estimatedRemainingSeconds=1e6)
        assert await server.flush(10.0) == 1
    assert server.jobs["films"]["status"]["progress"]["lastUpdateTime"] == before


async def test_a_new_leader_does_not_take_old_numbers_for_progress(server):
    server.jobs["films"]["status"] = {
        "progress": {
            "read": 5,
            "written": 5,
            "skipped": 0,
            "failed": 0,
            "lastUpdateTime": "2026-03-02T12:00:00Z",
        }
    }
    server.report(5)
    assert await server.flush() == 0
    server.report(5, waitingFor="Postgres")
    assert await server.flush() == 1
    told = server.written[0]["status"]["progress"]
    assert (told["message"], told["lastUpdateTime"]) == ("waits for Postgres", "2026-03-02T12:00:00Z")


async def test_vectors_that_get_fewer_are_progress(server):
    long_ago = "2026-03-02T12:00:00Z"
    server.jobs["films"]["status"] = {
        "progress": {
            "read": 5,
            "written": 5,
            "skipped": 0,
            "failed": 0,
            "message": "9 left",
            "lastUpdateTime": long_ago,
        }
    }
    server.report(5, message="9 left")
    assert await server.flush() == 0
    server.report(5, message="8 left")
    assert await server.flush() == 1
    assert server.written[0]["status"]["progress"]["lastUpdateTime"] > long_ago


async def test_the_cursor_is_kept_when_a_report_has_none(server):
    server.report(1, cursor="2026-01-01")
    await server.flush()
    first = server.written[-1]["status"]["cursor"]
    server.report(2)
    await server.flush(10.0)
    assert server.written[-1]["status"]["cursor"] == first
    server.report(2, cursor="2026-01-02")
    await server.flush(10.0)
    assert server.written[-1]["status"]["cursor"]["value"] == "2026-01-02"


async def test_numbers_are_rounded_as_the_resource_has_them(server):
    server.report(7, percent=99.7, ratePerSecond=1234.5678, estimatedRemainingSeconds=12.6, message="reads")
    await server.flush()
    shown = server.written[0]["status"]["progress"]
    assert (shown["percent"], shown["ratePerSecond"], shown["estimatedRemainingSeconds"]) == (99, "1200", 13)
    IngestionJobStatus.model_validate(server.written[0]["status"])


@pytest.mark.parametrize(
    ("rate", "shown"), [(0.0, "0"), (0.123, "0.12"), (3.0, "3"), (9.99, "10"), (1e12, "1000000000000")]
)
async def test_rates_have_two_digits(server, rate, shown):
    server.report(1, ratePerSecond=rate)
    await server.flush()
    assert server.written[0]["status"]["progress"]["ratePerSecond"] == shown
    IngestionJobStatus.model_validate(server.written[0]["status"])


async def test_what_could_not_be_written_is_kept_and_tried_later_and_more_seldom(server):
    server.error = UnavailableError("away")
    server.report(1)
    for _ in range(10):
        await server.flush(10.0)
    assert 3 <= server.tries <= 5
    server.error = None
    server.report(2)
    await server.flush()
    assert server.written == [], "an API server in trouble is not asked at once again"
    await server.flush(160.0)
    assert [one["status"]["progress"]["read"] for one in server.written] == [2]


async def test_a_job_that_is_gone_is_dropped(server):
    server.report(1)
    del server.jobs["films"]
    await server.flush()
    server.report(1, name="series")
    server.error = NotFoundError("gone")
    await server.flush()
    assert (server.written, len(server.board)) == ([], 0)
    server.report(1, name="never")
    assert len(server.board) == 0


async def test_a_namesake_does_not_get_what_its_predecessor_reported(server):
    server.report(1)
    server.jobs["films"] = {"metadata": {"name": "films", "uid": "another"}, "status": {}}
    await server.flush()
    assert (server.written, len(server.board)) == ([], 0)


async def test_only_the_leader_writes(server):
    server.error = NotLeaderError("not any more")
    server.report(1)
    assert await server.flush() == 0


async def test_memory_is_bounded(server, monkeypatch):
    monkeypatch.setattr(progress, "JOBS", 10)
    for number in range(50):
        server.jobs[f"job-{number}"] = server._job(f"job-{number}")
        server.report(1, name=f"job-{number}")
    assert len(server.board) == 10
    assert await server.flush() == 10
    await server.flush(10.0)
    assert len(server.board) == 0, "nothing is kept of a job whose turn passed without news"


async def test_a_stalled_job_is_looked_at_again_when_it_goes_on(server):
    server.jobs["films"]["status"] = {"conditions": [{"type": "Stalled", "status": "True"}]}
    server.report(1)
    server.report(1, name="series")
    await server.flush()
    assert server.woken == ["films"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "Dreaming"},
        {"read": -1},
        {"read": 2**60},
        {"percent": 101},
        {"percent": float("nan")},
        {"ratePerSecond": float("inf")},
        {"cursor": "x" * 2000},
        {"message": "x" * 5000},
    ],
)
def test_a_report_is_bounded(wrong):
    body = {"state": "Running", "read": 0, "written": 0, "skipped": 0, "failed": 0}
    assert Report.model_validate({**body, "fromANewerRelease": 1}).read == 0
    with pytest.raises(ValidationError):
        Report.model_validate(body | wrong)


async def test_the_task_writes_by_itself():
    server = Server.__new__(Server)
    server.jobs = {"films": Server._job("films")}
    server.written, server.woken, server.error, server.tries = [], [], None, 0
    server.changed = {}
    server.board = ProgressBoard(server, server._find, server._keep, print, interval_s=0.2)
    task = asyncio.create_task(server.board.run())
    try:
        began = time.monotonic()
        server.report(1)
        await eventually(lambda: len(server.written) == 1)
        server.report(2)
        await eventually(lambda: len(server.written) == 2)
        assert time.monotonic() - began >= 0.2
        await eventually(lambda: len(server.board) == 0)
    finally:
        task.cancel()


async def test_a_change_that_the_answer_brings_before_the_watch_is_looked_at(server):
    server.report(1)
    await server.flush()
    assert server.woken == []
    server.changed = {"generation": 2}
    server.report(2)
    await server.flush(after_s=10)
    assert server.woken == ["films"]
