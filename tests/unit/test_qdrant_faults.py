"""The Qdrant adapter against a real HTTP server on loopback that fails in every way."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from media_gateway.core.adapters.qdrant import QdrantIndex
from media_gateway.core.domain.vectors import VectorFilter, VectorPayload, VectorPoint
from media_gateway.core.errors import (
    ConflictError,
    DeadlineExceededError,
    InvalidInputError,
    MediaGatewayError,
    NotConfiguredError,
    RateLimitedError,
    UnavailableError,
    UpstreamError,
)

MODEL, DIMENSION = "model-a", 4
VECTOR = np.array([1, 0, 0, 0], np.float32)
COLLECTION = "/collections/media_content"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StubQdrant:
    """Speaks enough of Qdrant's REST API; keeps what it was sent; fails as told."""

    def __init__(self) -> None:
        self.exists = True
        self.vectors: dict[str, Any] = {MODEL: {"size": DIMENSION, "distance": "Cosine"}}
        self.payload_schema: dict[str, Any] = {}
        self.seen: list[tuple[str, str, Any]] = []
        self.fault: Handler | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.seen.append((request.method, request.path, body))
        if self.fault is not None:
            return await self.fault(request)
        return web.json_response({"result": self._result(request), "status": "ok", "time": 0.001})

    def _result(self, request: web.Request) -> Any:
        call = (request.method, request.path.removeprefix(COLLECTION))
        if call == ("PUT", ""):
            self.exists = True
            return True
        answers = {
            ("GET", "/exists"): {"exists": self.exists},
            ("GET", ""): self._collection(),
            ("GET", "/collections"): {"collections": []},
            ("POST", "/points/query"): {"points": []},
            ("POST", "/points/count"): {"count": 0},
        }
        return answers.get(call, {"operation_id": 1, "status": "completed"})

    def _collection(self) -> dict[str, Any]:
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "config": {
                "params": {"vectors": self.vectors},
                "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                },
            },
            "payload_schema": self.payload_schema,
        }

    def sent(self, method: str, path: str) -> list[Any]:
        return [
            body for seen_method, seen_path, body in self.seen if (seen_method, seen_path) == (method, path)
        ]


@pytest.fixture
async def stub() -> StubQdrant:
    return StubQdrant()


@pytest.fixture
async def url(stub: StubQdrant) -> AsyncIterator[str]:
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", stub.handle)
    async with TestServer(app) as server:
        yield f"qdrant+http://{server.host}:{server.port}"


@pytest.fixture
async def index(url: str) -> AsyncIterator[QdrantIndex]:
    index = QdrantIndex(f"{url}?timeout_ms=300", model=MODEL, dimension=DIMENSION)
    await index.ensure()
    yield index
    await index.close()


def points(count: int) -> list[VectorPoint]:
    payload = VectorPayload(title="Film", content_type="movie", genres=("war",), release_year=1990)
    return [VectorPoint(uuid.UUID(int=n + 1), VECTOR, payload) for n in range(count)]


def answering(status: int, body: str = "{}", **headers: str) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=body, content_type="application/json", headers=sent)

    return answer


async def test_100_points_travel_in_exactly_one_request_and_101_in_none(
    stub: StubQdrant, index: QdrantIndex
) -> None:
    stub.seen.clear()

    await index.upsert_batch(points(100))
    with pytest.raises(InvalidInputError, match="at most 100"):
        await index.upsert_batch(points(101))

    assert [(method, path) for method, path, _ in stub.seen] == [("PUT", f"{COLLECTION}/points")]
    (body,) = stub.sent("PUT", f"{COLLECTION}/points")
    assert [one["id"] for one in body["points"]] == [str(uuid.UUID(int=n + 1)) for n in range(100)]
    assert body["points"][0] == {
        "id": str(uuid.UUID(int=1)),
        "vector": {MODEL: [1.0, 0.0, 0.0, 0.0]},
        "payload": {
            "content_id": str(uuid.UUID(int=1)),
            "title": "Film",
            "content_type": "movie",
            "genres": ["war"],
            "platforms": [],
            "release_year": 1990,
            "embedding_model": MODEL,
        },
    }


