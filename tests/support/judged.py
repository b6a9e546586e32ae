"""Judged queries and their outcomes made by hand, and a search that answers as a test tells it to."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import web

from media_gateway.cli.evaluation.asking import Outcome, Target
from media_gateway.cli.evaluation.matching import Relevant
from media_gateway.cli.evaluation.pairs import JudgedQuery, Pairs


def query(line: int, kind: str = "exact") -> JudgedQuery:
    return JudgedQuery(line, f"query {line}", kind, (Relevant(None, f"Film {line}", None),))


def pairs(*queries: JudgedQuery) -> Pairs:
    return Pairs(Path("made.jsonl"), "0" * 64, queries)


def outcome(
    asked: JudgedQuery, variant: str | None = None, latency_ms: float = 5.0, **values: float
) -> Outcome:
    """An outcome; measures by name with ``_`` for ``@``."""
    measures = {name.replace("_", "@"): value for name, value in values.items()}
    return Outcome(
        query=asked, variant=variant, measures=measures, first_right=1, top=(), latency_ms=latency_ms
    )


def target(*variants: str | None) -> Target:
    return Target(variants=variants or (None,))


def write_lines(path: Path, *lines: Any) -> Path:
    """A file of judged queries: objects as JSON, texts as they are."""
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def judged(text: str, title: str, kind: str = "exact", **more: Any) -> dict[str, Any]:
    """A line with one right answer."""
    return {"query": text, "class": kind, "relevant": [{"title": title}], **more}


def answer_of(*titles: str, **more: Any) -> dict[str, Any]:
    """An answer as a search gives it."""
    results = [{"content": {"id": str(uuid4()), "title": title, "release_year": 1999}} for title in titles]
    return {"results": results, "degraded": False, **more}


Answers = Callable[[dict[str, Any], web.Request], Any]


@asynccontextmanager
async def told_search(answers: Answers) -> AsyncIterator[str]:
    """The address of a search that answers what the function gives: an object, a response, or a coroutine of one."""

    async def search(request: web.Request) -> web.StreamResponse:
        given = answers(await request.json(), request)
        if asyncio.iscoroutine(given):
            given = await given
        return given if isinstance(given, web.StreamResponse) else web.json_response(given)

    app = web.Application()
    app.router.add_post("/api/v1/search", search)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
