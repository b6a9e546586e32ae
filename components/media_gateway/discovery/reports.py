"""Reports for administrators: how searches went, and how complete the catalogue is that they search.

Called by the admin routes. Rates are 0 to 1, and None where there was nothing to count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from media_gateway.core.errors import FieldError, InvalidInputError
from media_gateway.discovery.store.reports import (
    Completeness,
    PositionCounts,
    QueryCounts,
    ReportStore,
    SearchCounts,
    Window,
)

ANALYTICS_SPAN = timedelta(days=1)
"""Window of the analytics unless another one is asked for."""

QUALITY_SPAN = timedelta(days=7)
"""Window of the quality report's searches unless another one is asked for: every day of the week counts once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchReport:
    """How the searches of a window went.

    Attributes
    ----------
    total : SearchCounts
        All searches.
    variants : tuple of SearchCounts
        The same by ranking variant.
    top, top_zero_results : tuple of QueryCounts
        Popular queries, and those that found nothing.
    """

    window: Window
    total: SearchCounts
    variants: tuple[SearchCounts, ...]
    top: tuple[QueryCounts, ...]
    top_zero_results: tuple[QueryCounts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """What the catalogue lacks, and what its searchers meet."""

    window: Window
    completeness: Completeness
    total: SearchCounts
    positions: tuple[PositionCounts, ...]


class SearchReports:
    """Makes the reports; every method raises `UnavailableError` or `DeadlineExceededError` as `Database` does."""

    def __init__(self, store: ReportStore) -> None:
        self._store = store

    async def analytics(self, since: datetime | None, until: datetime | None, *, limit: int) -> SearchReport:
        """How the searches of a window (by default `ANALYTICS_SPAN` up to now) went.

        Raises
        ------
        InvalidInputError
            The window ends before it begins.
        """
        window = _window(since, until, ANALYTICS_SPAN)
        async with self._store.snapshot() as found:
            counts = await found.counts(window)
            top = await found.top_queries(window, limit=limit)
            top_zero_results = await found.top_queries(window, limit=limit, zero_results_only=True)
        return SearchReport(
            window=window,
            total=_total(counts),
            variants=tuple(part for part in counts if part.variant is not None),
            top=tuple(top),
            top_zero_results=tuple(top_zero_results),
        )

    async def quality(self, since: datetime | None, until: datetime | None) -> QualityReport:
        """What the catalogue lacks now, and how the searches of a window (by default `QUALITY_SPAN` up to now) went.

        Raises
        ------
        InvalidInputError
            The window ends before it begins.
        """
        window = _window(since, until, QUALITY_SPAN)
        async with self._store.snapshot() as found:
            return QualityReport(
                window=window,
                completeness=await found.completeness(),
                total=_total(await found.counts(window)),
                positions=tuple(await found.by_position(window)),
            )


def rate(part: int, whole: int) -> float | None:
    """A share, to four digits; None of nothing."""
    return round(part / whole, 4) if whole else None


def _total(counts: Sequence[SearchCounts]) -> SearchCounts:
    # The grouping that holds everything is there also without a single search.
    return next(part for part in counts if part.variant is None)


def _window(since: datetime | None, until: datetime | None, span: timedelta) -> Window:
    end = until or datetime.now(UTC)
    begin = since or end - span
    if begin >= end:
        message = f"must be before the end of the window ({end.isoformat()})"
        raise InvalidInputError(f"from: {message}", errors=[FieldError("from", message)])
    return Window(begin, end)