async def test_filters_are_sent_to_the_server(stub: StubQdrant, index: QdrantIndex) -> None:
    where = VectorFilter(
        genres_any=("war", "drama"),
        genres_none=("horror",),
        platforms_any=("netflix",),
        content_types=("movie",),
        year_from=1990,
        exclude_ids=(uuid.UUID(int=5),),
    )
    await index.search(VECTOR, top_k=7, where=where)
    (body,) = stub.sent("POST", f"{COLLECTION}/points/query")
    assert body["limit"] == 7
    assert body["using"] == MODEL
    must = {condition["key"]: condition for condition in body["filter"]["must"]}
    assert must["genres"]["match"]["any"] == ["war", "drama"]
    assert must["platforms"]["match"]["any"] == ["netflix"]
    assert must["content_type"]["match"]["any"] == ["movie"]
    assert must["release_year"]["range"]["gte"] == 1990
    unwanted = body["filter"]["must_not"]
    assert unwanted[0]["match"]["any"] == ["horror"]
    assert unwanted[1]["has_id"] == [str(uuid.UUID(int=5))]


async def test_absent_collection_is_made_with_all_payload_indexes(stub: StubQdrant, url: str) -> None:
    stub.exists = False
    index = QdrantIndex(url, model=MODEL, dimension=DIMENSION)
    await index.ensure()
    await index.close()
    (created,) = stub.sent("PUT", COLLECTION)
    assert created["vectors"] == {MODEL: {"size": DIMENSION, "distance": "Cosine"}}
    indexes = {body["field_name"]: body["field_schema"] for body in stub.sent("PUT", f"{COLLECTION}/index")}
    assert indexes == {
        "genres": "keyword",
        "platforms": "keyword",
        "content_type": "keyword",
        "release_year": "integer",
    }


async def test_existing_payload_indexes_are_left_alone(stub: StubQdrant, url: str) -> None:
    stub.payload_schema = {"genres": {"data_type": "keyword", "points": 0}}
    index = QdrantIndex(url, model=MODEL, dimension=DIMENSION)
    await index.ensure()
    await index.close()
    made = [body["field_name"] for body in stub.sent("PUT", f"{COLLECTION}/index")]
    assert sorted(made) == ["content_type", "platforms", "release_year"]
    assert stub.sent("PUT", COLLECTION) == []


async def test_losing_the_race_to_make_the_collection_is_no_error(stub: StubQdrant, url: str) -> None:
    stub.exists = False

    async def lose(request: web.Request) -> web.StreamResponse:
        stub.fault = None
        if request.method == "PUT":
            stub.exists = True
            return web.json_response({"status": {"error": "already exists"}}, status=409)
        response = await stub.handle(request)
        stub.fault = lose
        return response

    stub.fault = lose
    index = QdrantIndex(url, model=MODEL, dimension=DIMENSION)
    await index.ensure()
    await index.close()


