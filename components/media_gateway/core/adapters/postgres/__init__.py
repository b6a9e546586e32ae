"""Postgres by SQLAlchemy 2 (async Core) and asyncpg: one `Database` a process, driver errors translated here.

A component's ``store.py`` gets a `Database`, opens a transaction and writes its own SQL; it sees our errors only.
"""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    TimeoutError as PoolTimeout,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from media_gateway.core.adapters.postgres.connection import PromptConnection
from media_gateway.core.errors import (
    ConflictError,
    DeadlineExceededError,
    InvalidInputError,
    MediaGatewayError,
    NotConfiguredError,
    UnavailableError,
)
from media_gateway.core.network import why_unreachable

__all__ = ["AsyncConnection", "Database", "driver_url", "for_asyncpg", "translated"]
"""`AsyncConnection` is the open transaction that services hand from store to store without looking inside."""

RETRYABLE_STATES = frozenset({"40001", "40P01", "55P03"})
"""Serialisation failure, deadlock, lock not available: the same transaction may succeed when repeated."""

UNAVAILABLE_CLASSES = ("08", "53", "57", "58")
"""SQLSTATE classes of connection trouble, exhausted resources, operator intervention and system errors."""

URL_OPTIONS = frozenset({"host", "sslmode"})
"""Options a database URL may have: a Unix socket's folder, and libpq's ``sslmode``."""

EXAMPLE_URL = "postgresql://user:password@host:5432/media_gateway?sslmode=verify-full"


REFUSED_LOGINS = {
    "28000": "the database does not let this user in",
    "28P01": "the user or password is wrong",
    "3D000": "there is no such database on this server",
}
"""SQLSTATEs of a login that only somebody who changes the setting can mend."""

CHECK_AFTER_IDLE_S = 1.0
"""Seconds in the pool after which a connection is asked whether it is alive before it is used."""

_IDLE_SINCE = "idle_since"


class Database:
    """A pool of connections to one database.

    Parameters
    ----------
    url
        ``postgresql://…``; a host that is a path (``?host=/run/x``) means a Unix socket.
    pool_size
        Most connections.
    timeout_ms
        Longest a statement runs unless a transaction asks for another limit, in milliseconds.
    """

    def __init__(self, url: str, *, pool_size: int = 10, timeout_ms: int = 5_000) -> None:
        self._timeout_ms = timeout_ms
        self._engine: AsyncEngine = create_async_engine(
            driver_url(url),
            pool_size=pool_size,
            max_overflow=0,
            # A failed statement's values may be secrets, and its error is logged.
            hide_parameters=True,
            pool_timeout=timeout_ms / 1000,
            connect_args={
                "timeout": min(10.0, timeout_ms / 1000),
                "connection_class": PromptConnection,
                # Generic plans of parametrised array statements are as good, and JIT costs more than it gives here.
                "server_settings": {"application_name": "media-gateway", "jit": "off"},
            },
        )

        name_failed_connections(self._engine)
        _check_idle_connections(self._engine)

    @property
    def engine(self) -> AsyncEngine:
        """The engine, for Alembic and for tests."""
        return self._engine

    @asynccontextmanager
    async def transaction(self, *, timeout_ms: int | None = None) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end of the block or rolled back.

        Raises
        ------
        UnavailableError
            Can't connect, the connection broke, or the transaction lost a deadlock; repeat the whole block.
        DeadlineExceededError
            A statement took longer than ``timeout_ms``.
        ConflictError, InvalidInputError
            A constraint was violated; a value does not fit its column.
        """
        limit = timeout_ms or self._timeout_ms
        with translated():
            async with self._engine.begin() as connection:
                # Also begins the transaction, which SQLAlchemy does with the first statement: direct ones rely on it.
                await connection.execute(sa.text(f"SET LOCAL statement_timeout = {int(limit)}"))
                yield connection

    async def ping(self) -> None:
        """Return if the database answers."""
        async with self.transaction(timeout_ms=2_000) as connection:
            await connection.execute(sa.text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def driver_url(url: str) -> sa.URL:
    """A ``postgresql://`` URL as SQLAlchemy and asyncpg want it; libpq's ``sslmode`` is understood.

    Raises
    ------
    NotConfiguredError
        It is no URL, or has an option that asyncpg does not know. The message does not repeat it: it holds a password.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise NotConfiguredError(f"MEDIA_GATEWAY_DATABASE_URL: not a URL; example: {EXAMPLE_URL}") from None
    unknown = sorted(parsed.query.keys() - URL_OPTIONS)
    if unknown:
        known = ", ".join(sorted(URL_OPTIONS))
        raise NotConfiguredError(
            f"MEDIA_GATEWAY_DATABASE_URL: unknown option {unknown[0]!r} (known: {known}); example: {EXAMPLE_URL}"
        )
    return for_asyncpg(parsed)


