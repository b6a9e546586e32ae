"""The admin API of programs, on two servers that share a database."""

import asyncio
from typing import Any

import pytest

from media_gateway.auth.clients import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN
from media_gateway.auth.services.clients import KEPT_S
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.tokens import mint_token
from tests.support.signing_in import CALLBACK, SECRET, Answer, Stand, auth_stand, basic, request_of
from tests.support.waiting import eventually

CLIENTS = "/api/v1/admin/clients"
ROBOT = {"client_id": "robot", "name": "Robot", "confidential": True, "grant_types": [CLIENT_CREDENTIALS]}
PLAYER = {
    "client_id": "player",
    "name": "Player",
    "redirect_uris": [CALLBACK],
    "grant_types": [AUTHORIZATION_CODE, REFRESH_TOKEN],
    "scopes": ["openid", "read:content"],
}


@pytest.fixture
async def stand(tmp_path, database_url, redis_url, database: Database):
    async with auth_stand(tmp_path, database_url, redis_url, database, replicas=2) as stand:
        yield stand


def admin(*scopes: str) -> dict[str, str]:
    token = mint_token(SECRET, "0190d3a0-0000-7000-8000-000000000001", scopes=frozenset(scopes or {"admin"}))
    return {"Authorization": f"Bearer {token}"}


async def call(stand: Stand, method: str, path: str = "", **options: Any) -> Answer:
    return await stand.send(method, CLIENTS + path, headers=admin(), **options)


async def at(stand: Stand, replica: int, client_id: str, secret: str) -> int:
    """Status of a request for a token at one of the servers."""
    url = f"{stand.servers[replica].url}/auth/token"
    form = {"grant_type": CLIENT_CREDENTIALS}
    async with stand.http.post(url, data=form, headers=basic(client_id, secret)) as answer:
        return answer.status


def changed(client: dict[str, Any], **changes: Any) -> dict[str, Any]:
    fields = {name: value for name, value in client.items() if name not in {"client_id", "confidential"}}
    return {**fields, **changes}


async def test_a_registered_program_works_at_once_and_its_secret_is_shown_once(stand):
    answer = await call(stand, "POST", json=ROBOT)
    assert answer.status == 201, answer.text
    assert answer.headers["Location"] == f"{CLIENTS}/robot"
    assert "no-store" in answer.headers["Cache-Control"]
    secret = answer.body["client_secret"]
    assert len(secret) >= 43
    assert answer.body["confidential"] is True
    assert await at(stand, 0, "robot", secret) == 200
    assert await at(stand, 1, "robot", secret) == 200
    shown = await call(stand, "GET", "/robot")
    assert shown.body == {**{k: v for k, v in answer.body.items() if k != "client_secret"}}
    rows = await stand.run("SELECT oauth_clients::text AS row FROM oauth_clients")
    assert all(secret not in row.row for row in rows)


async def test_a_public_program_has_no_secret(stand):
    answer = await call(stand, "POST", json=PLAYER)
    assert (answer.status, answer.body["client_secret"], answer.body["confidential"]) == (201, None, False)
    renewed = await call(stand, "POST", "/player/secret")
    assert renewed.status == 409


