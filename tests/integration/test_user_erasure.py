"""Discovery erases people whose accounts were deleted, and keeps everybody else."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.migrations import migrate
from media_gateway.discovery.pseudonyms import Pseudonyms
from media_gateway.discovery.search_events import Searcher
from tests.support.activity import clicked, counts, outcome
from tests.support.discovery import SECRET, Discovery, running_discovery
from tests.support.films import Film, save
from tests.support.search_admin import Person
from tests.support.search_rows import count, is_relayed, rows, tables_with
from tests.support.signing_in import PASSWORD, auth_stand
from tests.support.waiting import eventually

FILM = Film(title="Alien")
GONE, OTHER = "0190f000-0000-7000-8000-000000000001", "0190f000-0000-7000-8000-000000000002"
QUERY = "alien"


def pseudonyms_of(user_id: str) -> dict[str, bytes]:
    """All that may stand for a user in the tables after the search and the click of `acted`."""
    names = Pseudonyms(SECRET.encode())
    searcher = names.searcher(names.query(QUERY), Searcher(subject=user_id))
    vote = names.vote(datetime.now(UTC).date(), FILM.id, f"user:{user_id}")
    return {"search_events": searcher, "activity_votes": vote}


async def tables_with_bytes(database: Database, value: bytes) -> list[str]:
    tables = await rows(
        database,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
    )
    return [
        name
        for (name,) in tables
        if await rows(database, f'SELECT 1 FROM "{name}" t WHERE t::text LIKE :hex', hex=f"%{value.hex()}%")
    ]


async def traces(database: Database, user_id: str) -> list[str]:
    """Tables that hold a user's id or a pseudonym."""
    found = await tables_with(database, user_id)
    for value in pseudonyms_of(user_id).values():
        found += await tables_with_bytes(database, value)
    return sorted(found)


_READS = {
    "string": ("GET",),
    "hash": ("HGETALL",),
    "set": ("SMEMBERS",),
    "list": ("LRANGE", 0, -1),
    "zset": ("ZRANGE", 0, -1),
}


async def keys_with(redis: RedisHandle, *needles: bytes) -> list[bytes]:
    """Redis keys, beside the bus's own streams, that hold any of the needles in name or value."""
    found = []
    async for key in redis.client.scan_iter():
        kind = str(await redis.client.type(key), "ascii")  # type: ignore[arg-type]  # nothing decodes here
        if kind == "stream":
            continue
        command, *rest = _READS[kind]
        value: Any = await redis.client.execute_command(command, key, *rest)  # type: ignore[no-untyped-call]
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        kept = key + (parts if isinstance(parts, bytes) else b" ".join(parts or ()))
        if any(needle in kept for needle in needles):
            found.append(key)
    return found


async def acted(discovery: Discovery, database: Database, *users: str) -> None:
    """Each searches and clicks, and all of it has been counted."""
    before = await count(database, "activity_votes")
    for user in users:
        search_id, _ = await Person(discovery, user).search(QUERY)
        assert await Person(discovery, user).click(search_id, FILM.id) == 202

    async def settled() -> bool:
        voted = await count(database, "activity_votes") == before + len(users)
        return voted and await is_relayed(database)

    await eventually(settled, timeout_s=30)


def deleted(user_id: str) -> Event:
    return Event(topic=Topic.USER, type="user.deleted", key=user_id, data={"user_id": user_id}, source="auth")


async def erased(database: Database, user_id: str) -> None:
    async def nothing_left() -> bool:
        try:
            return await count(database, "erased_people") > 0 and not await traces(database, user_id)
        except MediaGatewayError:
            return False

    await eventually(nothing_left, timeout_s=30)


@pytest.fixture
async def bus(redis) -> AsyncIterator[RedisStreamBus]:
    bus = RedisStreamBus(redis)
    yield bus
    await bus.close()


