"""New versions of a component on real pods: requests go on, what does not start is taken back, a migration gates it all.

The gateway `live` uses the servers of the samples' gateway as servers elsewhere. In this order: each story goes on from
the one before.
"""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from media_gateway_operator.kube.kinds import API_VERSION, LABEL_INSTANCE, LABEL_NAME, RECONCILE_AT
from tests.cluster.access import KubectlError
from tests.cluster.installation import FILM, TITLE, Platform, pod, running
from tests.support.servers import run_here
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.needs("node", "images"),
    pytest.mark.timeout(600),
]

GATEWAY = "mediagateway/live"
PODS = f"{LABEL_INSTANCE}=live,{LABEL_NAME}=discovery"

REQUESTS_PER_SECOND = 30

SERVERS = {
    "postgres": {"mode": "External", "dsnSecretRef": {"name": "live-database", "key": "dsn"}},
    "redis": {"mode": "External", "dsnSecretRef": {"name": "demo-redis", "key": "dsn"}},
}
MANIFEST = {
    "apiVersion": API_VERSION,
    "kind": "MediaGateway",
    "metadata": {"name": "live"},
    "spec": {
        "dependencies": SERVERS,
        "components": {"discovery": {"replicas": 2}, "ingestion": {"enabled": False}},
    },
}
# The servers belong to another gateway, whose policies let in its own pods only; policies add up.
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "live-to-demo"},
    "spec": {
        "podSelector": {"matchLabels": {LABEL_INSTANCE: "demo"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {LABEL_INSTANCE: "live"}}}]}],
    },
}


@pytest.fixture(scope="module", autouse=True)
def _gone_afterwards(platform: Platform) -> Iterator[None]:
    yield
    run_here(platform.media.text("delete", GATEWAY, "--ignore-not-found", "--wait=false"))


async def _secret(platform: Platform, values: dict[str, str]) -> None:
    metadata = {"name": "live-database"}
    await platform.media("apply", "-f", "-", document={
        "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": values,
    })  # fmt: skip


async def _discovery(platform: Platform) -> dict[str, Any]:
    """What the gateway's status says of discovery."""
    components = (await platform.status(GATEWAY)).get("components") or ()
    return next((one for one in components if one["name"] == "discovery"), {})


async def _change(platform: Platform, *, image: str, deadline_s: int = 120) -> None:
    rollout = {"progressDeadlineSeconds": deadline_s}
    change = {"components": {"discovery": {"image": image}}, "rollout": rollout}
    await platform.patch(GATEWAY, {"spec": change})


