"""What is heard below the watching library: ages, bookmarks, lists that begin anew, tokens that were replaced."""

import asyncio

import pytest
from aiohttp import ClientResponse, ClientSession, web
from aiohttp.test_utils import TestServer

from media_gateway_operator.kube.config import Access
from media_gateway_operator.kube.kinds import INGESTION_JOB, JOB
from media_gateway_operator.kube.streams import Stream, Streams
from tests.support.waiting import eventually

JOBS = Stream(JOB, "x")
RESOURCES = Stream(INGESTION_JOB, None)


class Server:
    def __init__(self) -> None:
        self.address, self.accepted, self.oldest = "", "t", 0
        self.say: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.tokens: list[str | None] = []
        self.queries: list[dict[str, str]] = []
        self.forbidden = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization"))
        if self.tokens[-1] != f"Bearer {self.accepted}":
            return web.Response(status=401)
        self.queries.append(dict(request.query))
        if self.forbidden:
            return web.json_response({"kind": "Status", "code": 403}, status=403)
        if int(request.query.get("resourceVersion", self.oldest)) < self.oldest:
            return web.json_response({"kind": "Status", "code": 410}, status=410)
        if "watch" not in request.query:
            return web.json_response({"items": []})
        response = web.StreamResponse()
        await response.prepare(request)
        while (line := await self.say.get()) is not None:
            await response.write(line)
        return response


@pytest.fixture
async def server():
    server = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    async with TestServer(app) as running:
        server.address = str(running.make_url("/prefix"))
        yield server
        server.say.put_nowait(None)


@pytest.fixture
def relisted():
    return []


@pytest.fixture
def refused():
    return []


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("t")
    return file


@pytest.fixture
def streams(server, relisted, refused, token_file):
    access = Access(server.address, token_file=token_file)
    return Streams(access, [JOBS, RESOURCES], relisted.append, refused.append, refused_pause_s=0)


@pytest.fixture
async def session(streams):
    async with streams.session() as session:
        yield session


async def ask(session: ClientSession, server: Server, stream: Stream, **query: str) -> ClientResponse:
    return await session.get(f"{server.address}{stream.path}", params=query)


async def test_nothing_is_old_before_the_watches_begin(streams):
    assert streams.ages() == {}
    streams.restart()
    assert set(streams.ages()) == {JOBS, RESOURCES}
    assert max(streams.ages().values()) < 1


async def test_watch_after_a_list_is_told_once(streams, session, server, relisted):
    streams.restart()
    await ask(session, server, JOBS, limit="5")
    await ask(session, server, JOBS, limit="5", **{"continue": "x"})
    assert relisted == []
    async with await ask(session, server, JOBS, watch="true"):
        assert relisted == [JOBS]
    async with await ask(session, server, JOBS, watch="true"):
        assert relisted == [JOBS], "a watch that goes on where it was has missed nothing"
    await ask(session, server, JOBS, limit="5")
    async with await ask(session, server, JOBS, watch="true"):
        assert relisted == [JOBS, JOBS]


async def test_library_s_list_is_of_nothing_but_the_version(streams, session, server):
    await ask(session, server, JOBS, labelSelector="a=b")
    assert server.queries == [{"labelSelector": "a=b", "fieldSelector": "metadata.name=NOBODY"}]
    await session.get(f"{server.address}/api/v1")
    assert server.queries[1] == {}, "what is no stream passes unchanged"


async def test_watch_from_a_forgotten_version_begins_anew(streams, session, server, relisted):
    server.oldest = 50
    query = {"watch": "true", "labelSelector": "a=b"}
    async with await ask(session, server, JOBS, **query, resourceVersion="7") as response:
        assert response.status == 200
    assert server.queries[-1] == query
    assert relisted == [JOBS], "what happened in between is looked for"


async def test_silence_ages_and_any_line_makes_young(streams, session, server):
    streams.restart()
    response = await ask(session, server, JOBS, watch="true")
    heard: list[bytes] = []

    async def listen() -> None:
        async for data in response.content.iter_chunked(1024):
            heard.append(data)  # noqa: PERF401 - looked at while it grows

    listening = asyncio.create_task(listen())
    await eventually(lambda: streams.ages()[JOBS] > 0.2)
    server.say.put_nowait(b'{"type":"BOOKMARK"}\n')
    await eventually(lambda: heard)
    ages = streams.ages()
    assert ages[JOBS] < 0.2
    assert ages[RESOURCES] > 0.2, "each watch has its own age"
    listening.cancel()
    response.close()


async def test_replaced_token_is_used_without_a_new_session(streams, session, server, token_file):
    await ask(session, server, JOBS)
    server.accepted = "new"
    token_file.write_text("new")
    async with await ask(session, server, JOBS, watch="true") as response:
        assert response.status == 200
    assert server.tokens == ["Bearer t", "Bearer t", "Bearer new"]


async def test_refusal_is_no_sign_of_life(streams, session, server):
    server.accepted = "another"
    await ask(session, server, JOBS, limit="5")
    assert streams.ages() == {}


async def test_namespace_without_a_right_is_told_and_does_not_grow_old(session, server, streams, refused):
    server.forbidden = True
    streams.restart()
    await eventually(lambda: min(streams.ages().values()) > 0.2)
    for stream in (JOBS, RESOURCES):
        assert (await ask(session, server, stream)).status == 403
    assert refused == [JOBS]
    ages = streams.ages()
    assert ages[JOBS] < 0.2 < ages[RESOURCES]
