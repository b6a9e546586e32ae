"""The fault proxy does to a client what it says, and remembers what came by: other tests lean on it."""

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from tests.support.kube_api import Upstream
from tests.support.kube_exchange import Act, Rule, Seen
from tests.support.kube_faults import (
    broken,
    conflict,
    cut_after,
    cut_before,
    doubled,
    ending_after,
    first,
    forwarded_then,
    gone,
    gone_in_stream,
    invalid,
    on_watches,
    on_writes,
    silent,
    slow,
    throttled,
)  # fmt: skip
from tests.support.kube_proxy import FaultProxy
from tests.support.waiting import eventually

THINGS = "/apis/example.com/v1/namespaces/default/things"


@dataclass
class FakeServer:
    """An API server as far as the proxy can tell: objects by path, and watches fed by the test."""

    url: str = ""
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    watches: list[asyncio.Queue[bytes | None]] = field(default_factory=list)
    patches: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        if request.query.get("watch"):
            return await self._watch(request)
        if request.method == "PATCH":
            self.patches += 1
            created = request.path not in self.objects
            found = self.objects.setdefault(request.path, {"metadata": {"uid": str(uuid.uuid4())}})
            found["metadata"]["resourceVersion"] = str(self.patches)
            found["spec"] = json.loads(await request.read())
            return web.json_response(found, status=201 if created else 200)
        if request.path in self.objects:
            return web.json_response(self.objects[request.path])
        return web.json_response({"kind": "Status", "code": 404}, status=404)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.watches.append(queue)
        try:
            while (line := await queue.get()) is not None:
                await response.write(line)
        finally:
            self.watches.remove(queue)
        return response

    def tell(self, *names: str, kind: str = "MODIFIED") -> None:
        """An event a name on every watch."""
        for queue in self.watches:
            for name in names:
                event = {"type": kind, "object": {"metadata": {"name": name}}}
                queue.put_nowait(json.dumps(event).encode() + b"\n")


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{site.port}"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def proxy(server: FakeServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(Upstream(server.url, None, {})) as proxy:
        yield proxy


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def patch(
    session: aiohttp.ClientSession, proxy: FaultProxy, name: str = "a", **options: Any
) -> aiohttp.ClientResponse:
    url = f"{proxy.url}{THINGS}/{name}?fieldManager=tester"
    async with session.patch(url, data=b'{"n": 1}', **options) as answer:
        await answer.read()
        return answer


class Watch:
    """A watch through the proxy whose events are collected."""

    def __init__(self, session: aiohttp.ClientSession, proxy: FaultProxy) -> None:
        self.names: list[str] = []
        self.error: Exception | None = None
        self.ended = False
        self._session, self._url = session, f"{proxy.url}{THINGS}?watch=true"
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async with self._session.get(self._url) as answer:
                async for line in answer.content:
                    event = json.loads(line)
                    code = event["object"].get("code")
                    self.names.append(
                        f"{event['type']} {code}" if code else event["object"]["metadata"]["name"]
                    )
        except aiohttp.ClientError as error:
            self.error = error
        self.ended = True

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def watch(
    session: aiohttp.ClientSession, server: FakeServer, proxy: FaultProxy
) -> AsyncIterator[Watch]:
    watch = Watch(session, proxy)
    await eventually(lambda: proxy.watches)
    yield watch
    await watch.close()


async def test_a_write_is_forwarded_and_remembered(session, server, proxy):
    first_answer, second = await patch(session, proxy), await patch(session, proxy)
    assert (first_answer.status, second.status) == (201, 200)
    created, changed = proxy.writes()
    assert (created.created, changed.created) == (True, False)
    assert created.uid == changed.uid == server.objects[f"{THINGS}/a"]["metadata"]["uid"]
    assert (created.version, changed.version) == ("1", "2")
    assert created.manager == "tester"
    assert created.path == f"{THINGS}/a"
    assert created.digest == changed.digest != ""


async def test_reads_and_leases_are_not_counted_as_writes(session, proxy):
    async with session.get(f"{proxy.url}{THINGS}/a") as answer:
        assert answer.status == 404
    await session.patch(f"{proxy.url}/apis/coordination.k8s.io/v1/namespaces/x/leases/l", data=b"{}")
    assert len(proxy.seen) == 2
    assert proxy.writes() == []


@pytest.mark.parametrize(
    ("act", "code"), [(conflict, 409), (invalid, 422), (throttled, 429), (broken, 500), (gone, 410)]
)
async def test_a_refusal_is_answered_without_the_server(session, server, proxy, act: Act, code: int):
    proxy.inject(on_writes(act, times=1))
    assert (await patch(session, proxy)).status == code
    assert server.requests == []
    assert not proxy.seen[0].forwarded
    assert proxy.seen[0].fault == act.__name__
    assert (await patch(session, proxy)).status == 201


async def test_throttling_says_when_to_come_back(session, proxy):
    proxy.inject(on_writes(throttled))
    answer = await patch(session, proxy)
    assert answer.headers["Retry-After"] == "1"


async def test_a_cut_before_the_server_leaves_it_untouched(session, server, proxy):
    proxy.inject(on_writes(cut_before, times=1))
    with pytest.raises(aiohttp.ClientError):
        await patch(session, proxy)
    assert server.requests == []
    assert proxy.seen[0].status == 0


async def test_a_cut_after_the_server_loses_only_the_answer(session, server, proxy):
    proxy.inject(on_writes(cut_after, times=1))
    with pytest.raises(aiohttp.ClientError):
        await patch(session, proxy)
    assert f"{THINGS}/a" in server.objects
    (seen,) = proxy.writes()
    assert (seen.created, seen.uid) == (True, server.objects[f"{THINGS}/a"]["metadata"]["uid"])


