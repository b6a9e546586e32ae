"""``media-gateway users``: accounts made by an operator."""

import asyncio
import sys
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer
from pydantic import SecretStr

from media_gateway.auth.emails import is_email
from media_gateway.auth.services.operator import add_by_operator, make_password
from media_gateway.auth.settings import Settings
from media_gateway.cli.environment import StateDir, is_embedded, use_state_folder
from media_gateway.core import migrations
from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.bootstrap import open_backends
from media_gateway.core.errors import InvalidInputError
from media_gateway.core.settings import load_settings
from media_gateway.core.web import event_loop_factory

app = typer.Typer(name="users", help="Make accounts.", no_args_is_help=True)


class Role(StrEnum):
    """What a person may be."""

    USER = "user"
    PREMIUM = "premium"
    ADMIN = "admin"


class Tier(StrEnum):
    """Subscription tiers."""

    FREE = "free"
    PRO = "pro"
    ENTERPRISE = "enterprise"


@app.callback()
def _group() -> None:
    """Make accounts."""


@app.command()
def add(
    email: Annotated[
        str, typer.Argument(help="Address of the account; it counts as confirmed.", show_default=False)
    ],
    role: Annotated[
        list[Role] | None, typer.Option(help="A role; repeat for more.", show_default="user")
    ] = None,
    tier: Annotated[Tier, typer.Option(help="Subscription tier.")] = Tier.FREE,
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin", help="Read the password from standard input instead of making one up."
        ),
    ] = False,
    state_dir: StateDir = None,
) -> None:
    """Make an account. Without --password-stdin its password is made up and printed, this once.

    Example: media-gateway users add ops@media.example --role admin
    """
    if not is_email(email):
        raise InvalidInputError("EMAIL must be an e-mail address, such as ann@tv.example")
    use_state_folder(state_dir)
    settings = load_settings(Settings)
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else make_password()
    roles = tuple(dict.fromkeys(["user", *(role or ())]))
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        user_id = runner.run(_add(settings, email, password, roles, tier))
    print(f"account {user_id} {email} ({', '.join(roles)}; {tier})")
    if not password_stdin:
        print(f"password: {password}")


async def _add(settings: Settings, email: str, password: str, roles: tuple[str, ...], tier: str) -> UUID:
    async with AsyncExitStack() as stack:
        if is_embedded(settings):
            url = await stack.enter_async_context(EmbeddedPostgres(settings.state_path))
            await migrations.migrate(url)
            settings = settings.model_copy(update={"database_url": SecretStr(url)})
        else:
            await migrations.demand(settings.database_url.get_secret_value())
        backends = await stack.enter_async_context(open_backends(settings, frozenset({"database"})))
        return await add_by_operator(backends.database, email, password, roles=roles, tier=tier)
