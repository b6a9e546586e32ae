"""What the profile of a caller allows. It comes with the access token, so that no request can widen it."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from media_gateway.core.domain.content import Genre
from media_gateway.core.errors import UnauthenticatedError
from media_gateway.core.tokens import GENRES_CLAIM, RATING_CLAIM
from media_gateway.core.web import CALLER
from media_gateway.discovery.filters import MATURITY_LEVELS, ParentalLimits

_GENRES = frozenset(Genre)


def limits_of(request: web.Request) -> ParentalLimits:
    """The parental limits of who sends a request; none without a token.

    Raises
    ------
    UnauthenticatedError
        The token has limits that mean nothing: better no answer than one that ignores them.
    """
    caller = request.get(CALLER)
    return ParentalLimits() if caller is None else limits_from(caller.claims)


def limits_from(claims: Mapping[str, Any]) -> ParentalLimits:
    """The parental limits among verified claims.

    Raises
    ------
    UnauthenticatedError
        As `limits_of`.
    """
    rating, genres = claims.get(RATING_CLAIM), claims.get(GENRES_CLAIM, [])
    if rating is not None and (not isinstance(rating, str) or rating not in MATURITY_LEVELS):
        raise UnauthenticatedError(f"the token's {RATING_CLAIM} is not valid")
    if not isinstance(genres, list) or not all(
        isinstance(genre, str) and genre in _GENRES for genre in genres
    ):
        raise UnauthenticatedError(f"the token's {GENRES_CLAIM} are not valid")
    return ParentalLimits(
        maturity_level=None if rating is None else MATURITY_LEVELS[rating], blocked_genres=tuple(genres)
    )
