"""``media-gateway keys``: the keys that sign tokens."""

import stat
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from media_gateway.core.errors import NotConfiguredError

app = typer.Typer(no_args_is_help=True)


class KeyAlgorithm(StrEnum):
    """What a key signs with."""

    RS256 = "RS256"
    """RSA with SHA-256: every client knows it."""
    EDDSA = "EdDSA"
    """Ed25519: a tenth of the work, shorter tokens."""


@app.callback()
def about() -> None:
    """The keys that sign tokens."""


@app.command("rotate")
def rotate_keys(
    file: Annotated[Path, typer.Argument(help="The file, or where to make one.", dir_okay=False)],
    algorithm: Annotated[
        KeyAlgorithm, typer.Option(help="RS256 is known to every client, EdDSA is faster.")
    ] = KeyAlgorithm.RS256,
    retired_after: Annotated[
        int, typer.Option(help="Longest life of an access token, in seconds.", min=60)
    ] = 86_400,
) -> None:
    """Add a new signing key to a file, and drop those whose tokens have all expired.

    The new key is published at once and signs ten minutes later, when every service knows it. Services that read the file
    (MEDIA_GATEWAY_SIGNING_KEYS_PATH) notice the change within seconds.

    Example: media-gateway keys rotate signing-keys.json
    """
    from media_gateway.auth.keys import rotate

    if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
        typer.echo(f"{file} could be read by others; it is written anew with mode 0600", err=True)
    try:
        name = rotate(file, algorithm.value, retired_after_s=retired_after)
    except OSError as error:
        raise NotConfiguredError(f"{file} can't be written: {error.strerror}") from error
    typer.echo(name)
