"""SQL of the ranking configuration: one row a version, never changed. `RankingBook` reads it, `RankingEditor` adds to it."""

from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa
from pydantic import ValidationError

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import ConflictError, NotFoundError, PreconditionFailedError
from media_gateway.discovery.ranking import Ranking, RankingChange, RankingVersion

READ_TIMEOUT_MS = 2_000
"""Longest a reading of the newest version may take, in milliseconds: it is asked for every second."""

_CHANGE = "version AS number, author, comment, created_at"
_COLUMNS = f"{_CHANGE}, document"
_NUMBER = sa.text("SELECT coalesce(max(version), 0) FROM ranking_versions")
_NEWEST = sa.text(f"SELECT {_COLUMNS} FROM ranking_versions ORDER BY version DESC LIMIT 1")  # noqa: S608
_GET = sa.text(f"SELECT {_COLUMNS} FROM ranking_versions WHERE version = :version")  # noqa: S608
_PAGE = sa.text(
    f"SELECT {_CHANGE} FROM ranking_versions "  # noqa: S608
    "WHERE (CAST(:before AS bigint) IS NULL OR version < :before) ORDER BY version DESC LIMIT :limit"
)
_APPEND = sa.text(
    "INSERT INTO ranking_versions (version, document, author, comment) "  # noqa: S608
    f"VALUES (:version, CAST(:document AS jsonb), :author, :comment) RETURNING {_COLUMNS}"
)


class UnreadableRankingError(ConflictError):
    """A stored version does not fit the models of this release: a later one wrote it."""


class RankingStore:
    """The versions; every method raises `UnavailableError` or `DeadlineExceededError` as `Database` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self) -> RankingVersion | None:
        """The version in force, None if none was ever stored.

        Raises
        ------
        UnreadableRankingError
            It can't be understood.
        """
        async with self._database.transaction(timeout_ms=READ_TIMEOUT_MS) as connection:
            row = (await connection.execute(_NEWEST)).mappings().one_or_none()
        return None if row is None else _version(row)

    async def get(self, number: int) -> RankingVersion:
        """One version.

        Raises
        ------
        NotFoundError
            There is no such version.
        UnreadableRankingError
            It can't be understood.
        """
        async with self._database.transaction() as connection:
            row = (await connection.execute(_GET, {"version": number})).mappings().one_or_none()
        if row is None:
            raise NotFoundError(f"there is no version {number} of the ranking configuration")
        return _version(row)

    async def newest_number(self) -> int:
        """Number of the version in force, 0 if none was ever stored; also of one that can't be understood."""
        async with self._database.transaction() as connection:
            return int((await connection.execute(_NUMBER)).scalar_one())

    async def page(self, *, before: int | None, limit: int) -> list[RankingChange]:
        """Who changed it when and why, for versions older than ``before``, newest first."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_PAGE, {"before": before, "limit": limit})).mappings().all()
        return [RankingChange(**row) for row in rows]

    async def append(self, number: int, ranking: Ranking, *, author: str, comment: str) -> RankingVersion:
        """Store a version under the number that follows the one it was made from.

        Raises
        ------
        PreconditionFailedError
            Somebody else has stored that number: the change was made from a state that is past.
        """
        document = orjson.dumps(ranking.model_dump(mode="json")).decode()
        values = {"version": number, "document": document, "author": author, "comment": comment}
        try:
            async with self._database.transaction() as connection:
                row = (await connection.execute(_APPEND, values)).mappings().one()
        except ConflictError as error:
            raise PreconditionFailedError(
                f"the ranking configuration was changed in the meantime: version {number} is there already"
            ) from error
        return _version(row)


def _version(row: Mapping[Any, Any]) -> RankingVersion:
    facts = dict(row)
    document = facts.pop("document")
    try:
        # The driver gives JSON as text.
        ranking = Ranking.model_validate(orjson.loads(document) if isinstance(document, str) else document)
    except ValidationError as error:
        raise UnreadableRankingError(
            f"version {facts['number']} of the ranking configuration can't be understood by this release"
        ) from error
    return RankingVersion(ranking=ranking, **facts)
