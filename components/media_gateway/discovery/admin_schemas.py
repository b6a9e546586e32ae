"""Wire models of discovery's admin routes: ranking configuration and reports. New members may be added to answers."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, Field

from media_gateway.core.web import Wire
from media_gateway.discovery.ranking import (
    BUILT_IN,
    InForce,
    Ranking,
    RankingChange,
    RankingVersion,
    Variant,
    VariantName,
)
from media_gateway.discovery.reports import QualityReport, SearchReport, rate
from media_gateway.discovery.store.analytics import MIN_SEARCHERS
from media_gateway.discovery.store.reports import PositionCounts, QueryCounts, SearchCounts

FIRST_DAY, LAST_DAY = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""Bounds of a report's window: nothing was searched before the one, and arithmetic is safe up to the other."""


def _in_bounds(moment: datetime) -> datetime:
    if not FIRST_DAY <= moment <= LAST_DAY:
        raise ValueError(f"must be between {FIRST_DAY:%Y-%m-%d} and {LAST_DAY:%Y-%m-%d}")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_bounds)]
Rate = Annotated[float | None, Field(description="0 to 1; null if there was nothing to count.")]


class VariantPath(Wire):
    """Which variant."""

    name: VariantName


class VersionPath(Wire):
    """Which version."""

    version: int = Field(ge=1, description="Number of a stored version.")


class ChangeQuery(Wire):
    """Why something is changed."""

    comment: str = Field(default="", max_length=500, description="Kept in the history.")


class HistoryQuery(Wire):
    """Which part of the history."""

    limit: int = Field(default=20, ge=1, le=100, description="Changes on a page.")
    before: int | None = Field(
        default=None, ge=1, description="Changes older than this version: `next_before` of the page before."
    )


class ChangeView(Wire):
    """Who stored a version, when and why."""

    version: int
    author: str = Field(description="Subject of the token that it was stored with.")
    comment: str
    created_at: datetime

    @classmethod
    def from_domain(cls, change: RankingChange) -> Self:
        """A change as it is shown."""
        return cls(
            version=change.number,
            author=change.author,
            comment=change.comment,
            created_at=change.created_at,
        )


class RankingView(Wire):
    """A version of the ranking configuration; its number is also its `ETag`."""

    version: int = Field(ge=0, description="0 while nothing was ever stored.")
    change: ChangeView | None = Field(description="Null while nothing was ever stored.")
    ranking: Ranking = Field(description="The document, as `PUT` takes it.")

    @classmethod
    def from_domain(cls, stored: RankingVersion | None) -> Self:
        """A stored version, or the built-in configuration."""
        if stored is None:
            return cls(version=0, change=None, ranking=Ranking())
        return cls(version=stored.number, change=ChangeView.from_domain(stored), ranking=stored.ranking)


class VariantView(Wire):
    """A variant."""

    name: str
    built_in: bool = Field(description="Always there, and not to be changed.")
    is_default: bool = Field(description="Used for requests that name no variant.")
    settings: Variant

    @classmethod
    def from_domain(cls, configuration: InForce, name: str | None) -> Self:
        """One variant of a configuration."""
        found = configuration.variant(name)
        return cls(
            name=found.name,
            built_in=found.name in BUILT_IN,
            is_default=found.name == configuration.ranking.default_variant,
            settings=found.settings,
        )


class VariantList(Wire):
    """All variants, by name."""

    version: int = Field(ge=0, description="Of the ranking configuration.")
    variants: list[VariantView]

    @classmethod
    def from_domain(cls, configuration: InForce) -> Self:
        """Those of a configuration."""
        names = sorted(configuration.variants)
        variants = [VariantView.from_domain(configuration, name) for name in names]
        return cls(version=configuration.number, variants=variants)


class HistoryPage(Wire):
    """Changes of the ranking configuration, newest first."""

    changes: list[ChangeView]
    next_before: int | None = Field(description="`before` of the next page; null on the last one.")

    @classmethod
    def from_domain(cls, changes: Sequence[RankingChange], limit: int) -> Self:
        """A page; ``changes`` may hold one more than fits, which says that there is another page."""
        shown = [ChangeView.from_domain(change) for change in changes[:limit]]
        return cls(changes=shown, next_before=shown[-1].version if len(changes) > limit else None)


class WindowQuery(Wire):
    """Of which searches."""

    since: Moment | None = Field(
        default=None,
        validation_alias="from",
        description="Begin of the window, with time zone; by default a day (quality: a week) before its end.",
    )
    until: Moment | None = Field(
        default=None, validation_alias="to", description="End of the window, itself excluded; by default now."
    )


class AnalyticsQuery(WindowQuery):
    """Of which searches, and how many queries."""

    limit: int = Field(default=20, ge=1, le=100, description="Queries in each list.")


