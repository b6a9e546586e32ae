"""``media-gateway up``: everything on this machine, with one command."""

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import structlog
import typer

from media_gateway.cli.background import load_demo, make_vectors
from media_gateway.cli.components import COMPONENTS, load_component, unread_variables
from media_gateway.cli.demo_account import EMAIL as DEMO_EMAIL, DemoAccount, demo_account
from media_gateway.cli.environment import (
    RUNNING_FILE,
    StateDir,
    running_up,
    state_option,
    use_state_folder,
)
from media_gateway.cli.log_file import RotatingFile
from media_gateway.cli.probes import ask
from media_gateway.cli.progress import Steps
from media_gateway.cli.stack import Plan, Running, check_plan, running
from media_gateway.core.adapters.embedded.child import Identity
from media_gateway.core.adapters.embedded.state import OwnerLock, StateFolder, write_private
from media_gateway.core.errors import ConflictError, InvalidInputError, MediaGatewayError
from media_gateway.core.telemetry import configure_logging
from media_gateway.core.web import event_loop_factory, stop_signals

FIRST_SEARCH = {"query": "the godfather"}
"""The first command that `up` suggests; `up` is ready once it would be answered."""

READY_TIMEOUT_S = 120.0
POLL_S = 0.1

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for, besides the plan."""

    demo: bool
    ready_file: Path | None


def command(  # noqa: PLR0913, PLR0917 - one parameter an option
    components: Annotated[
        str | None,
        typer.Option(
            help=f"Only these, separated by commas, of: {', '.join(COMPONENTS)}.", show_default="all"
        ),
    ] = None,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo/--no-demo", help="Load the demo catalogue, 17,472 real films, and make a demo user."
        ),
    ] = True,
    port_offset: Annotated[
        int, typer.Option(help="Added to every port, to run several side by side.", min=0, max=60_000)
    ] = 0,
    processes: Annotated[
        bool, typer.Option("--processes", help="Give each component a process of its own.")
    ] = False,
    ready_file: Annotated[
        Path | None,
        typer.Option(help="Written once the first search would be answered: JSON with addresses and pid."),
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Start everything on this machine: private Postgres and Redis, the demo catalogue, every component.

    Nothing else has to be installed or running. Data stay in the state folder, so the next start takes seconds. The
    services listen on loopback only, unless MEDIA_GATEWAY_SERVICE_HOST says otherwise. Servers given by
    MEDIA_GATEWAY_DATABASE_URL and so on are used instead of private ones.

    Ctrl-C stops in good order: requests in flight are answered, then the servers end. A second Ctrl-C ends at once;
    even then, and after kill -9, nothing that was answered as done is lost.

    Examples: media-gateway up · media-gateway up --components discovery --no-demo --port-offset 100
    """
    settings = use_state_folder(state_dir)
    plan = Plan(settings, {n: load_component(n) for n in _chosen(components)}, port_offset, processes)
    if demo and "ingestion" not in plan.components:
        raise InvalidInputError("--components without ingestion can't load the demo catalogue; add --no-demo")
    folder = StateFolder(settings.state_path)
    steps = Steps()
    with _only_one(folder, plan):
        check_plan(plan)
        configure_logging(settings, service="up", stream=cast("TextIO", RotatingFile(folder.log_file("up"))))
        _tell_of_unread(steps)
        with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
            runner.run(_until_stopped(plan, Options(demo, ready_file), steps))
    steps.line("Stopped.")


def _tell_of_unread(steps: Steps) -> None:
    if unread := unread_variables():
        _log.warning("variables that nothing reads", variables=unread)
        steps.line("\n".join(unread), style="yellow")


def _chosen(components: str | None) -> list[str]:
    if components is None:
        return list(COMPONENTS)
    names = [name.strip() for name in components.split(",") if name.strip()]
    if not names:
        raise InvalidInputError(f"--components: no component named; there are: {', '.join(COMPONENTS)}")
    return names


async def _until_stopped(plan: Plan, options: Options, steps: Steps) -> None:
    """Serve until a signal; an error while starting or serving ends it too."""
    with stop_signals() as stop, steps.shown():
        serving = asyncio.create_task(_serve(plan, options, steps), name="up")
        stopping = asyncio.create_task(stop.wait(), name="stop signal")
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not serving.done():
            steps.line("Stopping …")
            serving.cancel()
        await asyncio.wait({serving, stopping})
        if not serving.cancelled():
            serving.result()


