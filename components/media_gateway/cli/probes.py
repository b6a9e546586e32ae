"""Asking the services of this machine over HTTP: `status` for their health, `up` whether they answer yet."""

from typing import Any

import aiohttp
import orjson

from media_gateway.core.errors import UnavailableError

TIMEOUT_S = 5.0
"""Above the two seconds after which a health report gives up on a part."""


async def ask(
    url: str, *, json: object | None = None, timeout_s: float = TIMEOUT_S
) -> tuple[int, dict[str, Any]]:
    """Status and JSON object of an answer; a POST if there is a body. An answer that is no JSON object gives an empty one.

    Raises
    ------
    UnavailableError
        Nothing answers there in time.
    """
    method = "GET" if json is None else "POST"
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, json=json) as response,
        ):
            body = await response.read()
            return response.status, _object(body)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnavailableError(f"nothing answers at {url}") from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
