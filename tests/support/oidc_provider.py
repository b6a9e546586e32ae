"""A provider of identities on a free port: OpenID with RS256 (also by form), and GitHub's kind. It can be made to lie,
and it is lax: its codes are good more than once.
"""

import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support.servers import unused_port

CLIENT_ID = "media"
CLIENT_SECRET = "the secret of the client, not to be logged"

RSA = generate_private_key(65_537, 2_048)
STRANGE_RSA = generate_private_key(65_537, 2_048)

Claims = dict[str, Any]


def pem(key: RSAPrivateKey = RSA) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem() -> bytes:
    return RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Provider:
    """Whoever comes is ``person``; ``sign`` and ``change`` make it lie, ``broken`` makes an address answer so."""

    url: str
    person: Claims = field(default_factory=dict)
    change: Callable[[Claims], Claims] = dict
    sign: Callable[[Claims], str] | None = None
    broken: dict[str, int] = field(default_factory=dict)
    emails: list[Any] = field(default_factory=list)
    user: Claims = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    client_secrets: list[str] = field(default_factory=list)
    keys_fetched: int = 0

    def signed(self, claims: Claims) -> str:
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode(claims, pem(), algorithm="RS256", headers={"kid": "one"})

    async def configuration(self, _request: web.Request) -> web.Response:
        names = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/jwks"}
        document: Claims = {name: self.url + path for name, path in names.items()}
        return web.json_response({"issuer": self.url, **document})

    async def authorize(self, request: web.Request) -> web.Response:
        """Nobody is asked anything; a code is made and told."""
        query = dict(request.query)
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        code = uuid4().hex
        self.codes[code] = query
        back = {"code": code, "state": query["state"]}
        if query.get("response_mode") == "form_post":
            return web.json_response(back)
        return web.Response(status=302, headers={"Location": f"{query['redirect_uri']}?{urlencode(back)}"})

    async def token(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        scheme, _, pair = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            form["client_secret"] = (
                base64.b64decode(pair).decode().partition(":")[2].replace("%20", " ").replace("%2C", ",")
            )
        self.client_secrets.append(str(form.get("client_secret")))
        asked = self.codes.get(str(form["code"]))
        challenge = base64.urlsafe_b64encode(sha256(str(form["code_verifier"]).encode()).digest())
        if (
            asked is None
            or asked["redirect_uri"] != form["redirect_uri"]
            or asked["code_challenge"] != challenge.rstrip(b"=").decode()
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked.get("nonce"),
            **self.person,
        }
        token = self.signed(self.change(claims))
        self.tokens.append(token)
        return web.json_response({"access_token": "at-secret", "id_token": token, "token_type": "Bearer"})

    async def jwks(self, _request: web.Request) -> web.Response:
        self.keys_fetched += 1
        key = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True)
        return web.json_response({"keys": [{**key, "kid": "one", "use": "sig"}]})

    async def user_of(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer at-secret"
        return web.json_response(self.user)

    async def emails_of(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer at-secret"
        return web.json_response(self.emails)


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    port = unused_port()
    one = Provider(f"http://127.0.0.1:{port}")

    @web.middleware
    async def faults(request: web.Request, handler: Any) -> web.StreamResponse:
        if status := one.broken.get(request.path):
            return web.Response(status=status, text="out of order")
        answer: web.StreamResponse = await handler(request)
        return answer

    app = web.Application(middlewares=[faults])
    app.router.add_get("/.well-known/openid-configuration", one.configuration)
    app.router.add_get("/authorize", one.authorize)
    app.router.add_post("/token", one.token)
    app.router.add_get("/jwks", one.jwks)
    app.router.add_get("/user", one.user_of)
    app.router.add_get("/emails", one.emails_of)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield one
    finally:
        await runner.cleanup()
