"""`media-gateway users add`: the first admin of an installation."""

import asyncio
import io
from typing import Any

import pytest
import sqlalchemy as sa

from media_gateway.auth.passwords import Passwords
from media_gateway.cli import users
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import ConflictError, InvalidInputError

OPS = "ops@media.example"


@pytest.fixture
def settings(monkeypatch, tmp_path, database_url):
    monkeypatch.setenv("MEDIA_GATEWAY_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("MEDIA_GATEWAY_DATABASE_URL", database_url)


async def added(database: Database) -> Any:
    async with database.transaction() as connection:
        statement = "SELECT password_hash, roles, tier, email_verified_at FROM users WHERE email = 'ops@media.example'"
        return (await connection.execute(sa.text(statement))).one()


async def test_the_password_that_is_printed_is_the_admins(settings, database, capsys):
    await asyncio.to_thread(users.add, OPS, role=[users.Role.ADMIN], tier=users.Tier.PRO)
    printed = capsys.readouterr().out.splitlines()[-1].removeprefix("password: ")
    row = await added(database)
    passwords = Passwords()
    assert await passwords.matches(printed, row.password_hash)
    passwords.close()
    assert (row.roles, row.tier, row.email_verified_at is not None) == (["user", "admin"], "pro", True)


async def test_a_given_password_is_not_printed(settings, database, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("Correct-Horse-1\n"))
    await asyncio.to_thread(users.add, OPS, password_stdin=True)
    assert "Horse" not in capsys.readouterr().out
    assert (await added(database)).roles == ["user"]
    with pytest.raises(ConflictError):
        await asyncio.to_thread(users.add, OPS)


@pytest.mark.parametrize(("email", "password"), [("nobody", "Correct-Horse-1\n"), (OPS, "weak\n"), (OPS, "")])
async def test_what_is_wrong_makes_no_account(settings, database, monkeypatch, email, password):
    monkeypatch.setattr("sys.stdin", io.StringIO(password))
    with pytest.raises(InvalidInputError):
        await asyncio.to_thread(users.add, email, password_stdin=True)
    async with database.transaction() as connection:
        assert (await connection.execute(sa.text("SELECT count(*) FROM users"))).scalar() == 0
