"""The operator at thousands of custom resources: how soon it answers, how much it writes, what it keeps in memory.

An etcd and an API server of the benchmark's own on loopback, with garbage collection and without kubelet or Job controller;
the operator is a process beside them in the environment of its image, if ``uv`` can make it, else in this one. Run alone on
an idle machine:

    python benchmarks/kube_operator.py [--resources 5000] [--burst 1000] [--rounds 3] [--json FILE]
"""

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

# Run as a script, so that only this folder would be searched.
sys.path.insert(1, str(Path(__file__).parents[1]))

from kube_floor import Clocks, Pattern, create_jobs, floor, prepare, remove, writes_so_far
from rich.console import Console
from rich.table import Table

from media_gateway_operator.kube.kinds import LEASE
from tests.cluster.machine.places import cache_folder
from tests.cluster.machine.programs import programs
from tests.support.control_plane import ControlPlane, install_crds
from tests.support.kube_api import KubeApi
from tests.support.operator_process import OperatorProcess
from tests.support.operator_scenario import ingestion_job, namespace_named
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements" / "images" / "operator.txt"
SYSTEM = "operator"
PLACES = 5
STEADY_S = 60.0
PROBES = 100


@dataclass
class Result:
    """What is reported; times in seconds unless the name says milliseconds."""

    resources: int
    burst: int
    environment: str
    floor_s: list[float] = field(default_factory=list)
    burst_s: list[float] = field(default_factory=list)
    writes_each: float = 0.0
    idle_ms: tuple[float, float] = (0.0, 0.0)
    busy_ms: tuple[float, float] = (0.0, 0.0)
    busy_probes: int = 0
    steady_writes: float = 0.0
    steady_cpu_percent: float = 0.0
    restart_s: float = 0.0
    restart_writes: float = 0.0
    killed_s: float = 0.0
    frozen_s: float = 0.0
    frozen_exit_s: float = 0.0
    resident_mb: float = 0.0
    resident_after_restart_mb: float = 0.0


@dataclass
class Bench:
    """One run's parts."""

    api: KubeApi
    clocks: Clocks
    operator: OperatorProcess
    result: Result

    async def burst(self, namespace: str, count: int) -> float:
        """Seconds until so many new jobs are accepted and have their child."""
        began = time.perf_counter()
        await create_jobs(self.api, namespace, count)
        await self.clocks.all_accepted(namespace, count)
        return time.perf_counter() - began

    async def probe(self, namespace: str, name: str) -> float:
        """Milliseconds from the answer to a creation to the first status."""
        began = time.perf_counter()
        await self.api.create(ingestion_job(namespace, name, suspend=True))
        return (await self.clocks.first_status(namespace, name) - began) * 1000

    async def caught_up(self, operator: OperatorProcess) -> None:
        """Wait until an operator has looked at every resource and has nothing more to do."""
        resources = self.result.resources

        async def done() -> bool:
            metrics = await operator.metrics()
            looked = metrics.get("mgw_operator_reconcile_duration_seconds_count", 0)
            return looked >= resources and metrics.get("mgw_operator_queue_length", 1) == 0

        await eventually(done, timeout_s=120, interval_s=0.1)


async def measure_burst(bench: Bench, rounds: int) -> None:
    """The burst and its floor, in turns; the operator rests while the floor is measured."""
    result = bench.result
    await prepare(bench.api, ["pattern"])
    await bench.burst("pattern", 1)
    pattern = await Pattern.of(bench.api, "pattern", "job-00000")
    for number in range(rounds):
        await bench.operator.end()
        name = f"floor-{number}"
        result.floor_s.append(await floor(bench.api, name, result.burst, pattern))
        await remove(bench.api, name)
        await bench.operator.start()
        name = f"burst-{number}"
        await prepare(bench.api, [name])
        before = await writes_so_far(bench.api)
        result.burst_s.append(await bench.burst(name, result.burst))
        result.writes_each = (await writes_so_far(bench.api) - before) / result.burst
        await remove(bench.api, name)


