"""People see where they are signed in and end it, through two servers on one Postgres."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.tokens import mint_token
from tests.support.credentials import SECRET, Door, add_person, audited, open_door, run

SESSIONS = "/api/v1/users/me/sessions"


@pytest.fixture
async def door(database_url: str, redis_url: str) -> AsyncIterator[Door]:
    async with open_door(database_url, redis_url) as door:
        yield door


async def add_grant(database: Database, user_id: UUID, client_id: str = "tv", *, age_s: int = 60) -> UUID:
    grant_id = uuid7()
    statement = (
        "INSERT INTO oauth_grants (id, client_id, user_id, scopes, used_at, expires_at) VALUES "
        "(:id, :client, :user, '{read:content}', now() - make_interval(secs => :age), now() + interval '1 day')"
    )
    await run(database, statement, id=grant_id, client=client_id, user=user_id, age=float(age_s))
    return grant_id


def token_of(user_id: UUID, session_id: UUID | None = None, **more: Any) -> str:
    if session_id is not None:
        more["sid"] = str(session_id)
    return mint_token(SECRET, str(user_id), more=more)


async def listed(door: Door, token: str) -> list[dict[str, Any]]:
    answer = await door.send("GET", SESSIONS, token)
    assert answer.status == 200
    return list(answer.body["items"])


async def ids(door: Door, token: str) -> list[UUID]:
    return [UUID(one["id"]) for one in await listed(door, token)]


async def test_live_sessions_are_listed_last_used_first(door: Door, database: Database):
    ann = await add_person(database)
    await run(
        database,
        "INSERT INTO oauth_clients (client_id, name, grant_types, scopes) VALUES ('tv', 'Living-room TV', '{}', '{}')",
    )
    tv = await add_grant(database, ann, age_s=100)
    phone = await add_grant(database, ann, "from-a-file", age_s=10)
    over = [await add_grant(database, ann), await add_grant(database, ann)]
    await run(database, "UPDATE oauth_grants SET revoked_at = now() WHERE id = :id", id=over[0])
    await run(database, "UPDATE oauth_grants SET expires_at = now() WHERE id = :id", id=over[1])
    await add_grant(database, await add_person(database, "ben"))
    first, second = await listed(door, token_of(ann, tv))
    assert (first["id"], second["id"]) == (str(phone), str(tv))
    assert (first["client_name"], second["client_name"]) == ("from-a-file", "Living-room TV")
    assert (first["current"], second["current"]) == (False, True)
    assert second["scopes"] == ["read:content"]
    assert second["last_used_at"] < first["last_used_at"]


async def test_an_ended_session_is_over(door: Door, database: Database):
    ann = await add_person(database)
    here, tv = await add_grant(database, ann), await add_grant(database, ann)
    token = token_of(ann, here)
    assert (await door.send("DELETE", f"{SESSIONS}/{tv}", token)).status == 204
    assert await ids(door, token) == [here]
    assert (await door.send("DELETE", f"{SESSIONS}/{tv}", token)).status == 404
    assert (await door.send("DELETE", f"{SESSIONS}/{here}", token)).status == 204
    assert await ids(door, token) == []
    assert await audited(database) == ["session.ended"] * 2


async def test_all_others_end_and_the_own_stays(door: Door, database: Database):
    ann, ben = await add_person(database), await add_person(database, "ben")
    here, theirs = await add_grant(database, ann), await add_grant(database, ben)
    for _ in range(3):
        await add_grant(database, ann)
    assert (await door.send("DELETE", SESSIONS, token_of(ann, here))).status == 204
    assert await ids(door, token_of(ann, here)) == [here]
    assert await ids(door, token_of(ben)) == [theirs]
    assert (await door.send("DELETE", SESSIONS, token_of(ann))).status == 204
    assert await ids(door, token_of(ann)) == []


async def test_a_strangers_session_is_not_found(door: Door, database: Database):
    ann, ben = await add_person(database), await add_person(database, "ben")
    theirs = await add_grant(database, ann)
    for session_id in (theirs, uuid4()):
        assert (await door.send("DELETE", f"{SESSIONS}/{session_id}", token_of(ben))).status == 404
    assert await ids(door, token_of(ann)) == [theirs]


async def test_ending_the_same_at_once_ends_it(door: Door, database: Database):
    ann = await add_person(database)
    tv = await add_grant(database, ann)
    answers = await asyncio.gather(
        *(door.send("DELETE", f"{SESSIONS}/{tv}", token_of(ann)) for _ in range(6))
    )
    assert {answer.status for answer in answers} <= {204, 404}
    assert 204 in {answer.status for answer in answers}
    assert await ids(door, token_of(ann)) == []


@pytest.mark.parametrize("session_id", ["x", "0", "%00", "null", "00000000-0000-0000-0000-00000000000g"])
async def test_a_broken_id_is_named(door: Door, database: Database, session_id: str):
    ann = await add_person(database)
    answer = await door.send("DELETE", f"{SESSIONS}/{session_id}", token_of(ann))
    assert answer.status in {400, 404}


async def test_only_people_see_sessions(door: Door, database: Database):
    ann = await add_person(database)
    tv = await add_grant(database, ann)
    for method, path in (("GET", SESSIONS), ("DELETE", SESSIONS), ("DELETE", f"{SESSIONS}/{tv}")):
        assert (await door.send(method, path)).status == 401
        assert (await door.send(method, path, token_of(ann, via="api_key"))).status == 403
        assert (await door.send(method, path, mint_token(SECRET, "media-gateway-cli"))).status == 403
    assert await ids(door, token_of(ann)) == [tv]


async def test_a_token_with_a_strange_session_id_has_no_current_one(door: Door, database: Database):
    ann = await add_person(database)
    await add_grant(database, ann)
    (one,) = await listed(door, token_of(ann, sid="nonsense"))
    assert one["current"] is False