class WindowView(Wire):
    """A span of time, its end excluded."""

    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")


class LatencyView(Wire):
    """Percentiles of the time searches took, in milliseconds."""

    p50: float
    p95: float
    p99: float


class SearchCountsView(Wire):
    """How searches went."""

    searches: int = Field(description="Answers given, each page one, those from the cache included.")
    zero_result_rate: Rate
    degraded_rate: Rate
    anonymous_rate: Rate
    cache_hit_rate: Rate
    click_through_rate: Rate = Field(description="Share of the searches of which a result was clicked.")
    latency_ms: LatencyView | None = Field(description="Null without searches.")

    @classmethod
    def from_domain(cls, counts: SearchCounts) -> Self:
        """Counts as rates."""
        percentiles = [round(value, 3) for value in counts.latencies_ms]
        return cls(
            searches=counts.searches,
            zero_result_rate=rate(counts.zero_results, counts.searches),
            degraded_rate=rate(counts.degraded, counts.searches),
            anonymous_rate=rate(counts.anonymous, counts.searches),
            cache_hit_rate=rate(counts.cached, counts.searches),
            click_through_rate=rate(counts.clicked, counts.searches),
            latency_ms=LatencyView(**dict(zip(("p50", "p95", "p99"), percentiles, strict=True)))
            if percentiles
            else None,
        )


class PopularQueryView(Wire):
    """A query that enough different people searched for in the window."""

    query: str = Field(description="In lower case, with single spaces.")
    searches: int
    searchers: int = Field(
        description="Different users, and callers without a token by what tells them apart."
    )
    zero_result_rate: Rate
    click_through_rate: Rate

    @classmethod
    def from_domain(cls, counts: QueryCounts) -> Self:
        """Counts of a query."""
        return cls(
            query=counts.query,
            searches=counts.searches,
            searchers=counts.searchers,
            zero_result_rate=rate(counts.zero_results, counts.searches),
            click_through_rate=rate(counts.clicked, counts.searches),
        )


class AnalyticsView(Wire):
    """How the searches of a window went."""

    window: WindowView
    total: SearchCountsView
    by_variant: dict[str, SearchCountsView]
    top_queries: list[PopularQueryView] = Field(description="Those of the most different searchers first.")
    top_zero_result_queries: list[PopularQueryView] = Field(
        description="The same, of searches that found nothing."
    )
    min_searchers: int = Field(
        description="Queries of fewer different searchers are counted and not shown: their text is not even kept."
    )

    @classmethod
    def from_domain(cls, report: SearchReport) -> Self:
        """A report as it is shown."""
        return cls(
            window=WindowView.model_validate(report.window),
            total=SearchCountsView.from_domain(report.total),
            by_variant={str(part.variant): SearchCountsView.from_domain(part) for part in report.variants},
            top_queries=[PopularQueryView.from_domain(query) for query in report.top],
            top_zero_result_queries=[PopularQueryView.from_domain(q) for q in report.top_zero_results],
            min_searchers=MIN_SEARCHERS,
        )


class MissingView(Wire):
    """How many contents lack a fact."""

    field: str = Field(examples=["overview"])
    contents: int
    share: Rate


class PositionView(Wire):
    """Clicks at one rank."""

    position: int = Field(description="Rank, from 1 on the first page.")
    shown: int = Field(description="How often a result stood there.")
    clicks: int
    click_through_rate: Rate

    @classmethod
    def from_domain(cls, counts: PositionCounts) -> Self:
        """Counts of a rank."""
        return cls(
            position=counts.position,
            shown=counts.shown,
            clicks=counts.clicks,
            click_through_rate=rate(counts.clicks, counts.shown),
        )


class QualityView(Wire):
    """What the catalogue lacks, and what its searchers meet."""

    contents: int = Field(description="Contents of the catalogue now.")
    missing: list[MissingView]
    window: WindowView = Field(description="Of the searches below.")
    searches: int
    zero_result_rate: Rate
    degraded_rate: Rate
    click_through_by_position: list[PositionView]

    @classmethod
    def from_domain(cls, report: QualityReport) -> Self:
        """A report as it is shown."""
        whole = report.completeness.contents
        return cls(
            contents=whole,
            missing=[
                MissingView(field=field, contents=count, share=rate(count, whole))
                for field, count in report.completeness.missing.items()
            ],
            window=WindowView.model_validate(report.window),
            searches=report.total.searches,
            zero_result_rate=rate(report.total.zero_results, report.total.searches),
            degraded_rate=rate(report.total.degraded, report.total.searches),
            click_through_by_position=[PositionView.from_domain(part) for part in report.positions],
        )
