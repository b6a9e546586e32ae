"""The schema's migrations, on a real server."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from media_gateway.core import migrations
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import UnavailableError
from tests.support.films import Film, Offer, save
from tests.support.search_rows import count, rows
from tests.support.servers import database_named, execute


@pytest.fixture
async def empty_database_url(postgres_server_url: str) -> AsyncIterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    await execute(postgres_server_url, f"CREATE DATABASE {name}")
    yield database_named(postgres_server_url, name)
    await execute(postgres_server_url, f"DROP DATABASE {name} WITH (FORCE)")


def test_migrations_are_one_chain_numbered_without_gaps():
    script = ScriptDirectory.from_config(migrations._config())
    assert len(script.get_heads()) == 1
    chain = [step.revision for step in script.walk_revisions()][::-1]
    assert chain == [f"{number:04}" for number in range(1, len(chain) + 1)]


async def test_an_empty_database_is_brought_to_the_newest_revision(empty_database_url):
    assert await migrations.current(empty_database_url) is None
    await migrations.migrate(empty_database_url)
    assert await migrations.current(empty_database_url) == migrations.head()


async def test_migrating_again_changes_nothing_and_keeps_data(database_url, database: Database):
    async with database.transaction() as connection:
        await connection.execute(
            sa.text("INSERT INTO outbox (destination, key, body) VALUES ('d', 'k', 'b')")
        )
    await migrations.migrate(database_url)
    async with database.transaction() as connection:
        assert (await connection.execute(sa.text("SELECT count(*) FROM outbox"))).scalar_one() == 1


async def test_concurrent_migrators_wait_for_each_other(empty_database_url):
    await asyncio.gather(*(migrations.migrate(empty_database_url) for _ in range(4)))
    assert await migrations.current(empty_database_url) == migrations.head()


async def test_a_migration_can_stop_at_a_named_revision(empty_database_url):
    await migrations.migrate(empty_database_url, "0001")
    assert await migrations.current(empty_database_url) == "0001"


async def test_a_database_out_of_reach_is_unavailable(free_port):
    with pytest.raises(UnavailableError):
        await migrations.migrate(f"postgresql://nobody@127.0.0.1:{free_port}/none")


async def test_a_failed_migration_frees_the_lock_for_the_next_one(empty_database_url):
    await migrations.migrate(empty_database_url, "0001")
    with pytest.raises(Exception, match="no-such"):
        await migrations.migrate(empty_database_url, "no-such")
    async with asyncio.timeout(30):
        await migrations.migrate(empty_database_url)


async def test_discovery_s_tables_come_beside_data_that_is_there(empty_database_url):
    await migrations.migrate(empty_database_url, "0003")
    database = Database(empty_database_url)
    film = Film(title="Alien", people=(("director", "Ridley Scott"),), offerings=(Offer(platform="netflix"),))
    await save(database, film)
    before = await _everything(database)
    assert {"contents", "credits", "offerings", "outbox"} <= before.keys()
    await migrations.migrate(empty_database_url)
    after = await _everything(database)
    assert {table: after[table] for table in before} == before
    new = (
        "ranking_versions",
        "search_events",
        "search_clicks",
        "popular_searches",
        "content_activity",
        "activity_votes",
    )
    for table in new:
        assert await count(database, table) == 0
    # The release before goes on writing to the new schema.
    await save(database, Film(title="Aliens"))
    await database.close()


async def _everything(database: Database) -> dict[str, list[str]]:
    """Rows of every table that has any, but the revision's own."""
    tables = await rows(
        database, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    found = {}
    for (table,) in tables:
        if table != "alembic_version":
            found[table] = [
                row.text for row in await rows(database, f'SELECT t::text AS text FROM "{table}" t')
            ]
    return {table: sorted(texts) for table, texts in found.items() if texts}
