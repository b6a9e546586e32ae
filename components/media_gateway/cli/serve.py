"""``media-gateway serve``: one service in this process, as a container runs it."""

import os
from typing import Annotated

import typer

from media_gateway.cli.components import COMPONENTS, load_component, unread_variables
from media_gateway.cli.environment import StateDir, use_state_folder
from media_gateway.core.settings import PREFIX
from media_gateway.core.web import run_component


def command(
    component: Annotated[str, typer.Argument(help=f"Which one: {', '.join(COMPONENTS)}.")],
    port: Annotated[
        int | None,
        typer.Option(
            help="Port to listen on instead of the component's own.", min=0, max=65_535, show_default=False
        ),
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Run one service, configured by MEDIA_GATEWAY_* variables.

    SIGTERM drains it: readiness goes off, requests in flight are finished, then it ends with status 0. A wrong setting
    ends it with status 78. With `embedded:` servers it joins those of the state folder, or starts them.

    Example: MEDIA_GATEWAY_DATABASE_URL=postgresql://… MEDIA_GATEWAY_REDIS_URL=redis://… media-gateway serve discovery
    """
    loaded = load_component(component)
    if port is not None:
        os.environ[f"{PREFIX}SERVICE_PORT"] = str(port)
    use_state_folder(state_dir)
    run_component(loaded, unread=unread_variables())
