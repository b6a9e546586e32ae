"""Rows of an SQL database, streamed from one ordered query; reading continues behind the last row's place in the order.

A Full run is ordered by the key column. An Incremental run is ordered by cursor field and key, so that a row that is
changed while the run is interrupted comes again later and is not missed; rows without a cursor come first, to be refused.
PostgreSQL is read through asyncpg, everything else through its synchronous SQLAlchemy driver in a thread.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from media_gateway.core.adapters.postgres import for_asyncpg
from media_gateway.core.domain.specs import DatabaseSource, SourceSpec
from media_gateway.core.errors import FieldError, InvalidInputError, NotConfiguredError, UnavailableError
from media_gateway.ingestion.formats import Parsed, UnreadableError
from media_gateway.ingestion.formats.plain_values import plain_record, plain_value
from media_gateway.ingestion.sources.file_root import FileRoot
from media_gateway.ingestion.sources.items import BadItem, SourceItem, excerpt
from media_gateway.ingestion.sources.reading import Admission, in_thread, read_checkpoint, write_checkpoint
from media_gateway.ingestion.sources.secret_values import Secrets
from media_gateway.ingestion.sources.sqlite_file import SqliteFile

POSTGRES = frozenset({"postgresql", "postgres"})
SERVERS = POSTGRES | {"mysql", "mariadb", "mssql", "oracle"}
"""Databases that are no files; only these, and SQLite files of the allowed folder, are open to jobs from others."""

Row = Mapping[str, Any]
Parameters = dict[str, Any]


class RowsSource:
    """Reads the rows of a table or query."""

    def __init__(
        self, spec: SourceSpec, secrets: Secrets, cursor_field: str | None, root: FileRoot | None = None
    ) -> None:
        assert spec.database is not None
        self._database: DatabaseSource = spec.database
        ref = spec.database.dsn_secret_ref
        text = secrets.value(ref) if ref is not None else spec.database.url or ""
        try:
            self._url = sa.make_url(text)
        except ArgumentError:
            # The text may be the secret; it is not repeated.
            raise NotConfiguredError("spec.source.database: the address is no SQLAlchemy URL") from None
        self._file = _file_of(self._url, "url" if ref is None else "dsnSecretRef", root)
        self._cursor_field = cursor_field
        self._read = 0

    @property
    def units_read(self) -> int:
        """Rows read."""
        return self._read

    async def estimate(self) -> int | None:
        """Rows of the table or query."""
        # The manifest's author writes the query, as the author of the job; it runs with the rights of its address.
        statement = f"SELECT count(*) AS n FROM {self._relation()}"  # noqa: S608
        rows = [row async for batch in self._rows(statement, {}) for row in batch]
        return int(rows[0]["n"])

    async def read(self, checkpoint: str | None, cursor: str | None) -> AsyncGenerator[SourceItem]:
        """Rows after the checkpoint, or after the cursor."""
        place = read_checkpoint(checkpoint, "key", "read")
        self._read = 0 if place is None else place["read"]
        admission = Admission(self._cursor_field, cursor)
        kinds = await self._kinds()
        passes = [_by_key] if self._cursor_field is None else [_without_cursor, _by_cursor]
        for order in passes:
            question = order(self._names(), place, cursor, kinds)
            if question is None:
                continue
            where, parameters, columns = question
            ordered = ", ".join(columns)
            statement = f"SELECT * FROM {self._relation()} WHERE {where} ORDER BY {ordered}"  # noqa: S608 - see above
            async with aclosing(self._rows(statement, parameters)) as batches:
                async for batch in batches:
                    for row in batch:
                        self._read += 1
                        item = self._item(row, admission)
                        if item is not None:
                            yield item

    def _item(self, row: Row, admission: Admission) -> SourceItem | None:
        # SQLite takes a quoted name that is no column for a text; the row's own names tell.
        for name in filter(None, (self._database.key_column, self._cursor_field)):
            if name not in row:
                raise InvalidInputError(f"spec.source.database: the rows have no column {name!r}")
        place: dict[str, Any] = {"key": plain_value(row[self._database.key_column]), "read": self._read}
        if self._cursor_field is not None:
            place["cursor"] = plain_value(row[self._cursor_field])
        checkpoint = write_checkpoint(**place)
        try:
            payload = plain_record(dict(row))
        except UnreadableError as error:
            return BadItem(
                f"row with key {place['key']}: {error}", None, None, excerpt(dict(row)), checkpoint
            )
        return admission.item(Parsed(payload, None, (0, 0)), checkpoint)

    def _relation(self) -> str:
        if self._database.table is not None:
            return ".".join(map(self._quoted, self._database.table.split(".")))
        return f"({str(self._database.query).rstrip().rstrip(';')}) AS source"

    def _quoted(self, name: str) -> str:
        backend = self._url.get_backend_name()
        with _told():
            url = self._url.set(drivername="postgresql") if backend in POSTGRES else self._url
            dialect = url.get_dialect()()
        return str(dialect.identifier_preparer.quote_identifier(name))

    def _names(self) -> tuple[str, str]:
        """Key column and cursor column (the key again, if there is none), quoted."""
        key = self._database.key_column
        return self._quoted(key), self._quoted(self._cursor_field or key)

    async def _kinds(self) -> tuple[type, type]:
        """Python types of the key and cursor columns: what is compared with them must be of the same kind."""
        found: list[type] = []
        for name in self._names():
            statement = f"SELECT {name} AS v FROM {self._relation()} WHERE {name} IS NOT NULL LIMIT 1"  # noqa: S608 - see above
            rows = [row async for batch in self._rows(statement, {}) for row in batch]
            found.append(type(rows[0]["v"]) if rows else str)
        return found[0], found[1]

    async def _rows(self, statement: str, parameters: Parameters) -> AsyncGenerator[list[Row]]:
        # A colon in the author's query (a cast, a JSON path) is no parameter of ours.
        text = sa.text(statement.replace(":", r"\:").replace(r"\:mgw_", ":mgw_")).bindparams(
            *(_bound(name, value) for name, value in parameters.items())
        )
        if self._url.get_backend_name() in POSTGRES:
            async with aclosing(self._streamed(text)) as batches:
                async for batch in batches:
                    yield batch
        else:
            async with in_thread(lambda: self._blocking(text)) as batches:
                async for batch in batches:
                    yield batch

    async def _streamed(self, text: sa.TextClause) -> AsyncGenerator[list[Row]]:
        size = self._database.fetch_size
        engine = self._async_engine()
        try:
            with _told():
                async with engine.connect() as connection:
                    result = await connection.stream(text, execution_options={"yield_per": size})
                    async for rows in result.mappings().partitions(size):
                        yield [dict(row) for row in rows]
        finally:
            await engine.dispose()

    def _async_engine(self) -> AsyncEngine:
        timeout = self._database.timeout_seconds
        return create_async_engine(
            for_asyncpg(self._url),
            poolclass=sa.NullPool,
            connect_args={"timeout": min(timeout, 60), "command_timeout": timeout},
        )

    def _engine(self) -> sa.Engine:
        if self._file is None:
            return sa.create_engine(self._url, poolclass=sa.NullPool)
        connect = partial(self._file.connect, self._database.timeout_seconds)
        return sa.create_engine("sqlite://", poolclass=sa.NullPool, creator=connect)

    def _blocking(self, text: sa.TextClause) -> Iterator[Row]:
        with _told():
            engine = self._engine()
            options = {"yield_per": self._database.fetch_size}
            with (
                engine.connect() as connection,
                connection.execute(text, execution_options=options) as result,
            ):
                yield from map(dict, result.mappings())


def _file_of(url: sa.URL, name: str, root: FileRoot | None) -> SqliteFile | None:
    """The file behind an address of SQLite; None for a server's."""
    field = f"spec.source.database.{name}"
    if url.get_backend_name() == "sqlite":
        return SqliteFile(url, field, root)
    if root is not None and url.get_backend_name() not in SERVERS:
        message = f"must be the address of a server ({', '.join(sorted(SERVERS))}) or of a SQLite file"
        raise InvalidInputError(f"{field}: {message}", errors=[FieldError(field, message)])
    return None


