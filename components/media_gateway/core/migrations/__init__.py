"""Schema of the one Postgres database, by Alembic.

``media-gateway migrate``, the embedded start and the tests call `migrate`; services never change the schema by
themselves. Migrations are numbered files in ``versions``, one linear chain, written expand-then-contract: release N runs
on the schema of N+1, so a release can be rolled back without touching the database, and there are no downgrades.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from media_gateway.core.adapters.postgres import driver_url, name_failed_connections, translated
from media_gateway.core.errors import InvalidInputError, NotConfiguredError

LOCK_KEY = 0x6D67_775F_6D69_6772
"""Advisory lock that migrators of one database queue on ("mgw_migr" in ASCII)."""

LOCK_WAIT_MS = 600_000
"""Longest a migrator waits for another one, in milliseconds: a large index may take minutes to build."""


async def migrate(database_url: str, revision: str = "head") -> None:
    """Bring the schema to a revision; does nothing when it is there already.

    Safe to call from many processes at once: one migrates, the others wait and then find the work done.

    Parameters
    ----------
    database_url
        ``postgresql://…``.
    revision
        Number of a migration (``0002``) or ``head``.

    Raises
    ------
    UnavailableError
        The database can't be reached; try again later.
    DeadlineExceededError
        Another migrator held the lock for longer than ``LOCK_WAIT_MS``.
    """
    engine = _engine(database_url)
    try:
        with translated():
            async with engine.connect() as connection:
                await _lock(connection)
                await connection.run_sync(_upgrade, revision)
                await connection.commit()
    finally:
        # Closing the connection frees the session lock, also after an error.
        await engine.dispose()


async def current(database_url: str) -> str | None:
    """Revision the schema is at, None for a database never migrated.

    Raises
    ------
    UnavailableError
        The database can't be reached; try again later.
    """
    engine = _engine(database_url)
    try:
        with translated():
            async with engine.connect() as connection:
                return await connection.run_sync(_current)
    finally:
        await engine.dispose()


def head() -> str | None:
    """Newest revision this release knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


async def demand(database_url: str) -> None:
    """Return if the schema is of this release, or of a later one.

    Raises
    ------
    NotConfiguredError
        It is older; the message says what to run.
    UnavailableError
        The database can't be reached; try again later.
    """
    found, needed = await current(database_url), head()
    if (found or "") < (needed or ""):
        raise NotConfiguredError(
            f"the database schema is at {found or 'nothing'}, this release needs {needed}; "
            "run: media-gateway migrate"
        )


def check_revision(revision: str) -> None:
    """See whether this release can migrate to a revision, without asking any server.

    Raises
    ------
    InvalidInputError
        It has no such revision; the message lists those it has.
    """
    known = sorted(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())
    if revision not in {"head", *known}:
        raise InvalidInputError(
            f"there is no revision {revision[:40]!r}; there are: {', '.join(known)}, head"
        )


def _engine(database_url: str) -> AsyncEngine:
    engine = create_async_engine(driver_url(database_url), poolclass=NullPool)
    name_failed_connections(engine)
    return engine


def _config() -> Config:
    config = Config()
    # ConfigParser reads % as interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


async def _lock(connection: AsyncConnection) -> None:
    # A session lock, not a transaction lock: a migration may need to leave its transaction (CREATE INDEX CONCURRENTLY).
    await connection.execute(sa.text(f"SET statement_timeout = {LOCK_WAIT_MS}"))
    await connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
    await connection.execute(sa.text("SET statement_timeout = 0"))
    await connection.commit()


def _upgrade(connection: sa.Connection, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _current(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
