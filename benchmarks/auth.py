"""What signing in costs: token answers and device polls a second of one process, and the check of a token.

    python benchmarks/auth.py [--rounds 5]

Auth and the floors have one core; Postgres, Redis and the load the others. The floor of tokens is a bare aiohttp handler that
reads the form and signs a token with the same key; that of polls one that calls the least Redis script (one INCR). Refresh
tokens are each used once, so every answer is a rotation: one transaction in Postgres. Limits count every request, as in real
life, and are too wide to refuse any. Run alone on an idle machine.
"""

import argparse
import asyncio
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlencode

import load
import psutil
import sqlalchemy as sa
import uvloop
from rich.console import Console
from rich.table import Table
from search_stand import pinned

from media_gateway.auth.clients import CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN
from media_gateway.auth.keys import make_keys_if_absent
from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.migrations import migrate
from media_gateway.core.tokens import TokenVerifier, mint_token

HERE = Path(__file__).parent
CONNECTIONS = 16
SECONDS = 4.0
TOKENS_PER_S, POLLS_PER_S, VERIFIED_US = 800.0, 2_000.0, 50.0
SECRET = "a secret of the benchmark, at least thirty-two bytes long"
CLIENT_SECRET = "benchmark"
DEVICES = 2_000
LIMITS = {f"RATE_LIMIT_{name}": "1000000000" for name in ("TOKEN", "DEVICE", "POLL")}

CLIENTS = {
    "clients": [
        {
            "client_id": "service",
            "name": "Service",
            "grant_types": [CLIENT_CREDENTIALS],
            "scopes": ["read:content"],
            "secret_sha256": sha256(CLIENT_SECRET.encode()).hexdigest(),
        },
        {
            "client_id": "tv",
            "name": "TV",
            "grant_types": [DEVICE_CODE, REFRESH_TOKEN],
            "scopes": ["read:content"],
        },
    ]
}


@dataclass(frozen=True)
class Door:
    """Something that answers."""

    url: str
    process: psutil.Process

    def measure(self, requests: Sequence[bytes], *, repeat: bool) -> tuple[load.Outcome, float]:
        """Load on it, and its processor time for each answer in microseconds."""
        before = self.process.cpu_times()
        outcome = load.run(load.Plan(self.url, requests, CONNECTIONS, SECONDS, repeat=repeat))
        after = self.process.cpu_times()
        used_s = after.user + after.system - before.user - before.system
        return outcome, used_s / len(outcome.latencies_ms) * 1e6


