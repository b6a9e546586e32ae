"""How programs prove themselves, what they get for themselves, and what the token endpoint makes of odd forms."""

from base64 import b64encode
from urllib.parse import urlencode

import jwt
import pytest

from media_gateway.auth.clients import CLIENT_CREDENTIALS
from media_gateway.core.adapters.postgres import Database
from tests.support.signing_in import CLIENT_SECRET, Stand, auth_stand, basic, quoted

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def stand(tmp_path, database_url, redis_url, database: Database):
    async with auth_stand(tmp_path, database_url, redis_url, database, replicas=2) as stand:
        yield stand


def raw_basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(text.encode()).decode()}"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def asked(stand: Stand, headers: dict[str, str] | None = None, **form: str):
    form = {"grant_type": CLIENT_CREDENTIALS, **form}
    return await stand.send("POST", "/auth/token", data=form, headers=headers)


async def test_a_secret_is_taken_in_the_header_and_in_the_form(stand):
    in_header = await asked(stand, basic("firm", CLIENT_SECRET))
    in_form = await asked(stand, client_id="firm", client_secret=CLIENT_SECRET)
    named_twice = await asked(stand, basic("firm", CLIENT_SECRET), client_id="firm")
    assert [answer.status for answer in (in_header, in_form, named_twice)] == [200, 200, 200]
    assert "no-store" in in_header.headers["Cache-Control"]


async def test_the_header_is_form_encoded_inside(stand):
    # RFC 6749 section 2.3.1: the percent sign of the secret would be the beginning of an escape.
    plain = await asked(stand, raw_basic(f"firm:{CLIENT_SECRET}"))
    assert (plain.status, plain.error) == (401, "invalid_client")
    escaped_name = await asked(stand, raw_basic(f"%66irm:{quoted(CLIENT_SECRET)}"))
    assert escaped_name.status == 200


async def test_two_proofs_at_once_are_a_bad_request(stand):
    for more in ({"client_secret": CLIENT_SECRET}, {"client_id": "web"}):
        answer = await asked(stand, basic("firm", CLIENT_SECRET), **more)
        assert (answer.status, answer.error) == (400, "invalid_request")


async def test_nobody_learns_whether_a_client_exists(stand):
    answers = [
        await asked(stand, basic("firm", "wrong")),
        await asked(stand, basic("nobody", "wrong")),
        await asked(stand, client_id="firm"),
        await asked(stand, client_id="nobody"),
        await asked(stand, client_id="nobody", client_secret="x"),
        await asked(stand, client_id="web", client_secret="x"),
        await asked(stand, basic("web", "")),
        await asked(stand, basic("firm", "")),
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].error == "invalid_client"
    assert all(answer.headers["WWW-Authenticate"].startswith("Basic ") for answer in answers)


MALFORMED = [
    "Basic",
    "Basic ",
    "Basic %%%",
    "Basic Zmlyb",
    "Basic " + b64encode(b"firm").decode(),
    "Basic " + b64encode(b"\xff\xfe:\xff").decode(),
    "Basic " + b64encode(b"firm:a\x00b").decode(),
    "Basic " + b64encode(b"a\x00b:c").decode(),
    "Basic " + b64encode(b"%00:c").decode(),
    "Basic " + b64encode(b"%ED%A0%80:c").decode(),
    "Basic " + b64encode(b"n" * 5_000 + b":c").decode(),
    "Digest username=firm",
    "Bearer made-up",
    "firm",
]


@pytest.mark.parametrize("path", ["/auth/token", "/auth/revoke", "/auth/introspect", "/auth/device"])
async def test_a_malformed_header_proves_nothing(stand, path):
    for header in MALFORMED:
        form = {"grant_type": CLIENT_CREDENTIALS, "token": "t"}
        answer = await stand.send("POST", path, data=form, headers={"Authorization": header})
        assert (answer.status, answer.error) == (401, "invalid_client"), (header, answer.text)
        assert "WWW-Authenticate" in answer.headers


async def test_a_request_without_a_client_says_what_is_missing(stand):
    for path in ("/auth/token", "/auth/revoke", "/auth/introspect", "/auth/device"):
        answer = await stand.send("POST", path, data={"grant_type": CLIENT_CREDENTIALS, "token": "t"})
        assert (answer.status, answer.error) == (400, "invalid_request"), path
        assert "client_id" in answer.body["error_description"]


