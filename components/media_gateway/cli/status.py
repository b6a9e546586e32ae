"""``media-gateway status``: the health of what runs on this machine, in a table."""

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from media_gateway.cli.components import COMPONENTS, load_component
from media_gateway.cli.environment import StateDir, running_up, use_state_folder
from media_gateway.cli.probes import ask
from media_gateway.core.errors import UnavailableError

COLOURS = {"healthy": "green", "degraded": "yellow"}


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print the reports as JSON.")] = False,
    port_offset: Annotated[
        int, typer.Option(help="As given to `up`; needed only where no `up` of this state folder runs.")
    ] = 0,
    state_dir: StateDir = None,
) -> None:
    """Show the health of what runs on this machine.

    Asks every component for its /health. Exit codes: 0 all answer requests (degraded ones too), 1 some do not.
    """
    settings = use_state_folder(state_dir)
    record = running_up(settings)
    urls = (record and record["urls"]) or _expected(port_offset)
    reports = asyncio.run(_ask_all(urls))
    if as_json:
        print(json.dumps(reports, indent=2))
    else:
        _print(reports, urls)
        if not record:
            Console(stderr=True).print(
                f"No `media-gateway up` runs on {settings.state_path}.", soft_wrap=True
            )
    raise typer.Exit(0 if all(str(report["status"]) in COLOURS for report in reports.values()) else 1)


def _expected(port_offset: int) -> dict[str, str]:
    return {name: f"http://127.0.0.1:{load_component(name).port + port_offset}" for name in COMPONENTS}


async def _ask_all(urls: dict[str, str]) -> dict[str, dict[str, Any]]:
    reports = await asyncio.gather(*(_ask(url) for url in urls.values()))
    return dict(zip(urls, reports, strict=True))


async def _ask(url: str) -> dict[str, Any]:
    try:
        _, report = await ask(f"{url}/health")
    except UnavailableError as error:
        return {"status": "unreachable", "message": error.message}
    return (
        report if "status" in report else {"status": "unreachable", "message": "something else answers there"}
    )


def _print(reports: dict[str, dict[str, Any]], urls: dict[str, str]) -> None:
    table = Table("component", "address", "status", "what is not well")
    for name, report in reports.items():
        parts = [part for part in report.get("components", []) if part["status"] != "healthy"]
        problems = [f"{part['name']}: {part['message']}" for part in parts] or [report.get("message") or ""]
        status = Text(report["status"], style=COLOURS.get(report["status"], "red"))
        table.add_row(name, urls[name], status, Text("\n".join(problems)))
    Console().print(table)