async def _serve(plan: Plan, options: Options, steps: Steps) -> None:
    loaded = asyncio.Event()
    async with running(plan, steps) as run, _in_background(make_vectors(run, steps, loaded=loaded)):
        has_films = options.demo and "ingestion" in run.urls and await load_demo(run, steps)
        loaded.set()
        with steps.step("First search" if "discovery" in run.urls else "Health"):
            await _until_answering(run.urls, want_hits=has_films)
        record = _record(plan, run.urls, run.metrics_url)
        write_private(plan.settings.state_path / "run" / RUNNING_FILE, record)
        if options.ready_file is not None:
            write_private(options.ready_file.absolute(), record)
        account = await demo_account(run) if options.demo and "auth" in run.urls else None
        _print_what_to_try(plan, run, steps, account)
        await asyncio.Event().wait()


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do something beside the block; its failure is logged and costs nothing else."""

    async def guarded() -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - supervised: whatever it was, it is logged and the services go on
            _log.exception("background work of the start failed")

    task = asyncio.create_task(guarded(), name="background work of the start")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _until_answering(urls: Mapping[str, str], *, want_hits: bool) -> None:
    """Return once a first search would be answered, or, without discovery, once every component is ready."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            if await _answers(urls, want_hits=want_hits):
                return
        except MediaGatewayError as error:
            if time.monotonic() > deadline:
                raise error from None
        if time.monotonic() > deadline:
            return  # `status` tells what is missing; going on beats giving up
        await asyncio.sleep(POLL_S)


async def _answers(urls: Mapping[str, str], *, want_hits: bool) -> bool:
    for name, url in urls.items():
        if name == "discovery":
            status, answer = await ask(f"{url}/api/v1/search", json=FIRST_SEARCH)
            if status != 200 or (want_hits and not answer.get("results")):
                return False
        elif (await ask(f"{url}/health/ready"))[0] != 200:
            return False
    return True


def _record(plan: Plan, urls: Mapping[str, str], metrics_url: str | None) -> str:
    identity = Identity.of(os.getpid())
    assert identity is not None
    record: dict[str, Any] = {
        "pid": identity.pid,
        "started_s": identity.started_s,
        "urls": dict(urls),
        "metrics_url": metrics_url,
        "state_dir": str(plan.settings.state_path),
    }
    return json.dumps(record, indent=2)


@contextmanager
def _only_one(folder: StateFolder, plan: Plan) -> Iterator[None]:
    """One `up` a state folder.

    Raises
    ------
    ConflictError
        Another one runs.
    """
    lock = OwnerLock(folder.run_file("up.lock"))
    if not lock.try_acquire():
        other = running_up(plan.settings)
        who = f" (pid {other['pid']})" if other else ""
        raise ConflictError(
            f"`media-gateway up` already runs on {folder.path}{who}; stop it, or give this one a folder of its own: "
            "--state-dir and --port-offset"
        )
    try:
        # Who runs is known from now on, what it serves once it serves.
        write_private(folder.run_file(RUNNING_FILE), _record(plan, {}, None))
        yield
    finally:
        folder.run_file(RUNNING_FILE).unlink(missing_ok=True)
        lock.release()


def _print_what_to_try(plan: Plan, run: Running, steps: Steps, account: DemoAccount | None) -> None:
    state = plan.settings.state_path
    token = f"{_program()} token{state_option(plan.settings)}"
    for name, url in run.urls.items():
        steps.line(f"  {name:<12}{url}   {url}/docs")
    if run.metrics_url:
        steps.line(f"  {'metrics':<12}{run.metrics_url}")
    steps.line(f"  {'logs':<12}{state / 'logs'}")
    if account is not None:
        door = run.urls.get("gateway", run.urls["auth"])
        steps.line(f"\nDemo user: {DEMO_EMAIL}, password {account.password}; sign in a TV at {door}/device")
        if account.token is not None:
            steps.line("A token of the demo user, good for an hour:")
            steps.line(account.token)
    steps.line(f"\nA token that may do everything here:  {token}")
    tries = _tries(run.urls, token)
    if tries:
        steps.line("\nTry:")
        for each in tries:
            steps.line(f"  {each}")
    steps.line("\nCtrl-C stops everything.")


def _tries(urls: Mapping[str, str], token: str) -> list[str]:
    found = []
    door = urls.get("gateway")
    if "discovery" in urls and (url := door or urls["discovery"]):
        body = json.dumps(FIRST_SEARCH)
        found += [
            f"curl -s {url}/api/v1/search -H 'Content-Type: application/json' -d '{body}'",
            f"curl -s '{url}/api/v1/content/trending?limit=5'",
        ]
    if "ingestion" in urls and (url := door or urls["ingestion"]):
        found.append(f'curl -s {url}/api/v1/ingestion/jobs -H "Authorization: Bearer $({token})"')
    return found


def _program() -> str:
    """How the user calls this command: its name if that is on the PATH, else the path to it."""
    called = Path(sys.argv[0])
    on_path = shutil.which("media-gateway")
    if called.name != "media-gateway" or (on_path and Path(on_path).resolve() == called.resolve()):
        return "media-gateway"
    relative = os.path.relpath(called)
    return relative if len(relative) < len(str(called)) else str(called)