@pytest.mark.parametrize(
    "vectors",
    [
        {"size": DIMENSION, "distance": "Cosine"},
        {"model-b": {"size": DIMENSION, "distance": "Cosine"}},
        {MODEL: {"size": DIMENSION + 1, "distance": "Cosine"}},
        {MODEL: {"size": DIMENSION, "distance": "Euclid"}},
    ],
)
async def test_collection_of_another_kind_is_refused(stub: StubQdrant, url: str, vectors: Any) -> None:
    stub.vectors = vectors
    index = QdrantIndex(url, model=MODEL, dimension=DIMENSION)
    with pytest.raises(ConflictError):
        await index.ensure()
    await index.close()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (answering(500), UnavailableError),
        (answering(503, "overloaded"), UnavailableError),
        (answering(400, '{"status":{"error":"bad"}}'), UpstreamError),
        (answering(401), NotConfiguredError),
        (answering(403), NotConfiguredError),
        (answering(404), UnavailableError),
        (answering(408), DeadlineExceededError),
        (answering(429), RateLimitedError),
        (answering(429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), RateLimitedError),
        (answering(200, "not JSON"), UpstreamError),
        (answering(200, '{"result": null}'), UpstreamError),
        (answering(200, '{"result": {"points": "?"}}'), UpstreamError),
    ],
    ids=[
        "500",
        "503",
        "400",
        "401",
        "403",
        "404",
        "408",
        "429",
        "429-date",
        "no-json",
        "no-result",
        "other-json",
    ],
)
async def test_bad_answers_become_our_errors(
    stub: StubQdrant, index: QdrantIndex, fault: Handler, error: type[MediaGatewayError]
) -> None:
    stub.fault = fault
    with pytest.raises(error):
        await index.search(VECTOR, top_k=1)
    stub.fault = None
    assert await index.search(VECTOR, top_k=1) == []


async def test_retry_after_of_a_busy_server_is_passed_on(stub: StubQdrant, index: QdrantIndex) -> None:
    stub.fault = answering(429, Retry_After="7")
    with pytest.raises(RateLimitedError) as caught:
        await index.count()
    assert caught.value.retry_after_ms == 7000


@pytest.mark.parametrize("begins", [False, True], ids=["silent", "dripping"])
async def test_slow_server_exceeds_the_deadline(stub: StubQdrant, index: QdrantIndex, begins: bool) -> None:
    released = asyncio.Event()

    async def stall(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if begins:
            await response.prepare(request)
        while not released.is_set():
            if begins:  # a read timeout alone would never fire
                await response.write(b" ")
            await asyncio.sleep(0.02)
        return response if begins else web.json_response({})

    stub.fault = stall
    with pytest.raises(DeadlineExceededError):
        async with asyncio.timeout(10):
            await index.search(VECTOR, top_k=1)
    released.set()
    stub.fault = None
    await index.ping()


async def test_answer_cut_off_in_the_middle_is_unavailable(stub: StubQdrant, index: QdrantIndex) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"result":')
        assert request.transport is not None
        request.transport.close()
        return response

    stub.fault = cut
    with pytest.raises(UnavailableError):
        await index.search(VECTOR, top_k=1)


async def test_dropped_collection_is_made_again_by_the_next_call(
    stub: StubQdrant, index: QdrantIndex
) -> None:
    stub.fault = answering(
        404, '{"status":{"error":"Not found: Collection `media_content` doesn\'t exist!"}}'
    )
    with pytest.raises(UnavailableError):
        await index.upsert_batch(points(1))
    stub.fault, stub.exists = None, False
    await index.upsert_batch(points(1))
    assert stub.sent("PUT", COLLECTION) != []


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection:UserWarning")
async def test_key_is_sent_and_never_in_messages(stub: StubQdrant, url: str) -> None:
    keys = []

    async def look(request: web.Request) -> web.StreamResponse:
        keys.append(request.headers.get("api-key"))
        return web.json_response({"status": {"error": "forbidden"}}, status=403)

    stub.fault = look
    index = QdrantIndex(url.replace("//", "//:s%2Fecret@"))
    with pytest.raises(NotConfiguredError) as caught:
        await index.ping()
    await index.close()
    assert keys == ["s/ecret"]
    assert "ecret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["qdrant", "qdrant+http", "qdrants", "qdrants+http"])
async def test_absent_server_is_unavailable(scheme: str, free_port: int) -> None:
    index = QdrantIndex(f"{scheme}://127.0.0.1:{free_port}?timeout_ms=2000")
    for call in (index.ping, index.ensure, index.count):
        with pytest.raises(MediaGatewayError) as caught:
            await call()
        assert caught.value.retryable
    await index.close()