Question = tuple[str, Parameters, list[str]]
"""Condition, its parameters, columns of the order."""


def _by_key(
    names: tuple[str, str], place: Row | None, cursor: str | None, kinds: tuple[type, type]
) -> Question:
    del cursor
    key, _ = names
    if place is None:
        return "1 = 1", {}, [key]
    return f"{key} > :mgw_key", {"mgw_key": _converted(place["key"], kinds[0])}, [key]


def _without_cursor(
    names: tuple[str, str], place: Row | None, cursor: str | None, kinds: tuple[type, type]
) -> Question | None:
    del cursor
    _, column = names
    if place is not None and place.get("cursor") is not None:
        return None
    where, parameters, order = _by_key(names, place, None, kinds)
    return f"{column} IS NULL AND {where}", parameters, order


def _by_cursor(
    names: tuple[str, str], place: Row | None, cursor: str | None, kinds: tuple[type, type]
) -> Question:
    key, column = names
    if place is not None and place.get("cursor") is not None:
        parameters = {
            "mgw_cursor": _converted(place["cursor"], kinds[1]),
            "mgw_key": _converted(place["key"], kinds[0]),
        }
        behind = f"({column} > :mgw_cursor OR ({column} = :mgw_cursor AND {key} > :mgw_key))"
        return behind, parameters, [column, key]
    if cursor is not None:
        return f"{column} > :mgw_cursor", {"mgw_cursor": _converted(cursor, kinds[1])}, [column, key]
    return f"{column} IS NOT NULL", {}, [column, key]


