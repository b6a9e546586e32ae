"""SQL sources on PostgreSQL and SQLite: order, incremental reads, and values that JSON does not have."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import InvalidInputError, NotConfiguredError, UnavailableError
from media_gateway.ingestion.sources import BadItem, RawRecord, Source, later
from tests.support.ingestion_sources import read_all, source_of, write_database

SECRET = {"name": "films", "key": "dsn"}


@pytest.fixture
async def films_url(database: Database, database_url: str) -> str:
    async with database.transaction() as connection:
        await connection.execute(sa.text("CREATE TABLE films (id uuid PRIMARY KEY, title text, price numeric(8,2),"
            " changed timestamptz, facts jsonb, made date, data bytea)"))  # fmt: skip
        await connection.execute(
            sa.text(
                "INSERT INTO films SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'Film ' || n,"
                " n + 0.29, CASE WHEN n % 10 = 0 THEN NULL ELSE timestamptz '2026-01-01T00:00:00Z' + (n / 2) * interval '1 s' END,"
                " jsonb_build_object('n', n), date '2026-01-01', 'text'::bytea FROM generate_series(1, 40) AS n"
            )
        )
    return database_url


def postgres(url: str, *, field: str | None = None, **more: object) -> Source:
    spec = {"dsnSecretRef": SECRET, "table": "films", "fetchSize": 7, **more}
    if "query" in more:
        del spec["table"]
    return source_of(
        {"type": "Database", "database": spec},
        secrets={"MEDIA_GATEWAY_SECRET_FILMS_DSN": url},
        cursor_field=field,
    )


async def test_postgres_rows_keep_every_digit_and_continue_after_any(films_url: str) -> None:
    source = postgres(films_url)
    items = await read_all(source)
    assert len(items) == await source.estimate() == source.units_read == 40
    first = items[0]
    assert isinstance(first, RawRecord)
    assert first.payload["price"] == "1.29"
    assert first.payload["made"] == "2026-01-01"
    assert first.payload["data"] == "text"
    assert first.payload["changed"].startswith("2026-01-01T00:00:00")
    for index in (0, 6, 7, 20, 39):
        assert await read_all(source, items[index].checkpoint) == items[index + 1 :]


async def test_an_incremental_read_is_in_the_order_of_the_cursor_and_misses_nothing(films_url: str) -> None:
    source = postgres(films_url, field="changed")
    items = await read_all(source)
    assert len(items) == 40
    # Rows without a cursor come first, refused.
    assert [item.field for item in items[:4] if isinstance(item, BadItem)] == ["changed"] * 4
    known = [str(item.cursor) for item in items if isinstance(item, RawRecord)]
    assert len(known) == 36
    assert known == sorted(known)
    for index in (0, 3, 4, 5, 6, 22, 39):
        assert await read_all(source, items[index].checkpoint) == items[index + 1 :]
    cursor = None
    for item in items[:24]:
        cursor = later(cursor, item.cursor if isinstance(item, RawRecord) else None)
    newer = await read_all(source, None, cursor)
    assert [isinstance(item, BadItem) for item in newer[:5]] == [True] * 4 + [False]
    assert {item.payload["id"] for item in newer if isinstance(item, RawRecord)} == {
        item.payload["id"] for item in items if isinstance(item, RawRecord) and str(item.cursor) > str(cursor)
    }
    for index in (2, 3, 7):
        assert await read_all(source, newer[index].checkpoint, cursor) == newer[index + 1 :]


async def test_a_query_with_casts_and_json_paths_is_taken_as_it_is(films_url: str) -> None:
    query = "SELECT id, title::varchar AS name, facts->>'n' AS n, ':mine' AS text FROM films WHERE id::text LIKE '%1'; "
    items = await read_all(postgres(films_url, query=query))
    assert [item.payload["n"] for item in items if isinstance(item, RawRecord)] == ["1", "11", "21", "31"]
    assert isinstance(items[0], RawRecord)
    assert items[0].payload["text"] == ":mine"


async def test_what_is_wrong_with_the_query_is_told_without_the_password(
    films_url: str, free_port: int
) -> None:
    with pytest.raises(InvalidInputError, match="nowhere") as caught:
        await read_all(postgres(films_url, table="nowhere"))
    assert "postgresql://" not in str(caught.value)
    with pytest.raises(InvalidInputError, match="idd"):
        await read_all(postgres(films_url, keyColumn="idd"))
    with pytest.raises(UnavailableError):
        await read_all(postgres(f"postgresql://me:s3cret@127.0.0.1:{free_port}/films"))
    with pytest.raises(NotConfiguredError) as hidden:
        postgres("s3cret")
    assert "s3cret" not in str(hidden.value)
    with pytest.raises(NotConfiguredError, match="driver"):
        await read_all(postgres("oracle://me:s3cret@127.0.0.1/films"))
    with pytest.raises(InvalidInputError, match="does not fit"):
        await read_all(postgres(films_url, field="changed"), None, "yesterday")


def sqlite(url: str, *, field: str | None = None, **more: object) -> Source:
    return source_of(
        {"type": "Database", "database": {"url": url, "table": "films", **more}}, cursor_field=field
    )


async def test_sqlite_takes_no_misspelt_column_for_a_text(tmp_path: Path) -> None:
    url = write_database(tmp_path / "films.db")
    with pytest.raises(InvalidInputError, match="no column 'idd'"):
        await read_all(sqlite(url, keyColumn="idd"))
    with pytest.raises(InvalidInputError, match="no column 'changd'"):
        await read_all(sqlite(url, field="changd"))
    with pytest.raises(InvalidInputError, match="no such table"):
        await read_all(sqlite(url, table="nowhere"))


async def test_a_sqlite_file_is_neither_made_nor_written(tmp_path: Path) -> None:
    write_database(tmp_path / "films.db")
    (tmp_path / "films.db").chmod(0o400)
    before = (tmp_path / "films.db").read_bytes()
    for url in (f"sqlite:///{tmp_path}/films.db", f"sqlite:///file:{tmp_path}/films.db?mode=rwc&uri=true"):
        assert len(await read_all(sqlite(url))) == 30
    assert (tmp_path / "films.db").read_bytes() == before
    with pytest.raises(InvalidInputError, match=r"spec\.source\.database\.url: there is no file none\.db"):
        await read_all(sqlite(f"sqlite:///{tmp_path}/none.db"))
    assert not (tmp_path / "none.db").exists()
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(InvalidInputError, match="no SQLite file"):
            sqlite(url)


async def test_a_row_with_bytes_that_are_no_text_is_bad_and_the_others_are_read(tmp_path: Path) -> None:
    url = write_database(tmp_path / "films.db")
    with sqlite3.connect(tmp_path / "films.db") as connection:
        connection.execute("UPDATE films SET title = x'ff00fe' WHERE id = 7")
    connection.close()
    items = await read_all(sqlite(url))
    (bad,) = (item for item in items if isinstance(item, BadItem))
    assert bad.reason.startswith("row with key 7: column title:")
    assert bad.excerpt.startswith('{"id":7,"title":"\ufffd')
    assert len(items) == 30
