"""From a public address to that of a service. Pure."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from yarl import URL

from media_gateway.core.web.problems import invalid
from media_gateway.gateway.table import Forward

_AMBIGUOUS: Final = re.compile(r"%(?:2f|5c|2e)|\\|//|/\.{1,2}(?:/|$)", re.IGNORECASE)
"""What two servers may read differently: an encoded slash, dot or backslash, an empty segment, a step upwards."""


def check_path(raw_path: str) -> None:
    """Refuse a path that a service might take for another one than the gateway did.

    Raises
    ------
    InvalidInputError
        Names the path.
    """
    if _AMBIGUOUS.search(raw_path):
        raise invalid("path", "encoded slashes and dots, empty segments and . or .. are not allowed")


def service_url(
    base: str, forward: Forward, raw_path: str, raw_query: str, variables: Mapping[str, str]
) -> URL:
    """Where a request goes.

    Parameters
    ----------
    raw_path, raw_query
        As they came, still encoded.
    variables
        Of the path, decoded.
    """
    path = raw_path
    if forward.target is not None:
        quoted = {name: quote(value, safe="/:@!$&'()*+,;=~") for name, value in variables.items()}
        path = forward.target.format_map(quoted)
    # A parameter of the alias comes first and is not to be given again by the caller, whom the service would refuse.
    query = "&".join(filter(None, (forward.query, raw_query)))
    return URL(f"{base}{path}?{query}" if query else f"{base}{path}", encoded=True)