class Load:
    """Requests at a steady pace; `told` is there once they have stopped."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}


@asynccontextmanager
async def _load(platform: Platform) -> AsyncIterator[Load]:
    """Ask discovery's Service from a pod while the block runs."""
    program = (Path(__file__).parent / "load.py").read_text(encoding="utf-8")
    url = "http://live-discovery:8081/api/v1/search"
    image = platform.image("discovery")
    asking = pod("load", image, "python", "-c", program, url, str(REQUESTS_PER_SECOND))
    load = Load()
    async with running(platform.media, asking) as name:

        async def begun() -> bool:
            return "begun" in await platform.media.text("logs", name)

        await eventually(begun, timeout_s=30, interval_s=0.2)
        yield load
        await platform.media.text("exec", name, "--", "sh", "-c", "kill -TERM 1")
        wait = ("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
        await platform.media.text(*wait, timeout_s=70)
        load.told = json.loads((await platform.media.text("logs", name)).splitlines()[-1])


def _answered_all(load: Load) -> None:
    assert load.told["problems"] == {}, load.told
    # A busy machine may keep the pod that asks from its pace.
    assert load.told["requests"] >= load.told["pace"] * load.told["seconds"] / 2, load.told


async def test_migration_that_fails_says_why_and_heals_with_the_secret(platform: Platform) -> None:
    data = (await platform.get("secret/demo-postgres"))["data"]
    await platform.media("apply", "-f", "-", document=POLICY)
    # The password's own, not base64 of a DSN: no URL at all.
    await _secret(platform, {"dsn": data["password"]})
    await platform.media("create", "-f", "-", document=MANIFEST)

    async def failed() -> dict[str, Any] | None:
        found = await platform.condition(GATEWAY, "Migrated")
        return found if found.get("reason") == "MigrationFailed" else None

    migrated = await eventually(failed, timeout_s=60, interval_s=0.3)
    assert migrated is not None
    assert "exit code 78: MEDIA_GATEWAY_DATABASE_URL: not an address" in migrated["message"]
    assert (await platform.condition(GATEWAY, "Degraded"))["reason"] == "MigrationFailed"
    assert (await platform.condition(GATEWAY, "Ready"))["reason"] == "MigrationFailed"
    with pytest.raises(KubectlError, match="not found"):
        await platform.get("deployment/live-discovery")
    await _secret(platform, {"dsn": data["dsn"]})
    # Seen within a minute by itself; this is how a person who waits asks for it now.
    await platform.media.text("annotate", GATEWAY, f"{RECONCILE_AT}=now")
    await platform.wait(GATEWAY, "Migrated")
    await platform.wait(GATEWAY, "Ready", timeout_s=120)
    # Ready pods have their index.
    assert TITLE in await platform.search(FILM, "live-discovery")


async def test_new_image_fails_no_request(platform: Platform, record_property: Any) -> None:
    new = f"{platform.image('discovery')}-next"
    platform.cluster.tag_image(platform.image("discovery"), new)
    before = await _discovery(platform)
    budget = await platform.get("pdb/live-discovery")
    assert (budget["spec"]["maxUnavailable"], budget["status"]["disruptionsAllowed"]) == (1, 1)

    async def only_new() -> bool:
        pods = (await platform.media("get", "pods", "-l", PODS))["items"]
        images = [one["spec"]["containers"][0]["image"] for one in pods]
        return images == [new, new]

    async with _load(platform) as load:
        began = time.monotonic()
        await _change(platform, image=new)
        await platform.seen(GATEWAY)
        await platform.wait(GATEWAY, "Ready", timeout_s=180)
        record_property("seconds until two pods have a new image", round(time.monotonic() - began, 1))
        await eventually(only_new, timeout_s=90, interval_s=0.5)
    record_property("requests during the change of the image", load.told)
    _answered_all(load)
    after = await _discovery(platform)
    assert (after["image"], after["ready"], after["desired"]) == (new, 2, 2)
    assert after["revision"] != before["revision"]
    sets = (await platform.media("get", "replicasets", "-l", PODS))["items"]
    assert sorted(one["spec"]["replicas"] for one in sets) == [0, 2]


async def test_image_that_does_not_exist_is_taken_back(platform: Platform, record_property: Any) -> None:
    good, bad = (f"{platform.image('discovery')}-{tag}" for tag in ("next", "missing"))
    async with _load(platform) as load:
        began = time.monotonic()
        await _change(platform, deadline_s=10, image=bad)
        await platform.wait(GATEWAY, "Degraded", timeout_s=90)
        record_property("seconds until a bad image is taken back", round(time.monotonic() - began, 1))
        degraded = await platform.condition(GATEWAY, "Degraded")
        assert (degraded["reason"], "discovery" in degraded["message"]) == ("RolledBack", True)

        async def back() -> bool:
            status = (await platform.get("deployment/live-discovery"))["status"]
            return bool(status["replicas"] == status["availableReplicas"] == 2)

        await eventually(back, timeout_s=60, interval_s=0.3)
    _answered_all(load)
    live = await platform.get("deployment/live-discovery")
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == good
    assert (await platform.condition(GATEWAY, "Ready"))["reason"] == "RolledBack"
    assert "RolledBack" in await platform.reasons("live")


async def test_next_spec_ends_the_rollback(platform: Platform) -> None:
    await _change(platform, deadline_s=120, image=f"{platform.image('discovery')}-next")
    await platform.seen(GATEWAY)
    await platform.wait(GATEWAY, "Degraded=False")
    await platform.wait(GATEWAY, "Ready")