async def test_a_program_gets_a_token_for_itself(stand):
    answer = await stand.token_of_firm(grant_type=CLIENT_CREDENTIALS)
    assert answer.status == 200
    assert answer.body.get("refresh_token") is None
    assert answer.body.get("id_token") is None
    claims = jwt.decode(answer.body["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["client_id"]) == ("firm", "firm")
    assert claims["scope"] == answer.body["scope"] == "ingestion:write read:content"
    assert "sid" not in claims


async def test_a_program_narrows_its_scopes_and_never_widens_them(stand):
    narrow = await stand.token_of_firm(grant_type=CLIENT_CREDENTIALS, scope="read:content")
    assert narrow.body["scope"] == "read:content"
    for scope in ("read:content admin", "openid", "internal"):
        wide = await stand.token_of_firm(grant_type=CLIENT_CREDENTIALS, scope=scope)
        assert (wide.status, wide.error) == (400, "invalid_scope"), scope


async def test_a_public_client_gets_no_token_for_itself(stand):
    answer = await asked(stand, client_id="web")
    assert (answer.status, answer.error) == (400, "unauthorized_client")


async def test_a_program_is_not_a_person(stand):
    token = (await stand.token_of_firm(grant_type=CLIENT_CREDENTIALS)).body["access_token"]
    calls = [
        ("POST", "/auth/device/approve", {"json": {"user_code": "BCDF-GHJK"}}),
        ("GET", "/auth/device/verify?user_code=BCDF-GHJK", {}),
        ("GET", "/api/v1/users/me", {}),
        ("GET", "/api/v1/mfa/state", {}),
        ("GET", "/auth/userinfo", {}),
    ]
    for method, path, options in calls:
        answer = await stand.send(method, path, headers=bearer(token), **options)
        assert answer.status == 403, (path, answer.text)


FORMS = {
    "/auth/token": {"grant_type": CLIENT_CREDENTIALS, "client_id": "firm", "client_secret": CLIENT_SECRET},
    "/auth/revoke": {"token": "t", "client_id": "firm", "client_secret": CLIENT_SECRET},
    "/auth/introspect": {"token": "t", "client_id": "firm", "client_secret": CLIENT_SECRET},
    "/auth/device": {"client_id": "tv"},
    "/auth/device/poll": {"client_id": "tv", "device_code": "d"},
}


async def test_a_parameter_given_twice_is_a_bad_request(stand):
    for path, form in FORMS.items():
        for field, value in form.items():
            body = urlencode([*form.items(), (field, value)])
            answer = await stand.send("POST", path, data=body, headers=FORM)
            assert (answer.status, answer.error) == (400, "invalid_request"), (path, field)
            assert field in answer.body["error_description"]


async def test_a_form_that_is_too_long_is_told_so_in_the_same_shape(stand):
    for path, form in FORMS.items():
        body = urlencode({**form, "more": "x" * 20_000})
        answer = await stand.send("POST", path, data=body, headers=FORM)
        assert (answer.status, answer.error) == (413, "invalid_request"), path


async def test_only_forms_are_taken(stand):
    for path, form in FORMS.items():
        answer = await stand.send("POST", path, json=form)
        assert (answer.status, answer.error) == (415, "invalid_request"), path


async def test_bytes_that_are_no_text_are_a_bad_request(stand):
    broken = (b"\xff\xfe=1", b"client_id=%FF", b"client_id=a%00b&grant_type=x&token=t&device_code=d")
    for path in FORMS:
        for body in broken:
            answer = await stand.send("POST", path, data=body, headers=FORM)
            assert (answer.status, answer.error) == (400, "invalid_request"), (path, body, answer.text)


async def test_an_empty_value_counts_as_absent(stand):
    answer = await asked(stand, basic("firm", CLIENT_SECRET), client_id="", client_secret="", scope="")
    assert answer.status == 200
    assert answer.body["scope"] == "ingestion:write read:content"
    missing = await stand.send("POST", "/auth/token", data={"grant_type": "", "client_id": "web"})
    assert (missing.status, missing.error) == (400, "invalid_request")


async def test_an_unknown_parameter_is_ignored(stand):
    assert (await asked(stand, basic("firm", CLIENT_SECRET), vendor="x")).status == 200


async def test_secrets_are_not_taken_from_addresses(stand):
    query = urlencode({"grant_type": CLIENT_CREDENTIALS, "client_id": "firm", "client_secret": CLIENT_SECRET})
    for path in ("/auth/token", "/auth/revoke", "/auth/introspect", "/auth/device"):
        answer = await stand.send("GET", f"{path}?{query}")
        assert answer.status == 405, path
        assert "POST" in answer.headers["Allow"]
        posted = await stand.send("POST", f"{path}?{query}", data={"token": "t"})
        assert (posted.status, posted.error) == (400, "invalid_request"), path
