"""Platforms that a request names, held against those that offer anything. Called by the services."""

from collections.abc import Mapping

from media_gateway.core.errors import FieldError, InvalidInputError
from media_gateway.discovery.text_index import TextIndex


def check_platforms(asked: Mapping[str, str], index: TextIndex) -> None:
    """Return if each platform offers something now.

    Parameters
    ----------
    asked
        Platforms by the field that names each.
    index
        Of the whole catalogue.

    Raises
    ------
    InvalidInputError
        One does not; its field is named, with the platforms that do.
    """
    known = index.values("platform") if asked else {}
    unknown = [
        FieldError(field, f"nothing is offered by it; known: {', '.join(sorted(known))}")
        for field, platform in asked.items()
        if platform not in known
    ]
    if unknown:
        raise InvalidInputError(f"{unknown[0].field}: {unknown[0].message}", errors=unknown)