async def test_nothing_of_a_deleted_user_is_left_and_others_keep_theirs(
    database, database_url, redis, redis_url, bus
):
    await save(database, FILM, announce=False)
    async with running_discovery(database_url, redis_url) as discovery:
        await acted(discovery, database, GONE, OTHER)
        await rows(
            database,
            "INSERT INTO outbox_rejected (id, destination, key, body, created_at, reason) "
            "SELECT n, 'events', k, convert_to(k, 'UTF8'), now(), 'test' "
            "FROM unnest(ARRAY[:gone, :other]) WITH ORDINALITY AS of (k, n) RETURNING 1",
            gone=GONE,
            other=OTHER,
        )
        kept = await traces(database, OTHER)
        assert {"search_events", "activity_votes", "outbox_rejected"} <= set(kept)
        assert await traces(database, GONE) == kept, "the scan sees what is there"
        await bus.publish([deleted(GONE)])
        await erased(database, GONE)
        assert await traces(database, OTHER) == kept
        values = pseudonyms_of(GONE).values()
        needles = (GONE.encode(), *values, *(value.hex().encode() for value in values))
        assert await keys_with(redis, *needles) == []
        await redis.client.set("a key of the test", f"of {GONE}")
        assert await keys_with(redis, *needles) == [b"a key of the test"], "the scan sees what is there"
        assert await count(database, "search_clicks") == 1
        digest = sha256(GONE.encode()).hexdigest()
        assert await tables_with(database, digest) == [], "no digest that everybody could make"


async def test_late_events_and_a_second_delivery_change_nothing(database, database_url, redis_url, bus):
    await save(database, FILM, announce=False)
    async with running_discovery(database_url, redis_url) as discovery:
        await bus.publish([deleted(GONE)])
        await erased(database, GONE)
        before = outcome("erased")
        late = clicked(FILM.id, GONE)
        await bus.publish([late, clicked(FILM.id, OTHER), deleted(GONE)])
        await Person(discovery, GONE).search(QUERY)
        await acted(discovery, database, f"{OTHER}-more")
        await eventually(lambda: outcome("erased") == before + 1)

        async def both_counted() -> bool:
            return await counts(database) == {FILM.id: 2.0} and await count(database, "search_events") == 1

        await eventually(both_counted, timeout_s=30)
        assert await traces(database, GONE) == []
        assert await count(database, "erased_people") == 1


async def test_while_postgres_is_away_an_erasure_waits(tmp_path: Path, redis_url, bus):
    server = EmbeddedPostgres(tmp_path / "state", durable=False)
    url = await server.start()
    await migrate(url)
    database = Database(url)
    try:
        await save(database, FILM, announce=False)
        async with running_discovery(url, redis_url) as discovery:
            await acted(discovery, database, GONE)
            await server.stop()
            await bus.publish([deleted(GONE)])

            async def told() -> bool:
                return bool((await discovery.part("erasure"))["status"] == "degraded")

            await eventually(told, timeout_s=20)
            assert await server.start() == url
            await erased(database, GONE)
    finally:
        await database.close()
        await server.stop()


async def test_deleting_an_account_at_auth_erases_it_at_discovery(
    database, database_url, redis_url, tmp_path
):
    await save(database, FILM, announce=False)
    async with (
        running_discovery(database_url, redis_url) as discovery,
        auth_stand(tmp_path, database_url, redis_url, database) as stand,
    ):
        anna, ben = str(stand.people["anna"]), str(stand.people["ben"])
        await acted(discovery, database, anna, ben)
        login: dict[str, Any] = {"email": "anna@tv.example", "password": PASSWORD}
        tokens = (await stand.send("POST", "/api/v1/auth/login", json=login)).body
        own = (
            "INSERT INTO oauth_identities (provider, provider_user_id, user_id) VALUES ('google', 'g-1', :id)",
            "INSERT INTO second_factors (user_id, sealed_secret) VALUES (:id, 'x')",
            "INSERT INTO backup_codes (user_id, code_digest) VALUES (:id, 'x')",
            "INSERT INTO api_keys (id, user_id, name, prefix, key_digest, scopes) VALUES (:id, :id, 'n', 'p', 'x', '{}')",
            (
                "INSERT INTO authorization_codes (digest, grant_id, client_id, user_id, redirect_uri, challenge, scopes, "
                "expires_at) VALUES ('x', :id, 'web', :id, 'u', 'c', '{}', now() + interval '1 hour')"
            ),
        )
        for statement in own:
            await stand.run(statement, id=stand.people["anna"])
        answer = await stand.send(
            "DELETE",
            "/api/v1/users/me",
            json={"password": PASSWORD},
            headers={"Authorization": f"Bearer {tokens['access_token']}"},
        )
        assert answer.status == 204, answer.text

        async def only_the_empty_row_is_left() -> bool:
            return set(await traces(database, anna)) <= {"users", "audit_logs"}

        await eventually(only_the_empty_row_is_left, timeout_s=30)
        assert set(pseudonyms_of(ben)) <= set(await traces(database, ben))
        assert not await stand.is_active(tokens["access_token"])
        assert await stand.run("SELECT 1 FROM refresh_tokens") == []
        # The same address and the same person at a provider can have an account again.
        again = await stand.add("anna")
        await stand.run(own[0], id=again)