_CONVERTERS: dict[type, Callable[[str], Any]] = {
    int: int,
    float: float,
    Decimal: Decimal,
    UUID: UUID,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    str: str,
}


def _bound(name: str, value: Any) -> sa.BindParameter[Any]:
    if isinstance(value, datetime):
        # Left to itself SQLAlchemy takes every moment for one without a zone.
        return sa.bindparam(name, value, type_=sa.DateTime(timezone=value.tzinfo is not None))
    return sa.bindparam(name, value)


def _converted(value: Any, kind: type) -> Any:
    """A checkpoint's or cursor's value as the column's own type; drivers compare nothing else."""
    try:
        # Drivers have types of their own below these (asyncpg's UUID).
        known = next(base for base in kind.__mro__ if base in _CONVERTERS)
        return _CONVERTERS[known](str(value))
    except (StopIteration, ValueError, ArithmeticError):
        raise InvalidInputError(
            f"the stored place {str(value)[:80]!r} does not fit the column's type {kind.__name__}"
        ) from None


@contextmanager
def _told() -> Iterator[None]:
    """Turn driver exceptions into ours; never with the address, which holds the password."""
    try:
        yield
    except NoSuchModuleError as error:
        raise NotConfiguredError("spec.source.database: no driver for this kind of address") from error
    except DBAPIError as error:
        raise _translated(error) from error
    except SQLAlchemyError as error:
        raise InvalidInputError(f"spec.source.database: {type(error).__name__}") from error
    except (ConnectionError, TimeoutError, OSError) as error:
        raise UnavailableError(f"the source's database can't be reached: {type(error).__name__}") from error
    except ModuleNotFoundError as error:
        raise NotConfiguredError(f"spec.source.database: the driver {error.name} is not installed") from error


def _translated(error: DBAPIError) -> Exception:
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if error.connection_invalidated or state[:2] in {"08", "53", "57", "58"} or state == "40001":
        return UnavailableError("the source's database broke off or refuses for now")
    reason = (
        str(error.orig).splitlines()[0].rpartition(">: ")[2][:300] if error.orig else type(error).__name__
    )
    if "locked" in reason or "unable to open" in reason:
        return UnavailableError(f"the source's database can't be read now: {reason}")
    return InvalidInputError(f"spec.source.database: {reason}")
