"""WebSockets through the gateway: two connections, each message passed to the other side. Called by the routes."""

import asyncio
from contextlib import suppress
from typing import Final

import aiohttp
from aiohttp import WSMsgType, hdrs, web
from yarl import URL

from media_gateway.core.errors import UnavailableError
from media_gateway.core.network import why_unreachable
from media_gateway.gateway.headers import to_service

MESSAGE_BYTES: Final = 1 << 20
"""Largest message, in bytes."""

HEARTBEAT_S: Final = 30.0
"""A side that does not answer a ping within half of this is gone."""

CONNECT_S: Final = 5.0

_HANDSHAKE: Final = frozenset(
    {"sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol"}
)


async def relay_socket(
    request: web.Request, session: aiohttp.ClientSession, url: URL, own: dict[str, str]
) -> web.WebSocketResponse:
    """Connect a caller to a service until either side ends.

    Parameters
    ----------
    own
        Headers the gateway adds.

    Raises
    ------
    UnavailableError
        The service can't be reached or takes no sockets; the caller's connection is no socket yet.
    """
    offered = [name.strip() for name in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")]
    headers = to_service(
        ((name, value) for name, value in request.headers.items() if name.lower() not in _HANDSHAKE), own
    )
    try:
        async with asyncio.timeout(CONNECT_S):
            service = await session.ws_connect(
                url, headers=headers, protocols=[name for name in offered if name], max_msg_size=MESSAGE_BYTES
            )
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise UnavailableError(f"the service can't be reached: {why_unreachable(error)}") from error
    async with service:
        chosen = [service.protocol] if service.protocol else []
        caller = web.WebSocketResponse(
            protocols=chosen, heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_BYTES, autoping=True
        )
        await caller.prepare(request)
        ways = {asyncio.create_task(_pass(caller, service)), asyncio.create_task(_pass(service, caller))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            with suppress(ConnectionError):
                await caller.close(code=service.close_code or aiohttp.WSCloseCode.GOING_AWAY)
        return caller


async def _pass(
    source: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
    target: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
) -> None:
    async for message in source:
        if message.type is WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await target.send_bytes(message.data)
    await target.close(code=source.close_code or aiohttp.WSCloseCode.GOING_AWAY)
