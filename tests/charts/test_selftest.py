"""What ``helm test`` runs, against an API server that answers as told."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from media_gateway.core.domain.specs import parse_manifest
from media_gateway.core.errors import PermissionDeniedError
from media_gateway_operator import selftest
from media_gateway_operator.kube.client import KubeClient
from media_gateway_operator.kube.config import Access
from media_gateway_operator.kube.kinds import INGESTION_JOB, Ref

REF = Ref(INGESTION_JOB, "media", "selftest-1")
PATH = "/apis/mediagateway.io/v1alpha1/namespaces/media/ingestionjobs"

ACCEPTED = {"type": "Accepted", "status": "True", "reason": "Resolved", "message": ""}


def condition(type_: str, reason: str, message: str = "", status: str = "True") -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "message": message}


class Api:
    """An API server with one IngestionJob, whose conditions are those of a list, one look after another."""

    def __init__(self, looks: list[list[dict[str, Any]] | int]) -> None:
        self._looks: Iterator[list[dict[str, Any]] | int] = iter(looks)
        self._last: list[dict[str, Any]] | int = []
        self.refuses = False
        self.created: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.app = web.Application()
        self.app.router.add_post(PATH, self._create)
        self.app.router.add_get(f"{PATH}/{{name}}", self._get)
        self.app.router.add_delete(f"{PATH}/{{name}}", self._delete)

    async def _create(self, request: web.Request) -> web.Response:
        if self.refuses:
            return web.json_response(
                {"message": "ingestionjobs is forbidden", "reason": "Forbidden"}, status=403
            )
        self.created.append(await request.json())
        return web.json_response(self.created[-1], status=201)

    async def _get(self, request: web.Request) -> web.Response:
        self._last = next(self._looks, self._last)
        if isinstance(self._last, int):
            return web.json_response({"message": "not now"}, status=self._last)
        return web.json_response({**self.created[-1], "status": {"conditions": self._last}})

    async def _delete(self, request: web.Request) -> web.Response:
        self.deleted.append(request.match_info["name"])
        return web.json_response({})


@pytest.fixture
async def connected(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Gives an API server, and a client on it, for a list of looks."""
    monkeypatch.setattr(selftest, "POLL_S", 0.01)
    open_ones: list[Any] = []

    async def connect(*looks: list[dict[str, Any]] | int) -> tuple[Api, KubeClient]:
        api = Api(list(looks))
        server = TestServer(api.app)
        await server.start_server()
        client = KubeClient(Access(str(server.make_url("")).rstrip("/")))
        open_ones.extend([client, server])
        return api, client

    yield connect
    for one in open_ones:
        await one.close()


async def test_complete_job_passes_and_is_deleted(connected, capsys):
    api, client = await connected([], [ACCEPTED], [ACCEPTED, condition("Complete", "Finished", "50 read")])
    await selftest.run(client, REF, "media", 30)
    assert api.deleted == ["selftest-1"]
    said = capsys.readouterr().out
    assert "created IngestionJob media/selftest-1" in said
    assert "Complete=True (Finished) 50 read" in said


async def test_failed_job_says_why_and_is_deleted(connected):
    api, client = await connected([condition("Failed", "BackoffLimitExceeded", "exit code 78")])
    with pytest.raises(
        selftest.SelfTestError, match=r"failed: Failed=True \(BackoffLimitExceeded\) exit code 78"
    ):
        await selftest.run(client, REF, "media", 30)
    assert api.deleted == ["selftest-1"]


async def test_job_without_a_gateway_says_what_it_waits_for(connected):
    missing = condition("Accepted", "InvalidReference", "there is no MediaGateway media", status="False")
    api, client = await connected([missing])
    with pytest.raises(
        selftest.SelfTestError, match=r"has not ended in time: .*there is no MediaGateway media"
    ):
        await selftest.run(client, REF, "media", 0)
    assert api.deleted == ["selftest-1"]


async def test_silent_operator_is_asked_for(connected):
    _, client = await connected([])
    with pytest.raises(selftest.SelfTestError, match=r"no status at all; is the operator running\?"):
        await selftest.run(client, REF, "media", 0)


async def test_deleted_job_ends_the_test(connected):
    _, client = await connected([ACCEPTED], 404)
    with pytest.raises(selftest.SelfTestError, match="was deleted before it had ended"):
        await selftest.run(client, REF, "media", 30)


async def test_short_outage_of_the_api_server_is_waited_out(connected):
    api, client = await connected(503, [condition("Complete", "Finished")])
    await selftest.run(client, REF, "media", 30)
    assert api.deleted == ["selftest-1"]


async def test_refused_creation_is_told(connected):
    api, client = await connected()
    api.refuses = True
    with pytest.raises(PermissionDeniedError, match="ingestionjobs is forbidden"):
        await selftest.run(client, REF, "media", 30)
    assert api.deleted == []


def test_job_is_one_that_the_platform_takes():
    job = parse_manifest(selftest.manifest(REF, "media", 240))
    assert job.spec.dry_run
    assert job.spec.gateway_ref is not None
    assert job.spec.gateway_ref.name == "media"
    assert job.spec.source.demo is not None
    assert job.spec.source.demo.limit == selftest.LIMIT
