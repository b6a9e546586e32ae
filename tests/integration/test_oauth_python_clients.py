"""Auth as two Python clients see it: Authlib, and oauthlib with requests-oauthlib. Both are blocking, so they run in threads."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import DeviceClient, WebApplicationClient
from oauthlib.oauth2.rfc6749.errors import CustomOAuth2Error, InvalidGrantError, OAuth2Error
from requests_oauthlib import OAuth2Session

from media_gateway.auth.clients import DEVICE_CODE
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.tokens import mint_token
from tests.support.signing_in import CALLBACK, CLIENT_SECRET, SECRET, VERIFIER, Stand, auth_stand

T = TypeVar("T")


@pytest.fixture
async def stand(tmp_path, database_url, redis_url, database: Database, free_port, monkeypatch):
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    issuer = f"http://127.0.0.1:{free_port}"
    served = {
        "service_port": free_port,
        "public_url": issuer,
        "auth_jwks_issuer": issuer,
        "device_poll_s": 0.05,
    }
    async with auth_stand(tmp_path, database_url, redis_url, database, **served) as stand:
        yield stand


async def blocking(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    return await asyncio.to_thread(lambda: call(*arguments, **options))


async def metadata(stand: Stand) -> dict[str, Any]:
    found = await blocking(requests.get, f"{stand.url}/.well-known/oauth-authorization-server", timeout=20)
    document: dict[str, Any] = found.json()
    assert document["issuer"] == stand.url
    return document


async def came_back(stand: Stand, url: str) -> str:
    """Where Anna's browser is sent after she agreed."""
    async with stand.browser() as browser:
        await browser.sign_in("anna@tv.example")
        back = await browser.agree(urlsplit(url).query)
    return str(back.headers["Location"])


async def approve(stand: Stand, user_code: str) -> None:
    headers = {"Authorization": f"Bearer {mint_token(SECRET, str(stand.people['anna']))}"}
    body = {"user_code": user_code}
    assert (await stand.send("POST", "/auth/device/approve", json=body, headers=headers)).status == 200


async def test_authlib_gets_refreshes_inspects_and_revokes_tokens(stand):
    server = await metadata(stand)
    with AuthlibSession(
        "web",
        token_endpoint_auth_method="none",
        redirect_uri=CALLBACK,
        scope="openid read:content",
        code_challenge_method="S256",
    ) as session:
        url, state = session.create_authorization_url(
            server["authorization_endpoint"], code_verifier=VERIFIER
        )
        back = await came_back(stand, url)
        tokens = await blocking(
            session.fetch_token,
            server["token_endpoint"],
            authorization_response=back,
            code_verifier=VERIFIER,
            state=state,
        )
        assert tokens["scope"] == "openid read:content"
        who = await blocking(session.get, server["userinfo_endpoint"])
        assert who.json()["sub"] == str(stand.people["anna"])
        fresh = await blocking(session.refresh_token, server["token_endpoint"], tokens["refresh_token"])
        assert fresh["refresh_token"] != tokens["refresh_token"]
        revoked = await blocking(session.revoke_token, server["revocation_endpoint"], fresh["refresh_token"])
        assert revoked.status_code == 200
    assert not await stand.is_active(fresh["access_token"])


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_authlib_as_a_confidential_client(stand, method):
    server = await metadata(stand)
    secret = CLIENT_SECRET
    if method == "client_secret_basic":
        # Authlib leaves out the form-encoding of RFC 6749 section 2.3.1; with a secret of ours, which is of unreserved
        # characters alone, that makes no difference.
        secret = await plain_secret(stand)
    with AuthlibSession(
        "firm" if method == "client_secret_post" else "robot", secret, token_endpoint_auth_method=method
    ) as session:
        tokens = await blocking(
            session.fetch_token, server["token_endpoint"], grant_type="client_credentials"
        )
        assert "refresh_token" not in tokens
        state = await blocking(
            session.introspect_token, server["introspection_endpoint"], tokens["access_token"]
        )
        assert state.json()["active"] is True


async def plain_secret(stand: Stand) -> str:
    headers = {"Authorization": f"Bearer {mint_token(SECRET, 'admin', scopes=frozenset({'admin'}))}"}
    body = {
        "client_id": "robot",
        "name": "Robot",
        "confidential": True,
        "grant_types": ["client_credentials"],
    }
    answer = await stand.send("POST", "/api/v1/admin/clients", json=body, headers=headers)
    assert answer.status == 201, answer.text
    return str(answer.body["client_secret"])


async def test_authlib_signs_in_a_device(stand):
    server = await metadata(stand)
    with AuthlibSession("tv", token_endpoint_auth_method="none") as session:
        asked = {"client_id": "tv", "scope": "read:content"}
        codes = (
            await blocking(requests.post, server["device_authorization_endpoint"], data=asked, timeout=20)
        ).json()
        poll = {"grant_type": DEVICE_CODE, "device_code": codes["device_code"]}
        with pytest.raises(Exception, match="authorization_pending"):
            await blocking(session.fetch_token, server["token_endpoint"], **poll)
        await approve(stand, codes["user_code"])
        tokens = await blocking(session.fetch_token, server["token_endpoint"], **poll)
    assert await stand.is_active(tokens["access_token"])


async def test_oauthlib_signs_in_a_device(stand):
    server = await metadata(stand)
    client = DeviceClient("tv", scope=["read:content"])
    with OAuth2Session(client=client) as session:
        asked = {"client_id": "tv", "scope": "read:content"}
        codes = (
            await blocking(requests.post, server["device_authorization_endpoint"], data=asked, timeout=20)
        ).json()
        poll = {"device_code": codes["device_code"], "include_client_id": True}
        with pytest.raises(CustomOAuth2Error) as pending:
            await blocking(session.fetch_token, server["token_endpoint"], **poll)
        assert pending.value.error == "authorization_pending"
        await approve(stand, codes["user_code"])
        tokens = await blocking(session.fetch_token, server["token_endpoint"], **poll)
        assert await stand.is_active(tokens["access_token"])
        with pytest.raises(InvalidGrantError):
            await blocking(session.fetch_token, server["token_endpoint"], **poll)


async def test_oauthlib_gets_and_refreshes_tokens_with_pkce(stand):
    server = await metadata(stand)
    client = WebApplicationClient("web")
    with OAuth2Session(
        client=client, redirect_uri=CALLBACK, scope=["openid", "read:content"], pkce="S256"
    ) as session:
        url, _ = session.authorization_url(server["authorization_endpoint"])
        back = await came_back(stand, url)
        tokens = await blocking(
            session.fetch_token, server["token_endpoint"], authorization_response=back, include_client_id=True
        )
        fresh = await blocking(
            session.refresh_token, server["token_endpoint"], tokens["refresh_token"], client_id="web"
        )
        assert fresh["refresh_token"] != tokens["refresh_token"]
        with pytest.raises(OAuth2Error, match="invalid_grant"):
            await blocking(
                session.refresh_token, server["token_endpoint"], tokens["refresh_token"], client_id="web"
            )
    assert not await stand.is_active(fresh["access_token"])
