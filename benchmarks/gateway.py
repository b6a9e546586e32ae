"""What the gateway costs: requests a second beside a bare proxy, and time added to a service that is called directly.

    python benchmarks/gateway.py [--rounds 5]

Gateway and bare proxy have one core, the service (a bare aiohttp handler that answers with 9 KB), Redis and the load the
others. Two limits count each request, as those of a tier do, and are too wide to refuse any. Run alone on an idle machine.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import load
import psutil
from rich.console import Console
from rich.table import Table
from search_stand import pinned

from media_gateway.core.adapters.embedded.redis import EmbeddedRedis

HERE = Path(__file__).parent
CONNECTIONS = 16
SECONDS = 4.0
RATE = 200.0
"""Requests a second at which times are compared."""

ANSWER_BYTES = 9_000
SHARE = 0.5
MORE_P50_MS, MORE_P99_MS = 1.0, 3.0
REQUEST = load.post("/api/v1/search", json.dumps({"query": "the godfather", "page_size": 20}).encode())

LIMITS = {
    "builtIn": False,
    "limits": [
        {
            "name": name,
            "component": "gateway",
            "rates": [rate],
            "key": [{"source": "User"}],
            "algorithm": algorithm,
        }
        for name, algorithm, rate in (
            ("second", "GCRA", {"limit": 100_000, "windowMs": 1_000}),
            ("minute", "SlidingWindow", {"limit": 10_000_000, "windowMs": 60_000}),
        )
    ],
}

SERVICE = f"""
import asyncio, sys, uvloop
from aiohttp import web

async def serve():
    async def answer(request):
        await request.read()
        return web.Response(body=b"x" * {ANSWER_BYTES}, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{{rest:.*}}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

uvloop.run(serve())
"""


@dataclass(frozen=True)
class Door:
    """Something that answers."""

    url: str
    process: psutil.Process

    def measure(self, rate: float | None) -> tuple[load.Outcome, float]:
        """Load on it, and its processor time for each answer in microseconds."""
        before = self.process.cpu_times()
        outcome = load.run(load.Plan(self.url, [REQUEST], CONNECTIONS, SECONDS, rate, repeat=True))
        after = self.process.cpu_times()
        if set(outcome.statuses) != {"200"}:
            raise SystemExit(f"{self.url} answered {outcome.statuses}")
        used_s = after.user + after.system - before.user - before.system
        return outcome, used_s / len(outcome.latencies_ms) * 1e6


@contextmanager
def started(*command: str) -> Iterator[Door]:
    """A server that prints its port."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Door(f"http://127.0.0.1:{int(process.stdout.readline())}", psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(20)


@asynccontextmanager
async def gateway(service_url: str, redis_url: str, state_path: Path) -> AsyncIterator[Door]:
    """The gateway before a service."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    limits_path = state_path / "limits.json"
    limits_path.write_text(json.dumps(LIMITS))
    environment = {
        **os.environ,
        "MEDIA_GATEWAY_REDIS_URL": redis_url,
        "MEDIA_GATEWAY_DISCOVERY_URL": service_url,
        "MEDIA_GATEWAY_STATE_DIR": str(state_path),
        "MEDIA_GATEWAY_METRICS_PORT": "0",
        "MEDIA_GATEWAY_RATELIMIT_PATH": str(limits_path),
    }
    process = _serve(port, environment, state_path / "gateway.log")
    try:
        async with asyncio.timeout(30):
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                await asyncio.sleep(0.1)
        yield Door(f"http://127.0.0.1:{port}", psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(20)


def _serve(port: int, environment: Mapping[str, str], log_path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "media_gateway.cli", "serve", "gateway", "--port", str(port)]
    # Its log is written, as in real life, but not kept for longer than this.
    with log_path.open("wb") as log:
        return subprocess.Popen(command, stderr=log, env=environment)


def quantile(outcome: load.Outcome, share: float) -> float:
    """Of the latencies, in milliseconds."""
    ordered = sorted(outcome.latencies_ms)
    return ordered[int(share * (len(ordered) - 1))]


def measure(doors: Mapping[str, Door], rounds: int) -> dict[str, list[float]]:
    """All figures, a list of rounds each; what is compared takes turns."""
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in ("proxy", "gateway"):
            outcome, cpu_us = doors[name].measure(None)
            figures.setdefault(f"{name} per s", []).append(outcome.per_s)
            figures.setdefault(f"{name} cpu", []).append(cpu_us)
        for name in ("service", "proxy", "gateway"):
            outcome, _ = doors[name].measure(RATE)
            figures.setdefault(f"{name} p50", []).append(quantile(outcome, 0.5))
            figures.setdefault(f"{name} p99", []).append(quantile(outcome, 0.99))
    return figures


def show(figures: Mapping[str, list[float]], console: Console) -> None:
    """The table."""

    def of(name: str, digits: int) -> str:
        values = figures[name]
        return (
            f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
        )

    def more(quantile_name: str) -> str:
        pairs = zip(figures[f"gateway {quantile_name}"], figures[f"service {quantile_name}"], strict=True)
        return f"{statistics.median(ours - theirs for ours, theirs in pairs):+.2f}"

    ratio = statistics.median(
        ours / theirs for ours, theirs in zip(figures["gateway per s"], figures["proxy per s"], strict=True)
    )
    table = Table("measure", "gateway", "bare proxy", "service called directly", "gateway is", "target")
    table.add_row(
        "requests/s at saturation", of("gateway per s", 0), of("proxy per s", 0), "",
        f"{ratio:.0%} of the proxy", f"≥ {SHARE:.0%}",
    )  # fmt: skip
    table.add_row("processor time, µs", of("gateway cpu", 0), of("proxy cpu", 0), "", "", "")
    for name, limit in (("p50", MORE_P50_MS), ("p99", MORE_P99_MS)):
        table.add_row(
            f"{name} at {RATE:.0f}/s, ms", of(f"gateway {name}", 2), of(f"proxy {name}", 2),
            of(f"service {name}", 2), f"{more(name)} ms", f"≤ +{limit:g} ms",
        )  # fmt: skip
    console.print(table)


async def run(rounds: int) -> dict[str, list[float]]:
    """Start everything and measure."""
    first, *others = sorted(os.sched_getaffinity(0))
    elsewhere = set(others) or {first}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mgw-bench-")))
        with pinned(elsewhere):
            redis_url = await stack.enter_async_context(EmbeddedRedis(folder))
            service = stack.enter_context(started("-c", SERVICE))
        with pinned({first}):
            proxy = stack.enter_context(started(str(HERE / "bare_proxy.py"), service.url))
            door = await stack.enter_async_context(gateway(service.url, redis_url, folder))
        with pinned(elsewhere):
            return measure({"service": service, "proxy": proxy, "gateway": door}, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = asyncio.run(run(options.rounds))
    show(figures, Console())
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
