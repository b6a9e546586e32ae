"""Stopping in good order, and handlers that are let go when nobody waits for them. Real servers, real processes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from media_gateway.core.bootstrap import Backends
from media_gateway.core.errors import NotConfiguredError, UnavailableError
from media_gateway.core.settings import CoreSettings
from media_gateway.core.web import Component, Context, metrics_server, start_component
from tests.support.echo_component import COMPONENT, FREED, GO_ON, STARTED, serving
from tests.support.waiting import eventually


async def begin_waiting(
    running_app: web.Application, session: aiohttp.ClientSession
) -> asyncio.Task[dict[str, str]]:
    """A request that is in flight until ``GO_ON`` is set."""

    async def call() -> dict[str, str]:
        async with session.get("/api/v1/wait") as answer:
            body: dict[str, str] = await answer.json()
            return body

    task = asyncio.create_task(call())
    await asyncio.wait_for(running_app[STARTED].wait(), 10)
    return task


async def test_a_drain_finishes_what_is_in_flight_and_takes_nothing_new():
    async with serving() as (running, session):
        call = await begin_waiting(running.app, session)
        drain = asyncio.create_task(running.drain())

        async def refuses() -> bool:
            with suppress(aiohttp.ClientConnectionError):
                async with aiohttp.ClientSession() as stranger, stranger.get(f"{running.url}/health/live"):
                    return False
            return True

        await eventually(refuses)
        assert not drain.done()
        running.app[GO_ON].set()
        assert await call == {"subject": "waited"}
        await asyncio.wait_for(drain, 10)


async def test_readiness_is_off_before_the_listener_closes():
    async with serving(drain_delay_s=5, drain_timeout_s=2) as (running, session):
        drain = asyncio.create_task(running.drain())
        await asyncio.sleep(0)
        answer = await session.get("/health/ready")
        assert answer.status == 503
        assert await answer.json() == {"status": "draining", "failing": []}
        assert (await session.get("/health/live")).status == 200, "it must not be killed while it finishes"
        await asyncio.wait_for(drain, 20)


async def test_idle_connections_close_at_once_while_others_finish():
    async with serving() as (running, session):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2]))
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b'"alive"' in await reader.readuntil(b"}")
        call = await begin_waiting(running.app, session)
        drain = asyncio.create_task(running.drain())
        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert not call.done()
        running.app[GO_ON].set()
        assert await call == {"subject": "waited"}
        writer.close()
        await asyncio.wait_for(drain, 10)


async def test_answers_during_the_drain_ask_the_client_to_go_elsewhere():
    async with serving(drain_delay_s=60, drain_timeout_s=2) as (running, session):
        assert "Connection" not in (await session.get("/health/live")).headers
        drain = asyncio.create_task(running.drain())
        await asyncio.sleep(0)
        assert (await session.get("/health/live")).headers["Connection"] == "close"
        await asyncio.wait_for(drain, 20)


async def test_a_request_that_never_ends_is_cut_off_within_the_drains_time():
    async with serving(drain_timeout_s=1) as (running, session):
        call = await begin_waiting(running.app, session)
        with capture_logs() as lines:
            await asyncio.wait_for(running.drain(), 10)
        assert running.app[FREED].is_set()
        with pytest.raises(aiohttp.ClientError):
            await call
        assert [line["requests"] for line in lines if line["event"] == "requests cut off by the drain"] == [1]


async def test_a_client_that_leaves_frees_the_handler():
    async with serving() as (running, session):
        call = await begin_waiting(running.app, session)
        with capture_logs() as lines:
            call.cancel()
            await asyncio.wait_for(running.app[FREED].wait(), 10)
            await eventually(lambda: [line for line in lines if line.get("status") == 499])


async def test_wiring_is_undone_after_the_last_request_and_tasks_before_the_wiring():
    happened: list[str] = []

    async def follow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            happened.append("task stopped")

    @asynccontextmanager
    async def wire(context: Context) -> AsyncIterator[None]:
        context.supervisor.spawn("follow", follow)
        yield
        happened.append("wiring undone")

    settings = CoreSettings()
    running = await start_component(
        Component(name="wired", port=0, settings=CoreSettings, wire=wire), settings
    )
    await asyncio.sleep(0)
    await asyncio.gather(running.drain(), running.drain())
    assert happened == ["task stopped", "wiring undone"]


async def test_health_of_critical_and_other_parts_through_the_routes():
    down: set[str] = set()

    @asynccontextmanager
    async def wire(context: Context) -> AsyncIterator[None]:
        def probe_of(name: str):
            async def probe() -> None:
                if name in down:
                    raise UnavailableError(f"{name} can't be reached")

            return probe

        context.health.add("database", probe_of("database"), critical=True)
        context.health.add("vectors", probe_of("vectors"))
        context.health._kept_s = 0
        yield

    component = Component(name="parts", port=0, settings=CoreSettings, wire=wire)
    running = await start_component(component, CoreSettings())
    async with aiohttp.ClientSession(running.url) as session:

        async def look() -> tuple[int, str, int]:
            health, ready = await session.get("/health"), await session.get("/health/ready")
            document = await health.json()
            assert {"components", "version", "timestamp", "total_latency_ms"} <= document.keys()
            return health.status, document["status"], ready.status

        assert await look() == (200, "healthy", 200)
        down.add("vectors")
        assert await look() == (200, "degraded", 200)
        down.add("database")
        assert await look() == (503, "unhealthy", 503)
        assert (await session.get("/health/live")).status == 200
        assert (await (await session.get("/health/ready")).json())["failing"] == ["database"]
    await running.drain()


async def test_components_share_backends_and_a_taken_port_is_named(free_port: int):
    settings = CoreSettings()
    backends = Backends(settings)
    first = await start_component(COMPONENT, settings, backends, port=free_port)
    with pytest.raises(
        NotConfiguredError, match=f"MEDIA_GATEWAY_SERVICE_PORT: 127.0.0.1:{free_port} can't be listened on"
    ):
        await start_component(COMPONENT, settings, backends, port=free_port)
    second = await start_component(COMPONENT, settings, backends, port=0)
    async with metrics_server("127.0.0.1", 0) as url, aiohttp.ClientSession() as session:
        for running in (first, second):
            assert (await session.get(f"{running.url}/health")).status == 200
        assert "mgw_http_requests_total" in await (await session.get(f"{url}/metrics")).text()
    await asyncio.gather(first.drain(), second.drain())


@asynccontextmanager
async def process(**environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.echo_component"),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **{f"MEDIA_GATEWAY_{name.upper()}": value for name, value in environment.items()}},
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def line_with(child: asyncio.subprocess.Process, message: str) -> dict[str, str]:
    assert child.stderr is not None
    while True:
        line = await asyncio.wait_for(child.stderr.readline(), 30)
        assert line, f"the process ended before it said {message!r}"
        document: dict[str, str] = json.loads(line)
        if document["message"] == message:
            return document


async def test_a_process_finishes_its_request_after_sigterm_and_ends_with_0():
    async with process(service_port="0", metrics_port="0", drain_delay_s="0.2") as child:
        metrics_url = (await line_with(child, "metrics"))["url"]
        url = (await line_with(child, "listening"))["url"]
        async with aiohttp.ClientSession() as session:
            call = asyncio.create_task(session.get(f"{url}/api/v1/sleep?ms=700"))

            async def in_flight() -> bool:
                text = await (await session.get(metrics_url)).text()
                return 'mgw_http_requests_in_flight{component="echo"} 1.0' in text

            await eventually(in_flight)
            child.send_signal(signal.SIGTERM)
            stopping = await line_with(child, "stopping")
            assert stopping["signal"] == "SIGTERM"
            answer = await call
            assert await answer.json() == {"subject": "slept"}
        assert await asyncio.wait_for(child.wait(), 15) == 0


async def test_a_second_signal_ends_a_process_at_once():
    async with process(
        service_port="0", metrics_port="0", drain_delay_s="60", drain_timeout_s="300"
    ) as child:
        await line_with(child, "listening")
        child.send_signal(signal.SIGINT)
        await line_with(child, "draining")
        child.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(child.wait(), 10) == 128 + signal.SIGINT


async def test_wrong_settings_end_a_process_with_78_and_one_line_that_names_each():
    async with process(service_port="many", auth_secret="short") as child:
        assert child.stderr is not None
        said = (await child.stderr.read()).decode().splitlines()
        assert sorted(line.partition(":")[0] for line in said) == [
            "MEDIA_GATEWAY_AUTH_SECRET",
            "MEDIA_GATEWAY_SERVICE_PORT",
        ]
        assert await child.wait() == 78