def form(path: str, fields: Mapping[str, str], authorization: str = "") -> bytes:
    """A POST request with a form."""
    body = urlencode(fields).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-www-form-urlencoded\r\n{authorization}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def auth(database_url: str, redis_url: str, folder: Path) -> AsyncIterator[Door]:
    """Auth as it is deployed."""
    keys, clients = folder / "keys.json", folder / "clients.json"
    make_keys_if_absent(keys, "RS256")
    clients.write_text(json.dumps(CLIENTS))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    own = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "STATE_DIR": str(folder),
        "METRICS_PORT": "0",
        "AUTH_SECRET": SECRET,
        "SIGNING_KEYS_PATH": str(keys),
        "CLIENTS_PATH": str(clients),
        **LIMITS,
    }
    environment = {**os.environ, **{f"MEDIA_GATEWAY_{name}": value for name, value in own.items()}}
    command = [sys.executable, "-m", "media_gateway.cli", "serve", "auth", "--port", str(port)]
    with (folder / "auth.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env=environment)  # noqa: ASYNC220 - nothing else runs yet
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


@asynccontextmanager
async def bare(redis_url: str, keys: Path) -> AsyncIterator[Door]:
    """The floors."""
    command = [sys.executable, str(HERE / "bare_auth.py"), redis_url, str(keys)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - nothing else runs yet
    try:
        assert process.stdout is not None
        yield Door(f"http://127.0.0.1:{int(process.stdout.readline())}", psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(20)


async def refresh_tokens(database: Database, count: int) -> list[str]:
    """So many refresh tokens of one person, each of a grant of its own."""
    user, tokens = uuid7(), [f"mgr_{secrets.token_urlsafe(32)}" for _ in range(count)]
    grants = [uuid7() for _ in tokens]
    async with database.transaction(timeout_ms=60_000) as connection:
        await connection.execute(
            sa.text("INSERT INTO users (id, email) VALUES (:id, :email)"),
            {"id": user, "email": f"{user}@bench.example"},
        )
        await connection.execute(
            sa.text(
                "INSERT INTO oauth_grants (id, client_id, user_id, scopes, expires_at) "
                "SELECT unnest(CAST(:grants AS uuid[])), 'tv', :user, '{read:content}', now() + interval '1 day'"
            ),
            {"grants": grants, "user": user},
        )
        await connection.execute(
            sa.text(
                "INSERT INTO refresh_tokens (digest, grant_id, expires_at) SELECT digest, id, now() + interval '1 day' "
                "FROM unnest(CAST(:digests AS bytea[]), CAST(:grants AS uuid[])) AS new (digest, id)"
            ),
            {"digests": [sha256(token.encode()).digest() for token in tokens], "grants": grants},
        )
    return tokens


def device_codes(door: Door) -> list[str]:
    """Codes that wait."""
    import urllib.request

    body = urlencode({"client_id": "tv"}).encode()
    found = []
    for _ in range(DEVICES):
        with urllib.request.urlopen(f"{door.url}/auth/device", body) as answer:
            found.append(json.load(answer)["device_code"])
    return found


async def verified_us() -> dict[str, float]:
    """Microseconds to check one token: the first time, and again."""
    warm = 20_000
    verifier = TokenVerifier(issuer="media-gateway", audience="media-gateway", secret=SECRET)
    tokens = [mint_token(SECRET, str(uuid7())) for _ in range(2_000)]
    began = time.perf_counter()
    for token in tokens:
        await verifier.verify(token)
    cold = (time.perf_counter() - began) / len(tokens) * 1e6
    began = time.perf_counter()
    for _ in range(warm):
        await verifier.verify(tokens[-1])
    return {"cold": cold, "warm": (time.perf_counter() - began) / warm * 1e6}


async def measure(rounds: int) -> dict[str, list[float]]:
    """All figures, a list of rounds each; what is compared takes turns."""
    first, *others = sorted(os.sched_getaffinity(0))
    elsewhere = set(others) or {first}
    figures: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mgw-bench-")))
        with pinned(elsewhere):
            database_url = await stack.enter_async_context(EmbeddedPostgres(folder))
            redis_url = await stack.enter_async_context(EmbeddedRedis(folder))
            await migrate(database_url)
        database = Database(database_url)
        stack.push_async_callback(database.close)
        with pinned({first}):
            door = await stack.enter_async_context(auth(database_url, redis_url, folder))
            floor = await stack.enter_async_context(bare(redis_url, folder / "keys.json"))
        basic = b64encode(f"service:{CLIENT_SECRET}".encode()).decode()
        service = form("/auth/token", {"grant_type": CLIENT_CREDENTIALS}, f"Authorization: Basic {basic}\r\n")
        codes = device_codes(door)
        polls = [
            form("/auth/token", {"grant_type": DEVICE_CODE, "device_code": code, "client_id": "tv"})
            for code in codes
        ]
        with pinned(elsewhere):
            for _ in range(rounds):
                fresh = await refresh_tokens(database, 8_000)
                refreshes = [
                    form(
                        "/auth/token",
                        {"grant_type": REFRESH_TOKEN, "refresh_token": token, "client_id": "tv"},
                    )
                    for token in fresh
                ]
                ways = {
                    "signing, bare": (floor, [form("/sign", {"grant_type": "x"})], True, "200"),
                    "client credentials": (door, [service], True, "200"),
                    "refresh": (door, refreshes, False, "200"),
                    "script, bare": (floor, [form("/poll", {"device_code": "x"})], True, "200"),
                    "device poll": (door, polls, True, "400"),
                }
                for name, (at, requests, repeat, status) in ways.items():
                    outcome, cpu_us = at.measure(requests, repeat=repeat)
                    if set(outcome.statuses) != {status}:
                        raise SystemExit(f"{name}: answered {outcome.statuses}")
                    figures.setdefault(f"{name} per s", []).append(outcome.per_s)
                    figures.setdefault(f"{name} cpu", []).append(cpu_us)
                for name, taken in (await verified_us()).items():
                    figures.setdefault(f"verified {name}", []).append(taken)
    return figures


def show(figures: Mapping[str, list[float]], console: Console) -> None:
    """The table."""

    def of(name: str) -> str:
        values = figures[name]
        return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"

    table = Table("measure", "answers/s, one process", "processor time, µs", "of the floor", "target")
    rows = (
        ("signing, bare", "signing, bare", ""),
        ("client credentials", "signing, bare", f"≥ {TOKENS_PER_S:,.0f}/s"),
        ("refresh", "signing, bare", f"≥ {TOKENS_PER_S:,.0f}/s"),
        ("script, bare", "script, bare", ""),
        ("device poll", "script, bare", f"≥ {POLLS_PER_S:,.0f}/s"),
    )
    for name, floor, target in rows:
        ratio = statistics.median(
            ours / theirs
            for ours, theirs in zip(figures[f"{name} per s"], figures[f"{floor} per s"], strict=True)
        )
        table.add_row(name, of(f"{name} per s"), of(f"{name} cpu"), f"{ratio:.0%}", target)
    console.print(table)
    console.print(
        f"A token checked for the first time: {statistics.median(figures['verified cold']):.1f} µs; again: "
        f"{statistics.median(figures['verified warm']):.1f} µs (≤ {VERIFIED_US:.0f} µs)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = uvloop.run(measure(options.rounds))
    show(figures, Console())
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