async def test_programs_are_listed_in_pages_those_of_the_settings_first(stand):
    for number in range(5):
        made = await call(stand, "POST", json={**ROBOT, "client_id": f"robot-{number}"})
        assert made.status == 201
    seen: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(3):
        page = await call(stand, "GET", params={"limit": "2", "cursor": cursor})
        assert page.status == 200, page.text
        seen += page.body["clients"]
        cursor = page.body["next_cursor"] or ""
    assert cursor == ""
    assert [one["client_id"] for one in seen if one["fixed"]] == ["firm", "lenient", "tv", "web"]
    assert [one["client_id"] for one in seen if not one["fixed"]] == [f"robot-{n}" for n in range(5)]
    assert all("secret" not in name for one in seen for name in one)
    for bad in ({"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"cursor": "c" * 129}, {"other": "1"}):
        refused = await call(stand, "GET", params=bad)
        assert refused.status == 400
        assert next(iter(bad)) in refused.text


async def test_a_change_holds_at_the_other_server_within_two_seconds(stand):
    secret = (await call(stand, "POST", json=ROBOT)).body["client_secret"]
    for replica in (0, 1):  # both have it in memory now
        assert await at(stand, replica, "robot", secret) == 200
    answer = await call(stand, "PUT", "/robot", json=changed(ROBOT, enabled=False))
    assert (answer.status, answer.body["enabled"]) == (200, False)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def refused_by_both() -> bool:
        return [await at(stand, replica, "robot", secret) for replica in (0, 1)] == [401, 401]

    await eventually(refused_by_both, timeout_s=KEPT_S + 8, interval_s=0.1)
    assert loop.time() - began < KEPT_S + 5
    again = await call(stand, "PUT", "/robot", json=changed(ROBOT))
    assert again.body["enabled"] is True
    await eventually(lambda: works(stand, "robot", secret), interval_s=0.1)


async def works(stand: Stand, client_id: str, secret: str) -> bool:
    return [await at(stand, replica, client_id, secret) for replica in (0, 1)] == [200, 200]


async def test_a_renewed_secret_replaces_the_old_one(stand):
    old = (await call(stand, "POST", json=ROBOT)).body["client_secret"]
    renewed = await call(stand, "POST", "/robot/secret")
    assert "no-store" in renewed.headers["Cache-Control"]
    new = renewed.body["client_secret"]
    await eventually(lambda: works(stand, "robot", new), interval_s=0.1)
    assert [await at(stand, replica, "robot", old) for replica in (0, 1)] == [401, 401]


async def test_a_change_never_brings_an_old_secret_back(stand):
    await call(stand, "POST", json=ROBOT)
    await call(stand, "GET", "/robot")  # each server has seen the program with its first secret
    await call(stand, "GET", "/robot")
    new = (await call(stand, "POST", "/robot/secret")).body["client_secret"]
    renamed = await call(stand, "PUT", "/robot", json=changed(ROBOT, name="Robot 2"))
    assert renamed.status == 200
    await eventually(lambda: works(stand, "robot", new), interval_s=0.1)
    assert (await call(stand, "GET", "/robot")).body["name"] == "Robot 2"


async def test_a_new_secret_never_brings_old_fields_back(stand):
    await call(stand, "POST", json=ROBOT)
    await call(stand, "GET", "/robot")
    await call(stand, "GET", "/robot")
    await call(stand, "PUT", "/robot", json=changed(ROBOT, enabled=False))
    secret = (await call(stand, "POST", "/robot/secret")).body["client_secret"]

    async def is_off() -> bool:
        answers = [await call(stand, "GET", "/robot") for _ in range(2)]
        return [answer.body["enabled"] for answer in answers] == [False, False]

    await eventually(is_off, interval_s=0.1)
    assert await at(stand, 0, "robot", secret) == 401


async def test_a_forgotten_program_and_its_refresh_tokens_are_good_for_nothing(stand):
    await call(stand, "POST", json=PLAYER)
    tokens = await stand.signed_in("player")
    assert (await call(stand, "DELETE", "/player")).status == 204
    assert (await call(stand, "DELETE", "/player")).status == 404

    async def refused() -> bool:
        answers = [await stand.refresh("made-up", "player") for _ in range(2)]
        return [answer.status for answer in answers] == [401, 401]

    await eventually(refused, interval_s=0.1)
    assert (await stand.refresh(tokens["refresh_token"], "player")).error == "invalid_client"
    async with stand.browser() as browser:
        await browser.sign_in("anna@tv.example")
        page = await browser.get(f"/auth/authorize?{request_of('player')}")
        assert page.status == 400
    # Another program that gets the name does not get what belonged to the first.
    assert (await call(stand, "POST", json=PLAYER)).status == 201
    await eventually(lambda: known(stand, "player"), interval_s=0.1)
    assert (await stand.refresh(tokens["refresh_token"], "player")).error == "invalid_grant"


async def known(stand: Stand, client_id: str) -> bool:
    answers = [await call(stand, "GET", f"/{client_id}") for _ in range(2)]
    return [answer.status for answer in answers] == [200, 200]


async def test_a_name_is_given_once(stand):
    assert (await call(stand, "POST", json=ROBOT)).status == 201
    for client_id in ("robot", "firm"):
        answer = await call(stand, "POST", json={**ROBOT, "client_id": client_id})
        assert answer.status == 409
        assert client_id in answer.text
    together = await asyncio.gather(
        *(call(stand, "POST", json={**ROBOT, "client_id": "one"}) for _ in range(8))
    )
    assert sorted(answer.status for answer in together) == [201] + [409] * 7


async def test_programs_of_the_settings_are_changed_there_only(stand):
    assert (await call(stand, "GET", "/firm")).body["fixed"] is True
    body = {"name": "X", "grant_types": [DEVICE_CODE]}
    for method, path in (("PUT", "/firm"), ("DELETE", "/firm"), ("POST", "/firm/secret")):
        answer = await call(stand, method, path, **({"json": body} if method == "PUT" else {}))
        assert answer.status == 409, path
        assert "settings" in answer.text


async def test_only_administrators_see_and_change_programs(stand):
    for method, path in (
        ("GET", ""), ("POST", ""), ("GET", "/firm"), ("PUT", "/firm"), ("DELETE", "/firm"), ("POST", "/firm/secret"),
    ):  # fmt: skip
        bare = await stand.send(method, CLIENTS + path)
        assert bare.status == 401
        other = await stand.send(method, CLIENTS + path, headers=admin("read:content"))
        assert other.status == 403


BAD: list[tuple[str, dict[str, Any]]] = [
    ("client_id", {"client_id": ""}),
    ("client_id", {"client_id": "a b"}),
    ("client_id", {"client_id": "x" * 129}),
    ("client_id", {"client_id": "a\n"}),
    ("name", {"name": ""}),
    ("name", {"name": "x" * 101}),
    ("name", {"name": "a\u0000b"}),
    ("grant_types", {"grant_types": []}),
    ("grant_types", {"grant_types": ["password"]}),
    ("grant_types", {"grant_types": "refresh_token"}),
    ("scopes", {"scopes": ["two words"]}),
    ("scopes", {"scopes": ['"']}),
    ("scopes", {"scopes": ["x"] * 101}),
    ("redirect_uris", {"redirect_uris": ["http://app.example/"]}),
    ("redirect_uris", {"redirect_uris": [CALLBACK] * 51}),
    ("redirect_uris", {"grant_types": [AUTHORIZATION_CODE]}),
    ("confidential", {"confidential": False}),
    ("access_token_s", {"access_token_s": 59}),
    ("refresh_token_s", {"refresh_token_s": 31_536_001}),
    ("refresh_leeway_s", {"refresh_leeway_s": 15.1}),
    ("refresh_leeway_s", {"refresh_leeway_s": "NaN"}),
    ("secret_digest", {"secret_digest": "x"}),
    ("client_secret", {"client_secret": "chosen by a person"}),
]


async def test_each_wrong_field_is_named(stand):
    for field, changes in BAD:
        answer = await call(stand, "POST", json={**ROBOT, **changes})
        assert answer.status == 400, (changes, answer.text)
        assert field in answer.text


async def test_what_is_not_there_is_not_found(stand):
    body = {"name": "X", "grant_types": [DEVICE_CODE]}
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/secret")):
        answer = await call(stand, method, f"/nobody{path}", **({"json": body} if method == "PUT" else {}))
        assert answer.status == 404, method


async def test_a_public_program_does_not_become_one_that_acts_for_itself(stand):
    await call(stand, "POST", json=PLAYER)
    answer = await call(stand, "PUT", "/player", json=changed(PLAYER, grant_types=[CLIENT_CREDENTIALS]))
    assert answer.status == 409


async def test_what_was_done_is_in_the_audit_log(stand):
    secret = (await call(stand, "POST", json=ROBOT)).body["client_secret"]
    renewed = (await call(stand, "POST", "/robot/secret")).body["client_secret"]
    await call(stand, "PUT", "/robot", json=changed(ROBOT, name="R"))
    await call(stand, "DELETE", "/robot")
    rows = await stand.run(
        "SELECT action, audit_logs::text AS row FROM audit_logs WHERE resource_id = 'robot' ORDER BY id"
    )
    assert [row.action for row in rows] == [
        "client.registered", "client.secret_renewed", "client.changed", "client.removed",
    ]  # fmt: skip
    assert all(secret not in row.row and renewed not in row.row for row in rows)
