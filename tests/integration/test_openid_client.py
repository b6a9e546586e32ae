"""Auth as npm's openid-client sees it, a client that the OpenID Foundation has certified and that checks every answer."""

import asyncio
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.tokens import mint_token
from tests.support.openid_client import Refused, openid_client
from tests.support.signing_in import CALLBACK, CLIENT_SECRET, SECRET, Stand, auth_stand


@pytest.fixture
async def stand(tmp_path, database_url, redis_url, database: Database, free_port):
    issuer = f"http://127.0.0.1:{free_port}"
    served = {
        "service_port": free_port,
        "public_url": issuer,
        "auth_jwks_issuer": issuer,
        "device_poll_s": 1.0,
    }
    async with auth_stand(tmp_path, database_url, redis_url, database, **served) as stand:
        assert stand.url == issuer
        yield stand


async def came_back(stand: Stand, url: str) -> str:
    """Where Anna's browser is sent after she agreed."""
    async with stand.browser() as browser:
        await browser.sign_in("anna@tv.example")
        back = await browser.agree(urlsplit(url).query)
    return str(back.headers["Location"])


async def decide(stand: Stand, user_code: str, action: str) -> None:
    headers = {"Authorization": f"Bearer {mint_token(SECRET, str(stand.people['anna']))}"}
    body = {"user_code": user_code, "action": action}
    answer = await stand.send("POST", "/auth/device/approve", json=body, headers=headers)
    assert answer.status == 200, answer.text


async def test_code_with_id_token_then_userinfo_refresh_and_revocation(stand):
    async with openid_client(stand.url, "web") as client:
        url = await client.good("authorizationUrl", redirectUri=CALLBACK, scope="openid profile read:content")
        tokens = await client.good("code", url=await came_back(stand, url))
        subject = tokens["claims"]["sub"]
        assert subject == str(stand.people["anna"])
        who = await client.good("userinfo", token=tokens["access_token"], subject=subject)
        assert who["name"] == "Anna"
        fresh = await client.good("refresh", token=tokens["refresh_token"])
        assert fresh["refresh_token"] != tokens["refresh_token"]
        narrow = await client.good("refresh", token=fresh["refresh_token"], scope="read:content")
        assert narrow["scope"] == "read:content"
        await client.good("revoke", token=narrow["refresh_token"])
        refused = await client.call("refresh", token=narrow["refresh_token"])
        assert isinstance(refused, Refused)
        assert refused.error == "invalid_grant"
        assert not await stand.is_active(fresh["access_token"])


@pytest.mark.parametrize(
    ("name", "value"), [("iss", "http://evil.example"), ("iss", None), ("state", "another")]
)
async def test_an_answer_that_is_not_ours_is_not_taken(stand, name, value):
    async with openid_client(stand.url, "web") as client:
        url = await client.good("authorizationUrl", redirectUri=CALLBACK, scope="openid")
        back = await came_back(stand, url)
        fields = {**dict(parse_qsl(urlsplit(back).query)), name: value}
        changed = urlencode({key: text for key, text in fields.items() if text is not None})
        refused = await client.call("code", url=f"{CALLBACK}?{changed}")
        assert isinstance(refused, Refused)
        assert name in refused.message
        # Nothing was sent: the code is still good.
        assert "access_token" in await client.good("code", url=back)


async def test_an_id_token_with_another_nonce_is_not_taken(stand):
    async with openid_client(stand.url, "web") as client:
        url = await client.good("authorizationUrl", redirectUri=CALLBACK, scope="openid")
        refused = await client.call("code", url=await came_back(stand, url), expectedNonce="another")
        assert isinstance(refused, Refused)
        assert "nonce" in refused.message


async def test_client_credentials_and_introspection(stand):
    async with openid_client(stand.url, "firm", CLIENT_SECRET) as client:
        tokens = await client.good("credentials", scope="read:content")
        state = await client.good("introspect", token=tokens["access_token"])
        assert (state["active"], state["sub"]) == (True, "firm")
        assert await client.good("introspect", token="made-up") == {"active": False}
        refused = await client.call("credentials", scope="admin")
        assert isinstance(refused, Refused)
        assert refused.error == "invalid_scope"
    async with openid_client(stand.url, "firm", "wrong") as client:
        refused = await client.call("credentials", scope="read:content")
        assert isinstance(refused, Refused)
        assert refused.error in {"invalid_client", "OAUTH_WWW_AUTHENTICATE_CHALLENGE"}


async def test_a_device_waits_is_slowed_down_and_gets_its_tokens(stand):
    async with openid_client(stand.url, "tv") as client:
        codes = await client.good("device", scope="openid read:content")
        polled = [await client.call("pollOnce") for _ in range(2)]
        assert [answer.error for answer in polled] == ["authorization_pending", "slow_down"]
        # From here on it waits by itself, as long as it was told.
        waiting = asyncio.create_task(client.call("poll"))
        await decide(stand, codes["user_code"], "approve")
        tokens = await waiting
        assert not isinstance(tokens, Refused), tokens
        assert tokens["scope"] == "openid read:content"
        assert await stand.is_active(tokens["access_token"])


async def test_a_refused_device_learns_it(stand):
    async with openid_client(stand.url, "tv") as client:
        codes = await client.good("device", scope="read:content")
        waiting = asyncio.create_task(client.call("poll"))
        await decide(stand, codes["user_code"], "deny")
        refused = await waiting
        assert isinstance(refused, Refused)
        assert refused.error == "access_denied"
