"""The `media-gateway` command. Each subcommand lives in its own module, imported only when it is the one called.

So ``--help`` and shell completion of names stay fast although some commands bring servers and models along.
"""

import importlib
import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from media_gateway import __version__


@dataclass(frozen=True, slots=True)
class Entry:
    """A subcommand: where it is (``module:attribute``, a function or a Typer app), and its line in the list."""

    target: str
    summary: str


COMMANDS = {
    "up": Entry(
        "media_gateway.cli.up:command", "Start everything on this machine: servers, demo catalogue, services."
    ),
    "status": Entry("media_gateway.cli.status:command", "Show the health of what runs on this machine."),
    "token": Entry("media_gateway.cli.token:command", "Print an access token for development."),
    "keys": Entry("media_gateway.cli.keys:app", "Make and rotate the keys that sign tokens."),
    "users": Entry("media_gateway.cli.users:app", "Make accounts, the first admin's among them."),
    "doctor": Entry(
        "media_gateway.cli.doctor:command", "Check this machine and say what to do about problems."
    ),
    "serve": Entry(
        "media_gateway.cli.serve:command", "Run one service, configured by MEDIA_GATEWAY_* variables."
    ),
    "migrate": Entry("media_gateway.cli.migrate:command", "Bring the database schema to this release."),
    "ingest": Entry("media_gateway.cli.ingest:app", "Read catalogues from sources."),
    "eval": Entry("media_gateway.cli.eval:app", "Measure how good answers are."),
    "models": Entry("media_gateway.cli.models:app", "Build and list the models this machine runs."),
}

EPILOG = """First time here? Run `media-gateway up` and try the three commands it prints."""


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Many streaming catalogues behind one API: ingested, merged, searchable."""


def build(arguments: list[str]) -> typer.Typer:
    """The command tree. Only the subcommand that the arguments name is real; the others stand in the list."""
    app = typer.Typer(
        no_args_is_help=True,
        epilog=EPILOG,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, entry in COMMANDS.items():
        if name == called:
            module, _, attribute = entry.target.partition(":")
            target = getattr(importlib.import_module(module), attribute)
            if isinstance(target, typer.Typer):
                app.add_typer(target, name=name, help=entry.summary)
            else:
                app.command(name)(target)
        else:
            app.command(name, help=entry.summary)(_only_listed)
    return app


def _only_listed() -> None:
    raise AssertionError("the subcommand that is called is imported before it runs")


def main() -> None:
    """Entry point: an error is one line and an exit status, a traceback only with ``--debug``."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments[: _first_word(arguments)]
    try:
        build(arguments)(args=arguments, prog_name="media-gateway")
    except Exception as error:
        if debug:
            raise
        _explain(error)
    except KeyboardInterrupt:
        from media_gateway.cli.console import EXIT_INTERRUPTED

        raise SystemExit(EXIT_INTERRUPTED) from None


def _first_word(arguments: list[str]) -> int:
    return next((i for i, argument in enumerate(arguments) if not argument.startswith("-")), len(arguments))


def _explain(error: Exception) -> None:
    from media_gateway.cli.console import EXIT_SOFTWARE, fail
    from media_gateway.core.errors import MediaGatewayError

    if isinstance(error, MediaGatewayError):
        fail(error)
    sys.stderr.write(
        f"internal error: {type(error).__name__}: {error}\nmedia-gateway --debug … shows where it comes from\n"
    )
    raise SystemExit(EXIT_SOFTWARE)
