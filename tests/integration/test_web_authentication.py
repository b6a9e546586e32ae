"""Authentication of the web kit through a listening server."""

import aiohttp
import jwt

from media_gateway.core.tokens import mint_token
from tests.support.echo_component import SECRET
from tests.support.web_session import THING, problem, running, server, session

__all__ = ["running", "server", "session"]


async def test_who_calls_is_known_when_a_token_comes(session: aiohttp.ClientSession):
    token = mint_token(SECRET, "user-1")
    assert await (await session.get("/api/v1/who")).json() == {"subject": None}
    answer = await session.get("/api/v1/who", headers={"Authorization": f"bearer {token}"})
    assert await answer.json() == {"subject": "user-1"}


def bad_authorizations() -> list[str]:
    good = mint_token(SECRET, "user-1")
    return [
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        f"Bearer {good} {good}",
        f"Basic {good}",
        good,
        f"Bearer {good[:-2]}",
        f"Bearer {mint_token('another secret of thirty-two bytes or more', 'user-1')}",
        f"Bearer {mint_token(SECRET, 'user-1', ttl_s=-3600)}",
        f"Bearer {mint_token(SECRET, 'user-1', audience='else')}",
        f"Bearer {jwt.encode({'sub': 'user-1'}, '', algorithm='none', headers={'typ': 'at+jwt'})}",
        "Bearer " + "x" * 7000,
    ]


async def test_a_bad_token_is_401_even_where_none_is_needed(session: aiohttp.ClientSession):
    for offered in bad_authorizations():
        for path in ("/api/v1/who", "/api/v1/me"):
            answer = await session.get(path, headers={"Authorization": offered})
            await problem(answer, 401)
            assert (
                answer.headers["WWW-Authenticate"] == 'Bearer realm="media-gateway", error="invalid_token"'
            ), offered


async def test_two_authorization_headers_are_401(session: aiohttp.ClientSession):
    good = ("Authorization", f"Bearer {mint_token(SECRET, 'user-1')}")
    await problem(await session.get("/api/v1/who", headers=[good, good]), 401)


async def test_a_missing_token_is_401_without_an_error_code_and_a_missing_scope_403(
    session: aiohttp.ClientSession,
):
    answer = await session.get("/api/v1/me")
    await problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="media-gateway"'
    headers = {"Authorization": f"Bearer {mint_token(SECRET, 'user-1', scopes=frozenset({'read'}))}"}
    assert (await problem(await session.delete(THING, headers=headers), 403))["needed_scope"] == "admin"
    headers = {"Authorization": f"Bearer {mint_token(SECRET, 'user-1', scopes=frozenset({'admin'}))}"}
    await problem(await session.delete(THING, headers=headers), 404)
