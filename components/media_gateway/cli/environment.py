"""What makes the commands of one machine agree: the state folder, and the secrets and addresses in it.

`up` writes them; `token`, `ingest run`, `status`, `serve` and the rest find them by ``--state-dir`` or
``MEDIA_GATEWAY_STATE_DIR``.
"""

import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from media_gateway.core.adapters.embedded.state import StateFolder, read_json
from media_gateway.core.settings import PREFIX, CoreSettings, load_settings

StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        help="Folder for everything kept on this machine. Default: MEDIA_GATEWAY_STATE_DIR, else "
        "~/.local/state/media-gateway.",
        file_okay=False,
    ),
]

RUNNING_FILE = "up.json"
"""In the state folder's ``run/``: where a running `up` serves what."""


def use_state_folder(state_dir: Path | None) -> CoreSettings:
    """Make this process, and those it starts, use a state folder; gives the settings as they are now.

    With ``embedded:`` servers and no other way to check tokens, the folder's generated secret becomes
    ``MEDIA_GATEWAY_AUTH_SECRET``; an installation with servers of its own never gets a generated one.

    Raises
    ------
    NotConfiguredError
        A setting is wrong, or the folder can't be used.
    """
    _speak_on_standard_error()
    choose_state_folder(state_dir)
    settings = load_settings(CoreSettings)
    if is_embedded(settings) and settings.auth_secret is None and settings.auth_jwks_url is None:
        os.environ[f"{PREFIX}AUTH_SECRET"] = StateFolder(settings.state_path).secret("auth")
        settings = load_settings(CoreSettings)
    return settings


def choose_state_folder(state_dir: Path | None) -> None:
    """Make this process, and those it starts, read their settings with a state folder; does nothing for None."""
    if state_dir is not None:
        os.environ[f"{PREFIX}STATE_DIR"] = str(state_dir.expanduser().absolute())


def state_option(settings: CoreSettings) -> str:
    """What to add to a suggested command, so that it finds the same state folder; nothing for the usual one."""
    usual = Path(CoreSettings.model_fields["state_dir"].default).expanduser()
    path = settings.state_path
    return "" if path == usual else f" --state-dir {shlex.quote(str(path))}"


def _speak_on_standard_error() -> None:
    """Warnings only, and never among a command's results; a serving command configures its own logging afterwards."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def is_embedded(settings: CoreSettings) -> bool:
    """Whether the database is the private one of the state folder."""
    return settings.database_url.get_secret_value().startswith("embedded:")


def running_up(settings: CoreSettings) -> dict[str, Any] | None:
    """What `up` wrote about itself if it runs on this state folder: ``pid``, ``urls`` (none while it starts), ``metrics_url``."""
    from media_gateway.core.adapters.embedded.child import Identity

    record = read_json(settings.state_path / "run" / RUNNING_FILE)
    if record is None:
        return None
    alive = Identity(int(record["pid"]), float(record["started_s"])).process()
    return record if alive is not None else None
