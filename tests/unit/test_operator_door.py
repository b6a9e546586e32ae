"""The progress door: a pod may report for its own job, and for nothing else."""

import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import BaseModel

from media_gateway.core.errors import NotFoundError
from media_gateway_operator.engine import tokens as module
from media_gateway_operator.engine.progress_door import PODS_KEPT, ProgressDoor
from media_gateway_operator.kube.kinds import INGESTION_JOB, JOB, POD, Object, Ref
from media_gateway_operator.kube.store import Store
from tests.support.memory_kube import MemoryKube
from tests.unit.test_operator_store import thing

KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


class Report(BaseModel):
    read: int


class Kube(MemoryKube):
    def __init__(self) -> None:
        super().__init__()
        self.keys, self.fetched = {"one": KEY}, 0

    async def read(self, path: str, **params: str) -> Object:
        if path != module.KEYS_PATH:
            raise NotFoundError(path)
        self.fetched += 1
        made = []
        for kid, key in self.keys.items():
            public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
            made.append({**public, "kid": kid, "use": "sig"})
        return {"keys": made}


class World:
    def __init__(self) -> None:
        self.kube, self.store = Kube(), Store()
        self.leader: str | None = None
        self.reports: list[tuple[str, str, str, int]] = []
        job = self.put(thing(INGESTION_JOB, "nightly"))
        self.job = self.put(thing(JOB, "nightly-1", owner=job))
        self.pod = self.kube.put(thing(POD, "nightly-1-abc", owner=self.job))
        self.door = ProgressDoor(self.kube.as_client(), self.store, self, Report, lambda: self.leader)

    def put(self, something: Object) -> Object:
        made = self.kube.put(something)
        self.store.put(made)
        return made

    def report(self, namespace: str, name: str, pod: str, payload: Report) -> None:
        self.reports.append((namespace, name, pod, payload.read))

    def token(self, key: rsa.RSAPrivateKey = KEY, kid: str = "one", **changes: Any) -> str:
        claims = {
            "aud": ["media-gateway-operator"],
            "exp": time.time() + 600,
            "kubernetes.io": {
                "namespace": "x",
                "pod": {"name": "nightly-1-abc", "uid": self.pod["metadata"]["uid"]},
            },
            **changes,
        }
        return jwt.encode(claims, key, "RS256", headers={"kid": kid})


@pytest.fixture
def world():
    return World()


@pytest.fixture
async def client(world):
    async with TestClient(TestServer(world.door.app())) as client:
        yield client


async def post(
    client: TestClient[web.Request, web.Application],
    token: str | None,
    path: str = "/v1/progress/x/nightly",
    body: str = '{"read": 5}',
) -> tuple[int, str, Mapping[str, str]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = await client.post(path, data=body, headers=headers, allow_redirects=False)
    return answer.status, await answer.text(), answer.headers


async def test_report_of_a_job_s_pod_is_handed_on(world, client):
    status, _, _ = await post(client, world.token())
    assert status == 204
    assert world.reports == [("x", "nightly", "nightly-1-abc", 5)]


async def test_pod_and_keys_are_looked_up_once(world, client):
    asked = []
    world.kube.before = lambda verb, ref: asked.append(ref)
    for _ in range(5):
        assert (await post(client, world.token()))[0] == 204
    assert asked == [Ref(POD, "x", "nightly-1-abc")]
    assert world.kube.fetched == 1


async def test_follower_points_to_the_leader(world, client):
    world.leader = "http://10.0.0.7:8088"
    status, _, headers = await post(client, world.token())
    assert (status, headers["Location"]) == (307, "http://10.0.0.7:8088/v1/progress/x/nightly")
    world.leader = ""
    status, _, headers = await post(client, world.token())
    assert status == 503
    assert headers["Retry-After"]
    assert world.reports == []


BAD_TOKENS = {
    "none": lambda w: None,
    "nonsense": lambda w: "a.b.c",
    "of another cluster": lambda w: w.token(key=OTHER_KEY),
    "unknown key": lambda w: w.token(kid="two"),
    "expired": lambda w: w.token(exp=time.time() - 60),
    "for somebody else": lambda w: w.token(aud="https://kubernetes.default.svc"),
    "without a pod": lambda w: w.token(**{"kubernetes.io": {"namespace": "x"}}),
    "symmetric": lambda w: jwt.encode({"aud": "media-gateway-operator"}, "k" * 32, "HS256", headers={"kid": "one"}),
}  # fmt: skip


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS)
async def test_bad_token_is_401(world, client, make):
    status, text, _ = await post(client, make(world))
    assert status == 401
    assert text.strip()
    assert world.reports == []


async def test_unknown_keys_do_not_make_us_ask_the_server_each_time(world, client):
    for number in range(5):
        await post(client, world.token(kid=f"made-up-{number}"))
    assert world.kube.fetched == 1


async def test_replaced_keys_are_fetched(world, client, monkeypatch):
    assert (await post(client, world.token()))[0] == 204
    world.kube.keys = {"two": OTHER_KEY}
    monkeypatch.setattr(module, "REFETCH_S", 0.0)
    assert (await post(client, world.token(key=OTHER_KEY, kid="two")))[0] == 204


async def test_pod_reports_for_no_job_but_its_own(world, client):
    other = world.put(thing(INGESTION_JOB, "other"))
    world.put(thing(JOB, "other-1", owner=other))
    status, text, _ = await post(client, world.token(), "/v1/progress/x/other")
    assert (status, text) == (403, "pod nightly-1-abc does not belong to IngestionJob other\n")


@pytest.mark.parametrize("path", ["/v1/progress/y/nightly", "/v1/progress/x/absent"])
async def test_other_namespaces_and_absent_jobs_are_403(world, client, path):
    assert (await post(client, world.token(), path))[0] == 403


async def test_pod_that_is_another_by_now_is_403(world, client):
    world.kube.objects[Ref(POD, "x", "nightly-1-abc")]["metadata"]["uid"] = "another"
    assert (await post(client, world.token()))[0] == 403


@pytest.mark.parametrize("body", ["", "[]", '{"read": "many"}', "{"])
async def test_wrong_report_is_400_and_says_why(world, client, body):
    status, text, _ = await post(client, world.token(), body=body)
    assert status == 400
    assert ":" in text


async def test_huge_body_is_refused(world, client):
    assert (await post(client, world.token(), body='{"read": 1, "x": "' + "x" * 100_000 + '"}'))[0] == 413


def test_pods_are_not_remembered_for_ever(world):
    for number in range(2 * PODS_KEPT):
        world.door._remember(f"uid-{number}", "job")
    assert len(world.door._jobs) == PODS_KEPT
