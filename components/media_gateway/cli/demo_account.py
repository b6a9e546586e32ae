"""The demo user of `up`: somebody to sign in as, and a token of theirs to try things with."""

from contextlib import suppress
from dataclasses import dataclass, field

from media_gateway.auth.services.operator import add_by_operator, make_password
from media_gateway.cli.probes import ask
from media_gateway.cli.stack import Running
from media_gateway.core.adapters.embedded.state import write_private
from media_gateway.core.errors import ConflictError, MediaGatewayError

EMAIL = "demo@media-gateway.example"
"""A domain that can't exist (RFC 2606), so no mail ever goes there."""

PASSWORD_FILE = "secrets/demo-password"  # noqa: S105 - where it is kept
SIGN_IN_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """The demo user.

    Attributes
    ----------
    token : str | None
        An access token, good for an hour; None if the sign-in did not work: somebody gave the account another password.
    """

    password: str = field(repr=False)
    token: str | None = field(repr=False)


async def demo_account(run: Running) -> DemoAccount:
    """Make the demo user at the first start, and sign in.

    Raises
    ------
    UnavailableError
        The database can't be reached.
    """
    file = run.settings.state_path / PASSWORD_FILE
    write_private(file, make_password(), only_if_absent=True)
    password = file.read_text(encoding="utf-8").strip()
    with suppress(ConflictError):
        await add_by_operator(run.backends.database, EMAIL, password, roles=("user",), tier="pro")
    token = None
    with suppress(MediaGatewayError):
        _, answer = await ask(
            f"{run.urls['auth']}/api/v1/auth/login",
            json={"email": EMAIL, "password": password},
            timeout_s=SIGN_IN_TIMEOUT_S,
        )
        token = answer.get("access_token")
    return DemoAccount(password, token)
