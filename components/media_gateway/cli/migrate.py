"""``media-gateway migrate``: the schema to the newest revision, or to a named one."""

import asyncio
from typing import Annotated

import typer

from media_gateway.cli.environment import StateDir, is_embedded, use_state_folder
from media_gateway.core import migrations
from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.settings import CoreSettings


def command(
    revision: Annotated[str, typer.Option(help="Number of a migration, or head for the newest.")] = "head",
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 if migrations are due.")
    ] = False,
    state_dir: StateDir = None,
) -> None:
    """Bring the database schema to this release.

    Safe to run from many places at once and again and again. `media-gateway up` does it by itself; in a cluster it runs
    before the services of a release start. Services of the release before go on working on the newer schema.
    """
    migrations.check_revision(revision)
    before, after = asyncio.run(_migrate(use_state_folder(state_dir), revision, change=not check))
    if check:
        print(f"the schema is at {before or 'nothing'}, this release brings {migrations.head()}")
        raise typer.Exit(0 if before == migrations.head() else 1)
    print(f"the schema is at {after}" + ("" if before == after else f" (was {before or 'empty'})"))


async def _migrate(settings: CoreSettings, revision: str, *, change: bool) -> tuple[str | None, str | None]:
    if not is_embedded(settings):
        return await _steps(settings.database_url.get_secret_value(), revision, change=change)
    async with EmbeddedPostgres(settings.state_path) as url:
        return await _steps(url, revision, change=change)


async def _steps(url: str, revision: str, *, change: bool) -> tuple[str | None, str | None]:
    before = await migrations.current(url)
    if change:
        await migrations.migrate(url, revision)
    return before, await migrations.current(url)
