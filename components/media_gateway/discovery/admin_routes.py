"""HTTP operations of discovery for administrators: ranking configuration, search analytics, quality."""

from aiohttp import hdrs, web

from media_gateway.core.errors import NotFoundError
from media_gateway.core.web import CALLER, Auth, RouteTable, entity_tag, if_match, respond
from media_gateway.discovery.admin_schemas import (
    AnalyticsQuery,
    AnalyticsView,
    ChangeQuery,
    HistoryPage,
    HistoryQuery,
    QualityView,
    RankingView,
    VariantList,
    VariantPath,
    VariantView,
    VersionPath,
    WindowQuery,
)
from media_gateway.discovery.ranking import InForce, Ranking, RankingVersion, Variant
from media_gateway.discovery.ranking_editor import Intent, RankingEditor
from media_gateway.discovery.reports import SearchReports

EDITOR = web.AppKey("ranking_editor", RankingEditor)
REPORTS = web.AppKey("search_reports", SearchReports)

ADMIN = Auth.scope("admin")
RANKING = "/api/v1/admin/search/ranking"

admin_routes = RouteTable(tag="discovery admin")


@admin_routes.get(RANKING, returns=RankingView, auth=ADMIN, summary="Show the ranking configuration")
async def ranking(request: web.Request) -> web.Response:
    """The newest version. Its `ETag` is what a change has to bring as `If-Match`."""
    return _version(await request.app[EDITOR].newest())


@admin_routes.put(
    RANKING,
    body=Ranking,
    query=ChangeQuery,
    returns=RankingView,
    auth=ADMIN,
    summary="Replace the ranking configuration",
)
async def replace_ranking(request: web.Request, body: Ranking, query: ChangeQuery) -> web.Response:
    """Stores a new version, which every replica uses within two seconds.

    `If-Match` must name the `ETag` of the version that the change was made from (or be `*`): without it 428 is answered,
    and 412 if another version is in force by now. The same holds for all changes below.
    """
    return _version(await request.app[EDITOR].replace(body, _intent(request, query)))


@admin_routes.get(f"{RANKING}/variants", returns=VariantList, auth=ADMIN, summary="List the variants")
async def variants(request: web.Request) -> web.Response:
    """The built-in ones and your own."""
    configuration = await _configuration(request)
    return respond(VariantList.from_domain(configuration), headers=_tagged(configuration.number))


@admin_routes.get(
    f"{RANKING}/variants/{{name}}",
    path=VariantPath,
    returns=VariantView,
    auth=ADMIN,
    summary="Show a variant",
)
async def variant(request: web.Request, path: VariantPath) -> web.Response:
    """Its `ETag` is that of the whole configuration."""
    configuration = await _configuration(request)
    if path.name not in configuration.variants:
        raise NotFoundError(f"there is no variant {path.name!r}")
    return _variant(configuration, path.name)


@admin_routes.put(
    f"{RANKING}/variants/{{name}}",
    path=VariantPath,
    body=Variant,
    query=ChangeQuery,
    returns=VariantView,
    responses={201: VariantView},
    auth=ADMIN,
    summary="Store a variant",
)
async def put_variant(
    request: web.Request, path: VariantPath, body: Variant, query: ChangeQuery
) -> web.Response:
    """What the body leaves out is as in `default`. Answers 201 if the variant is new. Needs `If-Match`."""
    stored, is_new = await request.app[EDITOR].put_variant(path.name, body, _intent(request, query))
    return _variant(InForce(stored.number, stored.ranking), path.name, status=201 if is_new else 200)


@admin_routes.delete(
    f"{RANKING}/variants/{{name}}",
    path=VariantPath,
    query=ChangeQuery,
    auth=ADMIN,
    summary="Delete a variant",
)
async def delete_variant(request: web.Request, path: VariantPath, query: ChangeQuery) -> web.Response:
    """Requests that name it are refused from then on; the default one answers 409. Needs `If-Match`."""
    stored = await request.app[EDITOR].delete_variant(path.name, _intent(request, query))
    return respond(None, status=204, headers=_tagged(stored.number))


@admin_routes.get(
    f"{RANKING}/history",
    query=HistoryQuery,
    returns=HistoryPage,
    auth=ADMIN,
    summary="List the changes of the ranking configuration",
)
async def history(request: web.Request, query: HistoryQuery) -> HistoryPage:
    """Newest first, each with its author and reason. All versions are kept."""
    found = await request.app[EDITOR].history(before=query.before, limit=query.limit + 1)
    return HistoryPage.from_domain(found, query.limit)


@admin_routes.get(
    f"{RANKING}/history/{{version}}",
    path=VersionPath,
    returns=RankingView,
    auth=ADMIN,
    summary="Show a version of the ranking configuration",
)
async def version(request: web.Request, path: VersionPath) -> RankingView:
    """The whole document of that time."""
    return RankingView.from_domain(await request.app[EDITOR].version(path.version))


@admin_routes.post(
    f"{RANKING}/history/{{version}}/restore",
    path=VersionPath,
    query=ChangeQuery,
    returns=RankingView,
    auth=ADMIN,
    summary="Go back to a version of the ranking configuration",
)
async def restore(request: web.Request, path: VersionPath, query: ChangeQuery) -> web.Response:
    """Stores the document of that version as a new one. Needs `If-Match`, which names the version in force."""
    return _version(await request.app[EDITOR].restore(path.version, _intent(request, query)))


@admin_routes.get(
    "/api/v1/admin/search/analytics",
    query=AnalyticsQuery,
    returns=AnalyticsView,
    auth=ADMIN,
    summary="How searches went",
)
async def analytics(request: web.Request, query: AnalyticsQuery) -> AnalyticsView:
    """Searches are counted about a second after they were answered.

    Nobody's searches can be read from it: queries are shown once `min_searchers` different people searched for them.
    """
    report = await request.app[REPORTS].analytics(query.since, query.until, limit=query.limit)
    return AnalyticsView.from_domain(report)


@admin_routes.get(
    "/api/v1/admin/search/quality",
    query=WindowQuery,
    returns=QualityView,
    auth=ADMIN,
    summary="What the catalogue lacks and searchers meet",
)
async def quality(request: web.Request, query: WindowQuery) -> QualityView:
    """Shares of contents without an overview, poster, genre and so on, and how searches of the window went."""
    return QualityView.from_domain(await request.app[REPORTS].quality(query.since, query.until))


def _intent(request: web.Request, query: ChangeQuery) -> Intent:
    return Intent(author=request[CALLER].subject, comment=query.comment, seen=if_match(request))


async def _configuration(request: web.Request) -> InForce:
    stored = await request.app[EDITOR].newest()
    return InForce(stored.number, stored.ranking) if stored else InForce()


def _tagged(number: int) -> dict[str, str]:
    return {hdrs.ETAG: entity_tag(number)}


def _version(stored: RankingVersion | None) -> web.Response:
    view = RankingView.from_domain(stored)
    return respond(view, headers=_tagged(view.version))


def _variant(configuration: InForce, name: str, *, status: int = 200) -> web.Response:
    view = VariantView.from_domain(configuration, name)
    return respond(view, status=status, headers=_tagged(configuration.number))
