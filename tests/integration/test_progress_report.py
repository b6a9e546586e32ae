"""Reports of a run's progress, over HTTP to a real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from media_gateway.ingestion.progress_report import ProgressReporter
from media_gateway.ingestion.runs import Counts
from media_gateway.ingestion.services.meter import Progress
from tests.support.progress_door import PATH, Operator, listening
from tests.support.waiting import eventually


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    found = Operator()
    async with listening(found.take) as found.url:
        yield found


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


def write(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


async def test_each_report_is_of_the_newest_progress_and_carries_the_newest_token(
    operator: Operator, token: Path
):
    reporter = ProgressReporter(operator.url, token, every_s=0.02)
    async with reporter.reporting():
        reporter.progress(
            Progress(
                counts=Counts(read=7, created=3, updated=1, skipped=2, failed=1), percent=12.5, cursor="8"
            )
        )
        await eventually(lambda: operator.bodies and operator.bodies[-1]["read"] == 7)
        write(token, "second\n")
        await eventually(lambda: "Bearer second" in operator.tokens)
    sent = operator.bodies[-1]
    assert sent == {
        "state": "Running", "read": 7, "written": 4, "skipped": 2, "failed": 1, "percent": 12.5,
        "ratePerSecond": None, "estimatedRemainingSeconds": None, "cursor": "8", "message": None,
        "waitingFor": None, "final": False,
    }  # fmt: skip


@pytest.mark.parametrize("inside", [True, False], ids=["while reporting", "after it"])
async def test_nothing_comes_after_the_last_report(token: Path, *, inside: bool):
    arrived: list[bool] = []
    under_way = 0

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal under_way
        final = bool((await request.json())["final"])
        under_way += 1
        await asyncio.sleep(0 if final else 0.3)
        arrived.append(final)
        return web.Response(status=204)

    async with listening(slow) as url:
        reporter = ProgressReporter(url, token, every_s=0.01)
        async with reporter.reporting():
            await eventually(lambda: under_way)
            if inside:
                await reporter.fail("over", retryable=False)
                await asyncio.sleep(0.1)
        if not inside:
            await reporter.fail("over", retryable=False)
        await eventually(lambda: len(arrived) == under_way)
    assert arrived[-1]
    assert arrived.count(True) == 1


async def test_report_follows_to_the_leader_and_takes_its_token_along(operator: Operator, token: Path):
    async def follower(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": operator.url})

    async with listening(follower) as url:
        await ProgressReporter(url, token).fail("no such file", retryable=False)

    assert (operator.final["state"], operator.final["message"]) == ("Failed", "no such file")
    assert operator.tokens == ["Bearer first"]


async def test_replicas_that_send_in_a_circle_are_left(token: Path):
    asked = 0

    async def circle(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.Response(status=307, headers={"Location": str(request.url)})

    async with listening(circle) as url:
        with capture_logs() as logs:
            await ProgressReporter(url, token).fail("x", retryable=False)
    assert asked == 9  # three hops, three tries
    assert len(logs) == 1


@pytest.mark.parametrize("receiver", ["refuses", "is away", "hangs", "is sent no token"])
async def test_failing_receiver_never_raises_and_is_told_once(
    token: Path, free_port: int, receiver: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("media_gateway.ingestion.progress_report.TRY_TIMEOUT_S", 0.2)
    asked = 0

    async def answer(_request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        if receiver == "hangs":
            await asyncio.sleep(3600)
        return web.Response(status=401)

    if receiver == "is sent no token":
        remove(token)
    async with listening(answer) as url:
        away = f"http://127.0.0.1:{free_port}{PATH}"
        reporter = ProgressReporter(away if receiver == "is away" else url, token, every_s=0.01)
        with capture_logs() as logs:
            async with reporter.reporting():
                await eventually(lambda: logs)
                if receiver in {"refuses", "hangs"}:
                    await eventually(lambda: asked > 2)
            await reporter.fail("over", retryable=True)

    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert "the run goes on" in logs[0]["event"]


async def test_receiver_that_came_back_and_fails_again_is_told_again(token: Path):
    statuses = iter([500, 204, 500, 500, 500])

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=next(statuses, 204))

    async with listening(answer) as url:
        reporter = ProgressReporter(url, token)
        with capture_logs() as logs:
            await reporter.fail("a", retryable=True)
            await reporter.fail("b", retryable=True)
    assert len(logs) == 2


async def test_without_an_address_nothing_is_sent(token: Path):
    remove(token)
    reporter = ProgressReporter(None, token)
    with capture_logs() as logs:
        async with reporter.reporting():
            reporter.say("delivering")
        await reporter.fail("x", retryable=False)
    assert not logs
