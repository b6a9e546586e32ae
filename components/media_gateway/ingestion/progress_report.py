"""Tells the operator how a job's run gets on, over HTTP, while the run works and once at its end.

Used by `job`. A report is a convenience: one that can't be sent is dropped, the next one says the same and more, and the
run never waits for it; only its end does, for the report under way, two seconds at most. Not `core.http_client`: its retries and its breaker are for calls whose answer is needed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin

import aiohttp
import orjson
import structlog

from media_gateway.ingestion.runs import Counts, Run, RunState
from media_gateway.ingestion.services.meter import Progress
from media_gateway.ingestion.settings import Settings

EVERY_S = 2.0
"""Time between two reports; the operator writes one into the status every ten seconds at most."""

TRY_TIMEOUT_S = 2.0

FINAL_TRIES = 3
"""Of the last report, which no later one makes up for."""

RETRY_PAUSE_S = 0.5

MAX_HOPS = 3
"""A replica that does not lead sends on to the one that does (307)."""

MAX_TEXT = 1024
"""Characters of a message or cursor that the status has room for."""

_log = structlog.get_logger(__name__)


class ProgressReporter:
    """Sends reports; does nothing where no address is set.

    Parameters
    ----------
    url
        Where to; None sends nothing.
    token_file
        File with the bearer token. Read for each report: the kubelet renews it.
    """

    def __init__(self, url: str | None, token_file: Path | None, *, every_s: float = EVERY_S) -> None:
        self._url = url
        self._token_file = token_file
        self._every_s = every_s
        self._last: dict[str, Any] = _body("Running", Counts())
        self._failing = False
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """As the operator has set it up."""
        return cls(settings.progress_url, settings.progress_token_file)

    def progress(self, progress: Progress) -> None:
        """Note how the run stands, to be sent with the next report."""
        self._last = _body(
            "Running",
            progress.counts,
            percent=progress.percent,
            ratePerSecond=progress.rate_per_second,
            estimatedRemainingSeconds=progress.remaining_s,
            cursor=_cut(progress.cursor),
            waitingFor=_cut(progress.waiting_for),
        )

    def say(self, message: str) -> None:
        """Note what is going on after the source was read, to be sent with the next report."""
        self._last = {
            **self._last, "message": _cut(message), "waitingFor": None,
            "ratePerSecond": None, "estimatedRemainingSeconds": None,
        }  # fmt: skip

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Report every now and then while the block runs."""
        if self._url is None:
            yield
            return
        self._task = asyncio.create_task(self._report(), name="progress reports")
        try:
            yield
        finally:
            await self._stop()

    async def end(self, run: Run) -> None:
        """Send the last report: how the run ended, or where it was stopped."""
        await self._send_last(
            _body(
                run.state.value,
                run.counts,
                percent=100.0 if run.state is RunState.COMPLETE else run.percent,
                cursor=_cut(run.cursor),
                message=_cut(run.message),
                final=True,
            )
        )

    async def fail(self, message: str, *, retryable: bool) -> None:
        """Send the last report of a process that did not get as far as a run, or lost it."""
        state = "Suspended" if retryable else "Failed"
        await self._send_last({**self._last, "state": state, "message": _cut(message), "final": True})

    async def _stop(self) -> None:
        # Not cancelled: what is on its way can't be called back, and must not arrive after the last report.
        self._ended.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _send_last(self, body: dict[str, Any]) -> None:
        await self._stop()
        for number in range(FINAL_TRIES if self._url else 0):
            if number:
                await asyncio.sleep(RETRY_PAUSE_S)
            if await self._send(body):
                return

    async def _report(self) -> None:
        while not self._ended.is_set():
            await self._send(self._last)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), self._every_s)

    async def _send(self, body: dict[str, Any]) -> bool:
        """Whether the report has arrived."""
        try:
            async with asyncio.timeout(TRY_TIMEOUT_S):
                problem = await self._post(orjson.dumps(body))
        except TimeoutError:
            problem = f"no answer within {TRY_TIMEOUT_S:.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
        if problem is None:
            self._failing = False
        elif not self._failing:
            self._failing = True
            _log.warning("progress can't be reported to the operator; the run goes on", problem=problem)
        return problem is None

    async def _post(self, body: bytes) -> str | None:
        """What is wrong, if anything."""
        headers = {"Content-Type": "application/json"}
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {self._token_file.read_text(encoding='utf-8').strip()}"
        url = self._url or ""
        async with aiohttp.ClientSession() as session:
            for _ in range(MAX_HOPS):
                # By hand: the library would leave the token out on the way to another address.
                async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                    if answer.status not in {307, 308}:
                        return None if answer.status < 300 else f"the operator answers {answer.status}"
                    url = urljoin(url, answer.headers.get("Location", ""))
        return "the operator sends from one address to another"


def _body(state: str, counts: Counts, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(
        ("percent", "ratePerSecond", "estimatedRemainingSeconds", "cursor", "message", "waitingFor")
    )
    numbers = {name: getattr(counts, name) for name in ("read", "written", "skipped", "failed")}
    return {"state": state, **numbers, **empty, "final": False, **more}


def _cut(text: str | None) -> str | None:
    return text[:MAX_TEXT] if text else None