async def test_a_write_whose_client_dies_is_carried_out(session, server, proxy):
    proxy.inject(on_writes(slow(0.2)))
    with pytest.raises(TimeoutError):
        await patch(session, proxy, timeout=aiohttp.ClientTimeout(total=0.05))
    await eventually(lambda: f"{THINGS}/a" in server.objects)


async def test_rules_count_and_choose(session, proxy):
    rule = proxy.inject(on_writes(conflict, r"/things/b$", skip=1, times=2))
    codes = [(await patch(session, proxy, name)).status for name in "abbbba"]
    assert codes == [201, 201, 409, 409, 200, 200]
    assert rule.hits == 2


async def test_a_share_of_requests_meets_the_fault(session, proxy):
    proxy.inject(on_writes(broken, share=0.5))
    codes = [(await patch(session, proxy)).status for _ in range(60)]
    assert 15 < codes.count(500) < 45


async def test_leases_are_spared_unless_named(session, proxy):
    url = f"{proxy.url}/apis/coordination.k8s.io/v1/namespaces/x/leases/l"
    proxy.inject(on_writes(broken))
    async with session.patch(url, data=b"{}") as answer:
        assert answer.status == 201
    proxy.inject(on_writes(broken, "/leases/"))
    async with session.patch(url, data=b"{}") as answer:
        assert answer.status == 500


async def test_the_test_can_act_at_the_moment_of_a_write(session, server, proxy):
    moments: list[int] = []
    proxy.inject(on_writes(first(lambda: moments.append(server.patches), cut_before), times=1))
    proxy.inject(on_writes(forwarded_then(lambda: moments.append(server.patches)), times=1))
    for _ in range(2):
        with pytest.raises(aiohttp.ClientError):
            await patch(session, proxy)
    assert moments == [0, 1]


async def test_watch_events_arrive_one_by_one(server, watch: Watch):
    server.tell("a")
    await eventually(lambda: watch.names == ["a"])
    server.tell("b", "c" * 200_000)
    await eventually(lambda: watch.names == ["a", "b", "c" * 200_000])


async def test_dropped_watches_are_reset(server, proxy, watch: Watch):
    assert proxy.drop_watches("/other") == 0
    assert proxy.drop_watches("/things") == 1
    await eventually(lambda: watch.error is not None)
    await eventually(lambda: not server.watches)


async def test_silenced_watches_stay_open_and_deliver_nothing(session, server, proxy, watch: Watch):
    server.tell("a")
    await eventually(lambda: watch.names == ["a"])
    assert proxy.silence_watches() == 1
    other = Watch(session, proxy)
    await eventually(lambda: len(server.watches) == 2)
    server.tell("b")
    await eventually(lambda: other.names == ["b"])
    assert watch.names == ["a"]
    assert not watch.ended
    await other.close()


@pytest.mark.parametrize(
    ("act", "names", "ended"),
    [
        (silent, [], False),
        (doubled, ["a", "a", "b", "b", "a", "c", "c", "b"], False),
        (ending_after(2), ["a", "b"], True),
        (gone_in_stream, ["ERROR 410"], True),
    ],
)
async def test_faulty_watches(session, server, proxy, act: Act, names: list[str], ended: bool):
    proxy.inject(on_watches(act, times=1))
    faulty = Watch(session, proxy)
    await eventually(lambda: server.watches or faulty.ended)
    sound = Watch(session, proxy)
    await eventually(lambda: len(server.watches) == 2 or faulty.ended)
    await eventually(lambda: [one for one in proxy.watches if one.path == THINGS])
    server.tell("a", "b", "c")
    await eventually(lambda: sound.names[-1:] == ["c"])
    await eventually(lambda: (faulty.names, faulty.ended) == (names, ended))
    await faulty.close()
    await sound.close()


async def test_a_client_that_leaves_ends_its_watch_at_the_server(server, proxy, watch: Watch):
    await watch.close()
    await eventually(lambda: not server.watches and not proxy.watches)


async def test_an_outage_refuses_and_then_the_same_address_works(session, server, proxy, watch: Watch):
    async with proxy.outage():
        await eventually(lambda: watch.error is not None)
        with pytest.raises(aiohttp.ClientConnectorError):
            await patch(session, proxy)
    assert (await patch(session, proxy)).status == 201


async def test_an_expired_token_is_refused_until_the_new_one_is_shown(session, proxy, tmp_path: Path):
    token = tmp_path / "token"
    config = yaml.safe_load(proxy.kubeconfig(tmp_path, token_file=token).read_text())
    assert config["clusters"][0]["cluster"]["server"] == proxy.url
    assert config["users"][0]["user"] == {"tokenFile": str(token)}

    async def status(value: str) -> int:
        return (await patch(session, proxy, headers={"Authorization": f"Bearer {value}"})).status

    old = token.read_text()
    assert await status(old) == 201
    proxy.rotate(token)
    assert await status(old) == 401
    assert await status(token.read_text()) == 200


async def test_a_server_that_is_gone_looks_gone(session, proxy):
    async with FaultProxy(Upstream("http://127.0.0.1:9", None, {})) as lost:
        with pytest.raises(aiohttp.ClientError):
            await patch(session, lost)
        assert lost.seen[0].status == 0


def test_a_rule_ends_when_its_time_is_over():
    seen = Seen(
        number=0, at=0.0, verb="PATCH", path="/x", query="", manager="", agent="", watch=False, digest=""
    )
    assert Rule(act=broken).meets(seen, random.Random(0))
    assert not Rule(act=broken, until=0.0).meets(seen, random.Random(0))