def for_asyncpg(url: sa.URL) -> sa.URL:
    """A parsed URL with asyncpg as its driver and libpq's ``sslmode`` under asyncpg's name."""
    query = {"ssl" if name == "sslmode" else name: value for name, value in url.query.items()}
    return url.set(drivername="postgresql+asyncpg", query=query)


def name_failed_connections(engine: AsyncEngine) -> None:
    """Let a connection that can't be made say which server it was for, without user and password."""
    host = engine.url.host or engine.url.query.get("host", "localhost")
    where = f"{host}:{engine.url.port or 5432}"

    def connect(dialect: sa.Dialect, _record: Any, arguments: Any, options: Any) -> Any:
        try:
            return dialect.connect(*arguments, **options)
        except OSError as error:
            raise UnavailableError(
                f"the database at {where} can't be reached: {why_unreachable(error)}"
            ) from error

    sa.event.listen(engine.sync_engine, "do_connect", connect)


def _check_idle_connections(engine: AsyncEngine) -> None:
    """Ask a connection that lay idle whether it is alive before it is used again.

    A server restart leaves dead ones in the pool. SQLAlchemy's own check asks at every checkout, which costs three round
    trips and, in transactions of a few rows, a tenth of the time; one that dies while in constant use gives
    `UnavailableError` once instead.
    """

    def note(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[_IDLE_SINCE] = time.monotonic()

    def check(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        since = record.info.get(_IDLE_SINCE)
        if since is None or time.monotonic() - since < CHECK_AFTER_IDLE_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except (engine.dialect.loaded_dbapi.Error, OSError) as error:
            raise DisconnectionError("the connection died while it lay idle") from error

    sa.event.listen(engine.sync_engine, "checkin", note)
    sa.event.listen(engine.sync_engine, "checkout", check)


@contextmanager
def translated() -> Iterator[None]:
    """Turn driver exceptions into ours."""
    try:
        yield
    except PoolTimeout as error:
        raise UnavailableError("no database connection became free in time") from error
    except IntegrityError as error:
        raise ConflictError(f"the database refused the change: {_constraint(error)}") from error
    except DBAPIError as error:
        raise _translate(error) from error
    except (ConnectionError, TimeoutError, OSError) as error:
        raise UnavailableError(f"the database can't be reached: {why_unreachable(error)}") from error


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _constraint(error: DBAPIError) -> str:
    # The driver's own error stands behind SQLAlchemy's, or is it, if the statement went past SQLAlchemy.
    causes = (error.orig, getattr(error.orig, "__cause__", None))
    names = (getattr(cause, "constraint_name", None) for cause in causes)
    return str(next(filter(None, names), None) or _state(error) or "integrity")


def _translate(error: DBAPIError) -> MediaGatewayError:  # noqa: PLR0911 - one answer a class of SQLSTATEs
    state = _state(error)
    if state == "57014":
        return DeadlineExceededError("a database statement took too long")
    if state in REFUSED_LOGINS:
        return NotConfiguredError(
            f"MEDIA_GATEWAY_DATABASE_URL: {REFUSED_LOGINS[state]}; example: {EXAMPLE_URL}"
        )
    if state in RETRYABLE_STATES:
        return UnavailableError("the database asked to repeat the transaction")
    if state[:2] in UNAVAILABLE_CLASSES or error.connection_invalidated or isinstance(error, InterfaceError):
        return UnavailableError("the database connection broke")
    if state.startswith("22") or isinstance(error, DataError):
        return InvalidInputError("a value does not fit the database column")
    if isinstance(error, OperationalError) and not state:
        return UnavailableError("the database can't be reached")
    return MediaGatewayError("the database refused a statement")
