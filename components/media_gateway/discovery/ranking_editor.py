"""Changes of the ranking configuration by administrators, each a new version with its author and reason.

Called by the admin routes. A change is made from the version its author has seen; if another one is in force by now, it
is refused, and nothing is lost.
"""

from dataclasses import dataclass

from media_gateway.core.errors import (
    ConflictError,
    FieldError,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
)
from media_gateway.discovery.ranking import (
    BUILT_IN,
    MAX_VARIANTS,
    READ_ONLY,
    Ranking,
    RankingChange,
    RankingVersion,
    Variant,
)
from media_gateway.discovery.ranking_book import RankingBook
from media_gateway.discovery.store.ranking import RankingStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Who changes something, and what they have seen of it.

    Attributes
    ----------
    seen : frozenset of str | None
        Numbers of versions the change is meant for; None means any.
    """

    author: str
    comment: str
    seen: frozenset[str] | None


class RankingEditor:
    """Reads and writes versions. Every method raises `UnavailableError` while Postgres is away.

    Parameters
    ----------
    book
        Learns at once of the changes made here.
    """

    def __init__(self, store: RankingStore, book: RankingBook) -> None:
        self._store = store
        self._book = book

    async def newest(self) -> RankingVersion | None:
        """The version in force, None while nothing is stored.

        Raises
        ------
        ConflictError
            A later release has written it.
        """
        return await self._store.newest()

    async def version(self, number: int) -> RankingVersion:
        """One version.

        Raises
        ------
        NotFoundError
            There is no such version.
        """
        return await self._store.get(number)

    async def history(self, *, before: int | None, limit: int) -> list[RankingChange]:
        """Changes before a version, newest first."""
        return await self._store.page(before=before, limit=limit)

    async def replace(self, ranking: Ranking, intent: Intent) -> RankingVersion:
        """Store a whole document.

        Raises
        ------
        InvalidInputError
            A variant has the name of a built-in one.
        PreconditionFailedError
            The author has not seen the version in force.
        """
        for name in ranking.variants:
            _demand_own(name, f"variants.{name}")
        number = await self._store.newest_number()
        _demand_seen(number, intent)
        return await self._append(number + 1, ranking, intent)

    async def restore(self, number: int, intent: Intent) -> RankingVersion:
        """Store the document of an older version again.

        Raises
        ------
        NotFoundError
            There is no such version.
        PreconditionFailedError
            As `replace`.
        """
        old = await self._store.get(number)
        newest = await self._store.newest_number()
        _demand_seen(newest, intent)
        return await self._append(newest + 1, old.ranking, intent)

    async def put_variant(self, name: str, variant: Variant, intent: Intent) -> tuple[RankingVersion, bool]:
        """Store one variant, and tell whether it is new.

        Raises
        ------
        InvalidInputError
            The name is that of a built-in variant.
        ConflictError
            There are as many variants as there may be.
        PreconditionFailedError
            As `replace`.
        """
        _demand_own(name, "name")
        number, ranking = await self._base(intent)
        is_new = name not in ranking.variants
        if is_new and len(ranking.variants) >= MAX_VARIANTS:
            raise ConflictError(f"there are {MAX_VARIANTS} variants already; delete one first")
        changed = ranking.model_copy(update={"variants": {**ranking.variants, name: variant}})
        return await self._append(number + 1, changed, intent), is_new

    async def delete_variant(self, name: str, intent: Intent) -> RankingVersion:
        """Take one variant out.

        Raises
        ------
        InvalidInputError
            The name is that of a built-in variant.
        NotFoundError
            There is no such variant.
        ConflictError
            It is the default.
        PreconditionFailedError
            As `replace`.
        """
        _demand_own(name, "name")
        number, ranking = await self._base(intent)
        if name not in ranking.variants:
            raise NotFoundError(f"there is no variant {name!r}")
        if name == ranking.default_variant:
            raise ConflictError(f"{name!r} is the default variant; choose another default first")
        left = {known: variant for known, variant in ranking.variants.items() if known != name}
        return await self._append(number + 1, ranking.model_copy(update={"variants": left}), intent)

    async def _base(self, intent: Intent) -> tuple[int, Ranking]:
        newest = await self._store.newest()
        number, ranking = (newest.number, newest.ranking) if newest else (0, Ranking())
        _demand_seen(number, intent)
        return number, ranking

    async def _append(self, number: int, ranking: Ranking, intent: Intent) -> RankingVersion:
        stored = await self._store.append(number, ranking, author=intent.author, comment=intent.comment)
        self._book.advance(stored)
        return stored


def _demand_seen(number: int, intent: Intent) -> None:
    if intent.seen is not None and str(number) not in intent.seen:
        raise PreconditionFailedError(
            f"the ranking configuration is at version {number} by now; read it again and repeat the change"
        )


def _demand_own(name: str, field: str) -> None:
    if name in BUILT_IN:
        raise InvalidInputError(f"{field}: {READ_ONLY}", errors=[FieldError(field, READ_ONLY)])
