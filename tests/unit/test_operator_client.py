"""The operator's client of the API server: what goes over the wire, and what each answer becomes."""

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from media_gateway.core.errors import (
    ConflictError,
    InvalidInputError,
    MediaGatewayError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)
from media_gateway_operator.kube.client import KubeClient, Limits
from media_gateway_operator.kube.config import Access
from media_gateway_operator.kube.errors import GoneError, NotLeaderError, TerminatingError
from media_gateway_operator.kube.kinds import DEPLOYMENT, INGESTION_JOB, JOB, Object, Ref

JOB_REF = Ref(JOB, "x", "one")
MANIFEST = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "one", "namespace": "x"}}


def refusal(code: int, reason: str = "", message: str = "no", **details: Any) -> Object:
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


class Server:
    """Answers as it is told and remembers what it was asked."""

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[web.Request] = []
        self.answers: list[Object] = []
        self.bodies: list[bytes] = []
        self.headers: dict[str, str] = {}
        self.delay_s = 0.0
        self.now = self.most = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        self.bodies.append(await request.read())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.delay_s)
        finally:
            self.now -= 1
        answer = self.answers.pop(0) if self.answers else {}
        status = answer.get("code", 200) if answer.get("kind") == "Status" else 200
        return web.json_response(answer, status=status, headers=self.headers)


@pytest.fixture
async def server():
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(app) as running:
        server.address = str(running.make_url(""))
        yield server


@pytest.fixture
async def client(server):
    client = KubeClient(Access(server.address, token="t0"), limits=Limits(in_flight=4))
    yield client
    await client.close()


async def test_apply_is_a_patch_under_our_manager(server, client):
    await client.apply(MANIFEST)
    (request,) = server.asked
    assert (request.method, request.path) == ("PATCH", "/apis/batch/v1/namespaces/x/jobs/one")
    assert dict(request.query) == {"fieldManager": "mediagateway-operator", "force": "true"}
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert request.headers["Authorization"] == "Bearer t0"
    assert orjson.loads(server.bodies[0]) == MANIFEST


async def test_status_is_applied_to_its_subresource_under_the_given_manager(server, client):
    manifest = {**MANIFEST, "apiVersion": INGESTION_JOB.api_version, "kind": "IngestionJob"}
    await client.apply_status(manifest, manager="mediagateway-progress")
    (request,) = server.asked
    assert request.path == "/apis/mediagateway.io/v1alpha1/namespaces/x/ingestionjobs/one/status"
    assert request.query["fieldManager"] == "mediagateway-progress"


async def test_delete_names_the_uid(server, client):
    await client.delete(JOB_REF, uid="u")
    body = orjson.loads(server.bodies[0])
    assert body["preconditions"] == {"uid": "u"}
    assert body["propagationPolicy"] == "Background"


async def test_absent_objects_are_none_and_deletable(server, client):
    server.answers = [refusal(404, "NotFound"), refusal(404, "NotFound")]
    assert await client.get(JOB_REF) is None
    await client.delete(JOB_REF)


async def test_list_goes_through_all_pages_and_names_the_kind(server, client):
    server.answers = [
        {"metadata": {"continue": "next"}, "items": [{"metadata": {"name": "a"}}]},
        {"metadata": {}, "items": [{"metadata": {"name": "b"}}]},
    ]
    found = [one async for one in client.list(JOB, "x", label_selector="a=b")]
    assert [one["metadata"]["name"] for one in found] == ["a", "b"]
    assert found[0]["kind"] == "Job"
    assert found[0]["apiVersion"] == "batch/v1"
    assert server.asked[1].query["continue"] == "next"
    assert server.asked[1].query["labelSelector"] == "a=b"


async def test_list_gives_no_more_than_asked_for(server, client):
    server.answers = [{"metadata": {"continue": "next"}, "items": [{"metadata": {}}] * 3}]
    assert len([one async for one in client.list(JOB, "x", limit=2)]) == 2
    assert len(server.asked) == 1


ANSWERS = {
    "conflict": (refusal(409, "Conflict"), ConflictError),
    "gone": (refusal(410, "Expired"), GoneError),
    "invalid": (refusal(422, "Invalid", "spec.x: required"), InvalidInputError),
    "bad request": (refusal(400, "BadRequest"), InvalidInputError),
    "too many": (refusal(429, "TooManyRequests"), RateLimitedError),
    "forbidden": (refusal(403, "Forbidden"), PermissionDeniedError),
    "namespace on its way out": (
        refusal(403, "Forbidden", causes=[{"reason": "NamespaceTerminating"}]),
        TerminatingError,
    ),
    "namespace gone": (refusal(404, "NotFound", kind="namespaces", name="x"), TerminatingError),
    "object gone": (refusal(404, "NotFound", kind="jobs"), NotFoundError),
    "internal": (refusal(500, "InternalError"), UnavailableError),
    "unavailable": (refusal(503, "ServiceUnavailable"), UnavailableError),
    "gateway timeout": (refusal(504, "Timeout"), UnavailableError),
}


