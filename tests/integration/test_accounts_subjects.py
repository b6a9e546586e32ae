"""What tokens say of a person comes from the person's row, as of now."""

from typing import Any

import pytest
import sqlalchemy as sa

from media_gateway.auth.store.accounts import AccountSubjects
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import ConflictError, UnavailableError


async def run(database: Database, statement: str, **parameters: Any) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.text(statement), parameters)


ADD = "INSERT INTO users (id, email) VALUES (:id, :email)"


async def test_a_subject_is_what_the_row_says_now(database: Database) -> None:
    ann, subjects = uuid7(), AccountSubjects(database)
    assert await subjects.find(ann) is None
    await run(database, ADD, id=ann, email="ann@tv.example")
    found = await subjects.find(ann)
    assert found is not None
    assert (found.email, found.tier, found.roles) == ("ann@tv.example", "free", ("user",))
    assert (found.enabled, found.email_verified, found.content_rating_limit) == (True, False, None)
    assert "admin" not in found.scopes
    await run(
        database, "UPDATE users SET locked_at = now(), roles = '{user,admin}', blocked_genres = '{horror}'"
    )
    found = await subjects.find(ann)
    assert found is not None
    assert (found.enabled, found.blocked_genres) == (False, ("horror",))
    assert "admin" in found.scopes


async def test_a_deleted_account_gets_no_tokens(database: Database) -> None:
    ann = uuid7()
    await run(database, ADD, id=ann, email="ann@tv.example")
    await run(database, "UPDATE users SET deleted_at = now(), email = NULL")
    found = await AccountSubjects(database).find(ann)
    assert found is not None
    assert (found.enabled, found.email) == (False, "")


async def test_an_address_has_one_account_however_it_is_written(database: Database) -> None:
    await run(database, ADD, id=uuid7(), email="ann@tv.example")
    with pytest.raises(ConflictError):
        await run(database, ADD, id=uuid7(), email="Ann@TV.example")


async def test_without_its_database_nobody_is_looked_up() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(UnavailableError):
        await AccountSubjects(database).find(uuid7())
    await database.close()
