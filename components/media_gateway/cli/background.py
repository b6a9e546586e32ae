"""What `up` does once the services run: load the demo catalogue, build the model, follow the vectors."""

import asyncio
from functools import partial

import structlog

from media_gateway.cli.environment import state_option
from media_gateway.cli.progress import Step, Steps
from media_gateway.cli.stack import Running
from media_gateway.core.adapters.minilm.background import build_in_subprocess
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import MediaGatewayError
from media_gateway.ingestion.demo import run_demo
from media_gateway.ingestion.services.meter import Progress
from media_gateway.ingestion.store_vectors import VectorStateStore

POLL_S = 0.5

log = structlog.get_logger(__name__)


async def make_vectors(running: Running, steps: Steps, *, loaded: asyncio.Event) -> None:
    """Once the catalogue is loaded, build the embedding model unless it is there and show how the vectors come in.

    Search works meanwhile, by text. Without the model it stays so: that is a warning, not a failure.
    """
    # Embedding takes all processors; the first search must not wait for it.
    await loaded.wait()
    settings = running.settings
    if settings.embedder_url.get_secret_value().startswith("minilm:"):
        try:
            with steps.step("Embedding model") as step:
                await build_in_subprocess(
                    settings.models_path, lambda doing, share: step.say(doing, share=share)
                )
                step.say("ready")
        except MediaGatewayError as error:
            steps.line(
                f"Search stays text-only and its answers say `degraded`: {error.message}. "
                f"Try again with: media-gateway models build{state_option(settings)}",
                style="yellow",
            )
            return
    if "ingestion" in running.urls:
        await _follow_vectors(running.backends.database, steps)


async def _follow_vectors(database: Database, steps: Steps) -> None:
    with steps.step("Vectors") as step:
        waiting, most = VectorStateStore(database), 0
        while True:
            try:
                left = await waiting.backlog()
            except MediaGatewayError as error:
                step.say(f"waiting: {error.message}")
                await asyncio.sleep(POLL_S)
                continue
            most = max(most, left)
            if left == 0:
                break
            step.say(f"{most - left:,} of {most:,}", share=(most - left) / most)
            await asyncio.sleep(POLL_S)
        step.say(f"{most:,} made" if most else "up to date")


async def load_demo(running: Running, steps: Steps) -> bool:
    """Load the demo catalogue unless it is loaded, by the same job that ``media-gateway ingest run`` would run.

    Returns
    -------
    bool
        Whether all of it is there. A package index out of reach is a warning: everything else works, and the next start
        tries again.
    """
    try:
        with steps.step("Demo catalogue") as step:
            run = await run_demo(running.backends, partial(_show, step))
            step.say(f"{run.counts.read:,} films")
    except MediaGatewayError as error:
        steps.line(f"The demo catalogue is not (wholly) loaded: {error.message}", style="yellow")
        return False
    return True


def _show(step: Step, progress: Progress) -> None:
    if progress.waiting_for is not None:
        step.say(f"waiting: {progress.waiting_for}")
        return
    rate = f", {progress.rate_per_second:,.0f} a second" if progress.rate_per_second else ""
    share = None if progress.percent is None else progress.percent / 100
    step.say(f"{progress.counts.read:,} films{rate}", share=share)