@pytest.mark.parametrize(("answer", "error"), ANSWERS.values(), ids=ANSWERS)
async def test_refusal_becomes_the_error_that_says_what_to_do(server, client, answer, error):
    server.answers = [answer]
    with pytest.raises(MediaGatewayError) as caught:
        await client.apply(MANIFEST)
    assert type(caught.value) is error
    assert caught.value.message == answer["message"]


async def test_pause_that_the_server_asks_for_is_passed_on(server, client):
    server.answers = [refusal(429, "TooManyRequests")]
    server.headers = {"Retry-After": "7"}
    with pytest.raises(RateLimitedError) as caught:
        await client.apply(MANIFEST)
    assert caught.value.retry_after_ms == 7000


async def test_silent_server_is_unavailable(server):
    server.delay_s = 5
    client = KubeClient(Access(server.address), limits=Limits(timeout_s=0.2))
    with pytest.raises(UnavailableError, match="did not answer"):
        await client.get(JOB_REF)
    await client.close()


async def test_absent_server_is_unavailable():
    client = KubeClient(Access("http://127.0.0.1:1"))
    with pytest.raises(UnavailableError, match="did not answer"):
        await client.get(JOB_REF)
    await client.close()


async def test_answer_that_is_no_json_is_told_by_its_status(client, server):
    async def broken(_request):
        return web.Response(status=502, text="<html>")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", broken)
    async with TestServer(app) as running:
        other = KubeClient(Access(str(running.make_url(""))))
        with pytest.raises(UnavailableError, match="502"):
            await other.get(JOB_REF)
        await other.close()


async def test_success_that_is_no_json_is_unavailable():
    async def cut_off(_request):
        return web.Response(text='{"kind": "Jo')

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", cut_off)
    async with TestServer(app) as running:
        client = KubeClient(Access(str(running.make_url(""))))
        with pytest.raises(UnavailableError, match="not answered with JSON"):
            await client.get(JOB_REF)
        await client.close()


async def test_requests_at_once_are_bounded(server, client):
    server.delay_s = 0.02
    await asyncio.gather(*(client.get(JOB_REF) for _ in range(20)))
    assert server.most == 4


async def test_requests_a_second_are_bounded(server):
    client = KubeClient(Access(server.address), limits=Limits(in_flight=50, rate=100))
    began = time.monotonic()
    await asyncio.gather(*(client.get(JOB_REF) for _ in range(60)))
    assert time.monotonic() - began >= 0.45
    await client.close()


class Fence:
    def __init__(self, left_s: float) -> None:
        self.left_s = left_s

    def check(self) -> float:
        if self.left_s <= 0:
            raise NotLeaderError("no")
        return self.left_s


WRITES = {
    "apply": lambda c: c.apply(MANIFEST),
    "apply_status": lambda c: c.apply_status(MANIFEST),
    "create": lambda c: c.create(MANIFEST),
    "replace": lambda c: c.replace(MANIFEST),
    "patch": lambda c: c.patch(JOB_REF, {}),
    "delete": lambda c: c.delete(JOB_REF),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_no_write_leaves_once_the_lease_is_uncertain(server, write):
    client = KubeClient(Access(server.address), fence=Fence(0))
    with pytest.raises(NotLeaderError):
        await write(client)
    assert server.asked == []
    assert await client.get(JOB_REF) is not None, "reading is free"
    await client.close()


async def test_no_write_outlives_the_time_for_which_the_lease_is_certain(server):
    server.delay_s = 5
    client = KubeClient(Access(server.address), fence=Fence(0.1))
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        await client.apply(MANIFEST)
    assert time.monotonic() - began < 2
    await client.close()


async def test_expired_token_is_read_again_and_tried_once(server, tmp_path: Path):
    file = tmp_path / "token"
    file.write_text("old\n")
    client = KubeClient(Access(server.address, token_file=file))
    await client.get(JOB_REF)
    file.write_text("new\n")
    server.answers = [refusal(401, "Unauthorized")]
    await client.get(JOB_REF)
    sent = [request.headers["Authorization"] for request in server.asked]
    assert sent == ["Bearer old", "Bearer old", "Bearer new"]
    server.answers = [refusal(401, "Unauthorized"), refusal(401, "Unauthorized")]
    with pytest.raises(UnauthenticatedError):
        await client.get(JOB_REF)
    await client.close()


async def test_served_kinds_are_asked_once_and_anew_when_told(server, client):
    server.answers = [{"resources": [{"name": "deployments"}, {"name": "deployments/status"}]}]
    assert await client.serves(DEPLOYMENT)
    assert await client.serves(DEPLOYMENT)
    assert len(server.asked) == 1
    client.forget_served()
    server.answers = [refusal(404, "NotFound")]
    assert not await client.serves(DEPLOYMENT)
