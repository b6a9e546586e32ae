"""What search analytics have left in the database, for tests."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from media_gateway.core.adapters.postgres import Database
from media_gateway.discovery.search_events import Searcher, SearchEvent

_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"


async def rows(database: Database, statement: str, **values: Any) -> Sequence[Any]:
    """Rows of a statement."""
    async with database.transaction() as connection:
        return (await connection.execute(sa.text(statement), values)).all()


async def count(database: Database, table: str) -> int:
    """Rows of a table."""
    ((number,),) = await rows(database, f"SELECT count(*) FROM {table}")
    return int(number)


async def tables_with(database: Database, text: str) -> list[str]:
    """Tables in which any column of any row holds a text, in any case, as text or as bytes."""
    found = []
    values = {"text": f"%{text}%", "bytes": f"%{text.encode().hex()}%"}
    for (table,) in await rows(database, _TABLES):
        statement = f'SELECT 1 FROM "{table}" t WHERE t::text ILIKE :text OR t::text ILIKE :bytes LIMIT 1'
        if await rows(database, statement, **values):
            found.append(table)
    return found


async def is_relayed(database: Database) -> bool:
    """Whether the outbox is empty."""
    return not await count(database, "outbox")


def searched(query: str, subject: str | None = None, **facts: Any) -> SearchEvent:
    """A search with one result on its page."""
    values: dict[str, Any] = {"variant": "default", "result_count": 1, "shown": 1, "latency_ms": 1.0} | facts
    return SearchEvent(query=query, searcher=Searcher(subject=subject, client="tests"), **values)
