from typing import Any

import pytest
import sqlalchemy as sa

from media_gateway.core.adapters import postgres
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.postgres.direct import DirectConnection
from media_gateway.core.errors import ConflictError, InvalidInputError, NotConfiguredError, UnavailableError
from tests.support.servers import execute


async def kill_connections(database: Database, server_url: str) -> None:
    """End every server process of the database, as a restart of the server does."""
    name = database.engine.url.database
    await execute(
        server_url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    )


async def test_connection_that_died_while_idle_is_replaced_unseen(database, postgres_server_url, monkeypatch):
    monkeypatch.setattr(postgres, "CHECK_AFTER_IDLE_S", 0.0)
    await database.ping()
    await kill_connections(database, postgres_server_url)
    await database.ping()


async def test_connection_that_died_in_use_is_an_unavailable_database_once(
    database, postgres_server_url, monkeypatch
):
    monkeypatch.setattr(postgres, "CHECK_AFTER_IDLE_S", 3600.0)
    await database.ping()
    await kill_connections(database, postgres_server_url)
    with pytest.raises(UnavailableError):
        await database.ping()
    await database.ping()


async def test_direct_statements_are_part_of_the_transaction(database):
    async with database.transaction() as connection:
        await connection.execute(sa.text("CREATE TABLE kept (n int PRIMARY KEY, words text[])"))

    async def collide() -> None:
        async with database.transaction() as connection:
            direct = await DirectConnection.under(connection)
            await direct.copy("kept", ("n", "words"), [(1, ["a", "b"]), (2, [])])
            (row,) = await direct.fetch("SELECT n, words FROM kept WHERE n = $1", 1)
            assert tuple(row) == (1, ["a", "b"])
            assert await direct.execute("UPDATE kept SET words = '{c}' WHERE n > $1", 1) == 1
            await direct.copy("kept", ("n", "words"), [(2, [])])

    with pytest.raises(ConflictError, match="kept_pkey"):
        await collide()
    async with database.transaction() as connection:
        direct = await DirectConnection.under(connection)
        assert list(await direct.fetch("SELECT n FROM kept")) == []


@pytest.mark.parametrize("value", ["not a number", 2**40])
async def test_value_that_does_not_fit_is_invalid_input(database, value):
    async def ask() -> None:
        async with database.transaction() as connection:
            await (await DirectConnection.under(connection)).fetch("SELECT $1::int", value)

    async def append() -> None:
        async with database.transaction() as connection:
            await connection.execute(sa.text("CREATE TEMP TABLE kept (n int)"))
            await (await DirectConnection.under(connection)).copy("kept", ("n",), [(value,)])

    with pytest.raises(InvalidInputError):
        await ask()
    with pytest.raises(InvalidInputError):
        await append()


async def test_broken_connection_under_a_direct_statement_is_an_unavailable_database(
    database, postgres_server_url
):
    async def ask() -> None:
        async with database.transaction() as connection:
            direct = await DirectConnection.under(connection)
            await kill_connections(database, postgres_server_url)
            await direct.fetch("SELECT 1")

    with pytest.raises(UnavailableError):
        await ask()
    await database.ping()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"password": "hunter2"}, "user or password is wrong"), ({"database": "nowhere"}, "no such database")],
)
async def test_refused_login_names_the_setting_and_not_the_password(
    database_url: str, change: dict[str, Any], said: str
) -> None:
    url = sa.make_url(database_url).set(**change).render_as_string(hide_password=False)
    database = Database(url)
    with pytest.raises(NotConfiguredError, match=f"MEDIA_GATEWAY_DATABASE_URL: .*{said}") as caught:
        await database.ping()
    assert "hunter2" not in caught.value.message
    await database.close()
