"""HTTP operations of ingestion: parse, one service call, answer."""

from aiohttp import web

from media_gateway.core.web import Auth, RouteTable
from media_gateway.ingestion.schemas import (
    DeadLetterPage,
    DeliveryView,
    JobPage,
    JobPath,
    JobRequest,
    JobView,
    PageQuery,
    PlatformPath,
    SourceList,
    job_cursor,
    letter_cursor,
)
from media_gateway.ingestion.services.jobs import JobService
from media_gateway.ingestion.services.webhooks import Signed, WebhookIntake

JOBS = web.AppKey("jobs", JobService)
INTAKE = web.AppKey("webhook_intake", WebhookIntake)

SCOPE = "ingestion:write"
"""What a caller's token must allow: jobs read what they are told to, with the installation's secrets."""

SIGNATURE = "X-Webhook-Signature"
TIMESTAMP = "X-Webhook-Timestamp"
DELIVERY = "X-Webhook-Delivery"

routes = RouteTable(tag="ingestion")


@routes.post(
    "/api/v1/ingestion/jobs",
    body=JobRequest,
    returns=JobView,
    status=202,
    auth=Auth.scope(SCOPE),
    summary="Give a job",
)
async def submit(request: web.Request, body: JobRequest) -> JobView:
    """The job is worked on in the background. The same manifest again gives the same job while it is unfinished."""
    return JobView.from_domain(await request.app[JOBS].submit(body.model_dump()))


@routes.get(
    "/api/v1/ingestion/jobs", query=PageQuery, returns=JobPage, auth=Auth.scope(SCOPE), summary="List jobs"
)
async def jobs(request: web.Request, query: PageQuery) -> JobPage:
    """Newest first, those of the command line and the webhook intakes among them."""
    found = await request.app[JOBS].page(before=job_cursor(query), limit=query.limit + 1)
    return JobPage.from_domain(found, query.limit)


@routes.get(
    "/api/v1/ingestion/jobs/{job_id}",
    path=JobPath,
    returns=JobView,
    auth=Auth.scope(SCOPE),
    summary="Show a job",
)
async def job(request: web.Request, path: JobPath) -> JobView:
    """State and progress."""
    return JobView.from_domain(await request.app[JOBS].get(path.job_id))


@routes.get(
    "/api/v1/ingestion/jobs/{job_id}/dead-letters",
    path=JobPath,
    query=PageQuery,
    returns=DeadLetterPage,
    auth=Auth.scope(SCOPE),
    summary="List a job's rejected records",
)
async def dead_letters(request: web.Request, path: JobPath, query: PageQuery) -> DeadLetterPage:
    """In the order of the source, each with its line, field and reason."""
    after, limit = letter_cursor(query), query.limit + 1
    found = await request.app[JOBS].dead_letters(path.job_id, after=after, limit=limit)
    return DeadLetterPage.from_domain(found, query.limit)


@routes.post(
    "/api/v1/ingestion/jobs/{job_id}/cancel",
    path=JobPath,
    returns=JobView,
    status=202,
    auth=Auth.scope(SCOPE),
    summary="Cancel a job",
)
async def cancel(request: web.Request, path: JobPath) -> JobView:
    """What is written stays. A job that is finished already answers 409."""
    return JobView.from_domain(await request.app[JOBS].cancel(path.job_id))


@routes.get("/api/v1/ingestion/sources", returns=SourceList, auth=Auth.scope(SCOPE), summary="List sources")
async def sources(request: web.Request) -> SourceList:
    """Each with its newest job."""
    return SourceList.from_domain(await request.app[JOBS].sources())


@routes.post(
    "/api/v1/webhooks/{platform}",
    path=PlatformPath,
    raw_body=True,
    returns=DeliveryView,
    status=202,
    auth=Auth.NONE,
    summary="Take a platform's delivery",
)
async def webhook(request: web.Request, path: PlatformPath, body: bytes) -> DeliveryView:
    """A JSON record or list of records, signed in `X-Webhook-Signature: sha256=<hex HMAC-SHA256 of the body>`.

    With `X-Webhook-Timestamp` (Unix seconds) the signature is of `<timestamp>.<body>` and must be recent. A delivery is
    known again by `X-Webhook-Delivery`, else by its body. 202 is answered once the delivery is stored.
    """
    delivery = Signed(
        platform=path.platform,
        body=body,
        signature=request.headers.get(SIGNATURE) or request.headers.get("X-Hub-Signature-256"),
        timestamp=request.headers.get(TIMESTAMP),
        delivery_id=request.headers.get(DELIVERY),
    )
    return DeliveryView.from_domain(await request.app[INTAKE].accept(delivery))
