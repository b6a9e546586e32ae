"""The usual providers, each in its own way, and the file that names them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from media_gateway.auth.social.providers import load_providers
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import NotConfiguredError
from tests.support.credentials import run
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, provider
from tests.support.social import Browser, provider_entry, serve_social

EC = generate_private_key(SECP256R1())
EC_PEM = EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
async def there() -> AsyncIterator[Provider]:
    async with provider() as one:
        one.person = {"sub": "1", "email": "ann@there.example", "email_verified": True}
        yield one


@pytest.fixture
def opened(database_url: str, redis_url: str, tmp_path: Path) -> Any:
    """Serves auth with one provider and gives a browser."""

    @asynccontextmanager
    async def opening(entry: dict[str, Any]) -> AsyncIterator[Browser]:
        server = await serve_social(database_url, redis_url, tmp_path, [entry])
        browser = Browser(server.url)
        try:
            yield browser
        finally:
            await browser.close()
            await server.drain()

    return opening


def github(there: Provider) -> dict[str, Any]:
    paths = {"authorization": "authorize", "token": "token", "user": "user", "emails": "emails"}
    endpoints = {f"{name}_endpoint": f"{there.url}/{path}" for name, path in paths.items()}
    return provider_entry(there, "github", issuer=None, title=None, **endpoints)


async def test_github_tells_number_and_verified_address(there: Provider, opened: Any, database: Database):
    there.user = {"id": 4711, "login": "ann", "name": None}
    there.emails = [
        {"email": "old@there.example", "verified": True, "primary": False},
        {"email": "ann@there.example", "verified": True, "primary": True},
    ]
    async with opened(github(there)) as browser:
        assert "Continue with GitHub" in (await browser.get("/auth/sign-in")).text
        assert (await browser.sign_in("github")).status == 303
        assert await browser.account() == "ann@there.example"
    (row,) = await run(
        database, "SELECT provider_user_id, display_name FROM oauth_identities JOIN users ON id = user_id"
    )
    assert (row.provider_user_id, row.display_name) == ("4711", "ann")


@pytest.mark.parametrize(
    "emails",
    [
        [],
        {},
        [None],
        [{"email": "ann@there.example", "verified": False, "primary": True}],
        [{"email": "ann@there.example", "primary": True}],
        [{"email": None, "verified": True}],
        [{"email": "ann@there.example", "verified": "yes"}],
    ],
)
async def test_github_without_a_verified_address_makes_no_account(
    there: Provider, opened: Any, database: Database, emails: Any
):
    there.user, there.emails = {"id": 4711, "login": "ann"}, emails
    async with opened(github(there)) as browser:
        assert (await browser.sign_in("github")).status == 403
    assert await run(database, "SELECT 1 FROM users") == []


@pytest.mark.parametrize("user", [{}, {"id": None}, {"id": "4711"}, [], None])
async def test_a_strange_user_of_github_is_refused(there: Provider, opened: Any, user: Any):
    there.user, there.emails = user, [{"email": "ann@there.example", "verified": True}]
    async with opened(github(there)) as browser:
        assert (await browser.sign_in("github")).status == 403


async def test_a_callback_of_github_is_not_taken_with_another_codes_verifier(there: Provider, opened: Any):
    there.user, there.emails = {"id": 1}, [{"email": "ann@there.example", "verified": True}]
    async with opened(github(there)) as browser:
        mine = await browser.back_from(await browser.to_provider("github"))
        theirs = await browser.back_from(await browser.to_provider("github"))
        code = mine.split("code=")[1].split("&")[0]
        mixed = theirs.replace(theirs.split("code=")[1].split("&")[0], code)
        assert (await browser.get(mixed)).status == 403
        assert await browser.account() is None


async def test_apple_posts_back_and_is_shown_a_signed_secret(there: Provider, opened: Any):
    there.person |= {"email_verified": "true"}
    entry = provider_entry(
        there, "apple", title=None, client_secret=None, private_key=EC_PEM, key_id="K1", team_id="T1"
    )
    async with opened(entry) as browser:
        address = await browser.to_provider("apple")
        assert "response_mode=form_post" in address
        assert "scope=openid+email+name" in address
        back = json.loads((await browser.get(address)).text)
        done = await browser.post("/auth/oauth/apple/callback", **back, user='{"name": {}}')
        assert done.status == 303
        assert await browser.account() == "ann@there.example"
        assert (await browser.post("/auth/oauth/apple/callback", **back)).status == 403
    (secret,) = there.client_secrets
    claims = jwt.decode(secret, EC.public_key(), algorithms=["ES256"], audience=there.url)
    assert (claims["iss"], claims["sub"]) == ("T1", CLIENT_ID)
    assert claims["exp"] - claims["iat"] <= 300
    assert jwt.get_unverified_header(secret)["kid"] == "K1"


async def test_behind_https_cookies_are_bound_to_the_host(
    there: Provider, database_url: str, redis_url: str, tmp_path: Path
):
    entries = [provider_entry(there, "apple", title=None), provider_entry(there)]
    server = await serve_social(
        database_url, redis_url, tmp_path, entries, public_url="https://media.example"
    )
    browser = Browser(server.url)
    try:
        for name, same_site in (("apple", "None"), ("work", "Lax")):
            page = await browser.get(f"/auth/oauth/{name}/authorize")
            cookie = page.headers["Set-Cookie"]
            assert cookie.startswith(f"__Host-mgw-social-{name}=")
            assert {"HttpOnly", "Secure", "Path=/", f"SameSite={same_site}"} <= set(cookie.split("; "))
            assert "redirect_uri=https%3A%2F%2Fmedia.example%2Fauth%2Foauth" in page.location
    finally:
        await browser.close()
        await server.drain()


@pytest.mark.parametrize("way", ["basic", "post", None])
async def test_the_secret_is_sent_as_configured(there: Provider, opened: Any, way: str | None):
    async with opened(provider_entry(there, client_authentication=way)) as browser:
        assert (await browser.sign_in()).status == 303
    assert there.client_secrets == [CLIENT_SECRET]


async def test_endpoints_may_be_given(there: Provider, opened: Any):
    there.broken["/.well-known/openid-configuration"] = 500
    entry = provider_entry(
        there,
        authorization_endpoint=f"{there.url}/authorize",
        token_endpoint=f"{there.url}/token",
        jwks_uri=f"{there.url}/jwks",
        claims={"email": "mail", "email_verified": "mail_ok"},
    )
    there.person = {"sub": "1", "mail": "ann@there.example", "mail_ok": True}
    async with opened(entry) as browser:
        assert (await browser.sign_in()).status == 303
        assert await browser.account() == "ann@there.example"


async def test_a_provider_that_is_away_is_named_on_a_page(there: Provider, opened: Any, free_port: int):
    async with opened(provider_entry(there, issuer=f"http://127.0.0.1:{free_port}")) as browser:
        page = await browser.get("/auth/oauth/work/authorize")
        assert page.status == 503
        assert "Work can&#39;t be reached at the moment" in page.text
        assert "Retry-After" in page.headers
        assert (await browser.get("/auth/sign-in")).status == 200


async def test_a_configuration_of_another_issuer_is_not_believed(there: Provider, opened: Any):
    issuer = there.url.replace("127.0.0.1", "localhost")
    async with opened(provider_entry(there, issuer=issuer)) as browser:
        assert (await browser.get("/auth/oauth/work/authorize")).status == 503


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "providers.yaml"
    path.write_text(text)
    return path


def test_a_preset_needs_only_the_client(tmp_path: Path):
    text = "providers: [{name: google, client_id: a, client_secret: b}, {name: hub, preset: github, client_id: a, client_secret: b}]"
    google, hub = load_providers(written(tmp_path, text))
    assert (google.issuer, google.title) == ("https://accounts.google.com", "Google")
    assert (hub.kind, hub.title, hub.name) == ("github", "GitHub", "hub")


GOOD = {"name": "work", "issuer": "https://id.example", "client_id": "a", "client_secret": "hush-hush"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"name": "Work"}, "providers.0.name"),
        ({"name": "a/b"}, "providers.0.name"),
        ({"name": None}, "providers.0.name"),
        ({"issuer": "http://id.example"}, "providers.0.issuer"),
        ({"issuer": "https://id.example?x"}, "providers.0.issuer"),
        ({"issuer": "http://127.0.0.1.evil.example"}, "providers.0.issuer"),
        ({"issuer": None}, "issuer is required"),
        ({"client_id": ""}, "providers.0.client_id"),
        ({"client_secret": None}, "give either client_secret or private_key"),
        ({"private_key": EC_PEM}, "give either client_secret or private_key"),
        ({"client_secret": None, "private_key": EC_PEM}, "private_key needs key_id and team_id"),
        ({"client_secret": None, "private_key": "hush-hush"}, "not a private key in PEM"),
        ({"token_endpoint": "https://id.example/token"}, "together, or none"),
        ({"kind": "github"}, "all four endpoints are required"),
        ({"preset": "facebook"}, "providers.0.preset"),
        ({"colour": "red"}, "providers.0.colour: unknown field"),
        ({"claims": {"shoe": "size"}}, "providers.0.claims.shoe"),
    ],
)
def test_a_fault_in_the_file_is_named_and_no_secret_with_it(
    tmp_path: Path, change: dict[str, Any], fault: str
):
    path = written(tmp_path, json.dumps({"providers": [{**GOOD, **change}]}))
    with pytest.raises(NotConfiguredError) as raised:
        load_providers(path)
    message = raised.value.message
    assert message.startswith("MEDIA_GATEWAY_SOCIAL_PROVIDERS_PATH: ")
    assert fault in message
    assert "hush-hush" not in message


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "neither YAML nor JSON"),
        ("\x00", "neither YAML nor JSON"),
        ("", "the file"),
        ("[]", "the file"),
        ("providers: {}", "providers"),
        (json.dumps({"providers": [GOOD, GOOD]}), "two providers have the same name"),
        ("a" * 300_000, "larger than"),
        ("!!python/object/apply:os.system ['true']", "neither YAML nor JSON"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, fault: str):
    with pytest.raises(NotConfiguredError, match=fault):
        load_providers(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(NotConfiguredError, match="can't be read"):
        load_providers(tmp_path / "none.yaml")
