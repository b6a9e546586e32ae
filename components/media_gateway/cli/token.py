"""``media-gateway token``: an access token for trying things out."""

from typing import Annotated, Any

import typer

from media_gateway.cli.environment import StateDir, use_state_folder
from media_gateway.core.domain.content import Genre, MaturityRating
from media_gateway.core.errors import InvalidInputError, NotConfiguredError
from media_gateway.core.tokens import GENRES_CLAIM, RATING_CLAIM, mint_token

DEVELOPMENT_SCOPES = ("account", "admin", "ingestion:write", "openid")
"""Every scope that a route of this distribution asks for: on his own machine a developer may do everything."""


LIMITS = tuple(rating for rating in MaturityRating if rating is not MaturityRating.NR)
"""Ratings that say something about an age."""


def command(  # noqa: PLR0913, PLR0917 - one parameter an option
    subject: Annotated[str, typer.Option(help="Who the token speaks for (`sub`).")] = "developer",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="A scope the token allows; repeat for more.", show_default="all there are"),
    ] = None,
    role: Annotated[
        list[str] | None, typer.Option(help="A role of the subject; repeat for more.", show_default=False)
    ] = None,
    tier: Annotated[str, typer.Option(help="Subscription tier.")] = "free",
    content_rating_limit: Annotated[
        str | None,
        typer.Option(help="Strongest rating the profile may see, such as PG-13.", show_default="no limit"),
    ] = None,
    blocked_genre: Annotated[
        list[str] | None,
        typer.Option(help="A genre the profile may not see; repeat for more.", show_default=False),
    ] = None,
    ttl: Annotated[int, typer.Option(help="Seconds until it expires.", min=1, max=31_536_000)] = 3_600,
    state_dir: StateDir = None,
) -> None:
    """Print an access token for development.

    It is signed with the state folder's generated secret, or with MEDIA_GATEWAY_AUTH_SECRET where that is set, so the
    services of this machine take it and no others do.

    Example: curl -H "Authorization: Bearer $(media-gateway token)" http://127.0.0.1:8085/api/v1/ingestion/jobs
    """
    if not 0 < len(subject) <= 255:
        raise InvalidInputError("--subject must have 1 to 255 characters")
    settings = use_state_folder(state_dir)
    if settings.auth_secret is None:
        raise NotConfiguredError(
            "MEDIA_GATEWAY_AUTH_SECRET: not set, so there is nothing to sign with (tokens are checked by "
            "MEDIA_GATEWAY_AUTH_JWKS_URL, or not at all); example: the output of `openssl rand -hex 32`"
        )
    print(
        mint_token(
            settings.auth_secret.get_secret_value(),
            subject,
            scopes=frozenset(DEVELOPMENT_SCOPES if scope is None else scope),
            roles=frozenset(role or ()),
            tier=tier,
            ttl_s=ttl,
            issuer=settings.auth_issuer,
            audience=settings.auth_audience,
            more=_limits(content_rating_limit, blocked_genre or []),
        )
    )


def _limits(rating: str | None, genres: list[str]) -> dict[str, Any]:
    """The claims of a profile's parental limits."""
    if rating is not None and rating not in LIMITS:
        raise InvalidInputError(f"--content-rating-limit: {rating!r} is none of {', '.join(LIMITS)}")
    if wrong := set(genres).difference(Genre):
        raise InvalidInputError(f"--blocked-genre: {min(wrong)!r} is none of {', '.join(Genre)}")
    return ({} if rating is None else {RATING_CLAIM: rating}) | ({GENRES_CLAIM: genres} if genres else {})