async def measure_latency(bench: Bench) -> None:
    """First status of new resources beside thousands of idle ones, then beside a burst, too."""
    result = bench.result
    places = [f"idle-{n}" for n in range(PLACES)]
    await prepare(bench.api, [*places, "probes", "crowd"])
    for place in places:
        await bench.burst(place, result.resources // PLACES)
    await asyncio.sleep(2)  # what the last writes have set off is over
    result.resident_mb = bench.operator.resident_mb()
    result.idle_ms = spread([await bench.probe("probes", f"calm-{n}") for n in range(PROBES)])
    crowd = asyncio.create_task(bench.burst("crowd", result.burst))
    taken: list[float] = []
    while not crowd.done() or not taken:
        taken.append(await bench.probe("probes", f"busy-{len(taken)}"))
    await crowd
    result.busy_ms, result.busy_probes = spread(taken), len(taken)
    await remove(bench.api, "crowd")


async def measure_steady(bench: Bench) -> None:
    """A minute in which nothing happens."""
    before, cpu_s = await writes_so_far(bench.api), bench.operator.cpu_s()
    await asyncio.sleep(STEADY_S)
    bench.result.steady_writes = await writes_so_far(bench.api) - before
    bench.result.steady_cpu_percent = (bench.operator.cpu_s() - cpu_s) / STEADY_S * 100


async def measure_restart(bench: Bench) -> None:
    """The operator ends and starts again."""
    await bench.operator.end()
    before = await writes_so_far(bench.api)
    began = time.perf_counter()
    await bench.operator.start(ready=False)
    await eventually(lambda: bench.operator.status_of("/readyz"), timeout_s=60, interval_s=0.1)
    await bench.caught_up(bench.operator)
    bench.result.restart_s = time.perf_counter() - began
    bench.result.restart_writes = await writes_so_far(bench.api) - before
    bench.result.resident_after_restart_mb = bench.operator.resident_mb()


async def measure_failover(bench: Bench, folder: Path) -> None:
    """The leader is killed, then its successor is frozen; both times the other one goes on."""
    first = bench.operator
    second = OperatorProcess(
        kubeconfig=first.kubeconfig,
        folder=folder,
        namespace=SYSTEM,
        identity="operator-1",
        python=first.python,
    )
    async with second:
        began = time.perf_counter()
        await first.kill()
        await bench.probe("probes", "after-kill")
        bench.result.killed_s = time.perf_counter() - began
        await first.start()
        await bench.caught_up(second)
        began = time.perf_counter()
        second.freeze()
        await bench.probe("probes", "after-freeze")
        bench.result.frozen_s = time.perf_counter() - began
        began = time.perf_counter()
        second.thaw()
        await second.exited(30)
        bench.result.frozen_exit_s = time.perf_counter() - began


def spread(taken: list[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    ordered = sorted(taken)
    return round(statistics.median(ordered), 1), round(
        ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)], 1
    )


def image_python(folder: Path) -> tuple[str, str]:
    """An interpreter in the environment of the operator's image, and what to call it."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    if not REQUIREMENTS.exists() or not Path(uv).exists():
        return sys.executable, "the development environment"
    python = folder / "venv" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")], check=True)
    subprocess.run(
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            str(python),
            "--require-hashes",
            "-r",
            str(REQUIREMENTS),
        ],
        check=True,
    )
    return str(python), "its image's environment"


@asynccontextmanager
async def ready(folder: Path, resources: int, burst: int) -> AsyncIterator[Bench]:
    """A control plane, an operator, and clocks."""
    python, environment = image_python(folder)
    with ControlPlane(programs(cache_folder())) as plane:
        await plane.ready()
        async with KubeApi(plane.kubeconfig, connections=40) as api:
            await install_crds(api)
            await api.create(namespace_named(SYSTEM))
            operator = OperatorProcess(
                kubeconfig=plane.kubeconfig, folder=folder, namespace=SYSTEM, python=python
            )
            async with operator, Clocks.watching(api) as clocks:

                async def leads() -> bool:
                    return await api.get(LEASE, SYSTEM, "media-gateway-operator") is not None

                await eventually(leads, timeout_s=30)
                yield Bench(api, clocks, operator, Result(resources, burst, environment))


async def measure(resources: int, burst: int, rounds: int) -> Result:
    with tempfile.TemporaryDirectory(prefix="mgw-bench-") as name:
        folder = Path(name)
        async with ready(folder, resources, burst) as bench:
            await measure_burst(bench, rounds)
            await measure_latency(bench)
            await measure_steady(bench)
            await measure_restart(bench)
            await measure_failover(bench, folder)
            return bench.result


def show(result: Result) -> None:
    floor_s, burst_s = statistics.median(result.floor_s), statistics.median(result.burst_s)
    table = Table(
        title=f"Operator, {result.resources:,} IngestionJobs with a child each, in {result.environment}"
    )
    for heading in ("measure", "measured", "target", "beside it"):
        table.add_column(heading)
    table.add_row(
        f"{result.burst:,} suspended jobs at once → all accepted, with a child",
        f"{burst_s:.1f} s ({min(result.burst_s):.1f} to {max(result.burst_s):.1f})",
        "≤ 2 × floor, ≤ 15 s",
        f"floor {floor_s:.1f} s ({min(result.floor_s):.1f} to {max(result.floor_s):.1f}), {burst_s / floor_s:.2f} of it; "
        f"{result.writes_each:.2f} writes each",
    )
    idle, busy = result.idle_ms, result.busy_ms
    table.add_row(
        f"new job → first status, {result.resources:,} idle",
        f"p50 {idle[0]} ms, p99 {idle[1]} ms",
        "≤ 50 / 500 ms",
        f"{PROBES} one after another",
    )
    table.add_row(
        f"the same during a burst of {result.burst:,}",
        f"p50 {busy[0]} ms, p99 {busy[1]} ms",
        "p99 ≤ 3 s",
        f"{result.busy_probes} one after another",
    )
    table.add_row(
        f"writes in {STEADY_S:.0f} s of nothing", f"{result.steady_writes:.0f}", "0",
        f"{result.steady_cpu_percent:.1f} % of a core",
    )  # fmt: skip
    table.add_row(
        "restart → caught up", f"{result.restart_s:.1f} s", "≤ 15 s", "from the start of the process"
    )
    table.add_row("writes of that restart", f"{result.restart_writes:.0f}", "0", "")
    table.add_row("leader killed → the other acts", f"{result.killed_s:.1f} s", "≤ 20 s", "lease 15/10/2 s")
    table.add_row(
        "leader frozen → the other acts", f"{result.frozen_s:.1f} s", "≤ 20 s",
        f"woken up, it ended after {result.frozen_exit_s:.1f} s",
    )  # fmt: skip
    table.add_row(
        "resident memory", f"{result.resident_mb:.0f} MB", "≤ 220 MB",
        f"{result.resident_after_restart_mb:.0f} MB after the restart",
    )  # fmt: skip
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--resources", type=int, default=5_000)
    parser.add_argument("--burst", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    arguments = parser.parse_args()
    # Not uvloop: the bare client must not be faster than the operator's loop allows.
    result = asyncio.run(measure(arguments.resources, arguments.burst, arguments.rounds))
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(result), indent=2) + "\n")


if __name__ == "__main__":
    main()
