"""The images as pods: restricted, on a read-only root file system, with what they need and little else."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from media_gateway import __version__
from tests.cluster.access import Kubectl
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.needs("node", "images"),
    pytest.mark.usefixtures("images"),
    pytest.mark.timeout(300),
]

PROGRAM = (Path(__file__).parent / "image_program.py").read_text()

COMPONENT_MB, OPERATOR_MB = 350, 120
"""Most an image may add to its base, unpacked."""


def pod(name: str, image: str, **container: Any) -> dict[str, Any]:
    """A pod as the operator makes them, with one container."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 30,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "only",
                    "image": f"localhost/media-gateway-{image}:{__version__}",
                    "imagePullPolicy": "IfNotPresent",
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "tmp", "mountPath": "/tmp"},
                        {"name": "data", "mountPath": "/data"},
                    ],
                    **container,
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "data", "emptyDir": {}}],
        },
    }


async def ended(kube: Kubectl, name: str) -> tuple[int, str]:
    """Exit status and log of a pod's container."""

    async def state() -> Any:
        found = await kube("get", "pod", name)
        return next(
            (
                one["state"]["terminated"]
                for one in found["status"].get("containerStatuses", ())
                if "terminated" in one["state"]
            ),
            None,
        )

    terminated = await eventually(state, timeout_s=240, interval_s=0.5)
    return terminated["exitCode"], await kube.text("logs", name)


async def looked_at(kube: Kubectl, image: str) -> dict[str, Any]:
    """What the program finds inside."""
    document = pod(image, image, command=["python", "-c", PROGRAM, image])
    await kube("create", "-f", "-", document=document)
    status, log = await ended(kube, image)
    assert status == 0, log
    found: dict[str, Any] = json.loads(log.splitlines()[-1])
    assert (found["uid"], found["gid"], found["writable"]) == (10001, 10001, ["/tmp"])
    assert not found["installers"]
    assert not found["sources_without_bytecode"]
    return found


async def test_discovery_holds_what_it_runs(kube: Kubectl) -> None:
    found = await looked_at(kube, "discovery")
    assert found["size_mb"] <= COMPONENT_MB
    assert set(found["folders"]) - {"__pycache__"} == {"core", "discovery"}
    assert (found["closer"], found["found"]) == (True, 1)


async def test_ingestion_holds_what_it_runs(kube: Kubectl) -> None:
    found = await looked_at(kube, "ingestion")
    assert found["size_mb"] <= COMPONENT_MB
    assert set(found["folders"]) - {"__pycache__"} == {"core", "ingestion"}
    assert found["closer"]
    assert found["rows"] == found["expected"]
    assert found["presigned"].startswith("https://")


async def test_migrate_and_trainer_hold_core_and_nothing_else(kube: Kubectl) -> None:
    migrate, trainer = await asyncio.gather(looked_at(kube, "migrate"), looked_at(kube, "trainer"))
    for found in (migrate, trainer):
        assert found["size_mb"] <= COMPONENT_MB
        assert set(found["folders"]) - {"__pycache__"} == {"core"}


async def test_operator_is_small_and_has_no_official_client(kube: Kubectl) -> None:
    found = await looked_at(kube, "operator")
    assert found["size_mb"] <= OPERATOR_MB
    assert set(found["folders"]) - {"__pycache__"} == {"core"}
    assert not found["official_client"]


async def test_wrong_setting_ends_each_program_with_78_and_its_name(kube: Kubectl) -> None:
    env = [{"name": "MEDIA_GATEWAY_LOG_LEVEL", "value": "loud"}]
    job = ["python", "-m", "media_gateway.ingestion.job", "/tmp/none"]
    await kube("create", "-f", "-", document=[
        pod("discovery", "discovery", env=env), pod("ingestion", "ingestion", env=env),
        pod("job", "ingestion", env=env, command=job), pod("migrate", "migrate", env=env),
    ])  # fmt: skip
    for name in ("discovery", "ingestion", "job", "migrate"):
        status, log = await ended(kube, name)
        assert status == 78, log
        assert "MEDIA_GATEWAY_LOG_LEVEL" in log.splitlines()[-1]


async def test_trainer_says_that_it_can_not_train_yet(kube: Kubectl) -> None:
    await kube("create", "-f", "-", document=pod("trainer", "trainer"))
    status, log = await ended(kube, "trainer")
    assert status == 78
    assert "no training yet" in log


@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", ["postgres", "redis", "kafka"])
async def test_server_for_development_answers_and_stops_in_good_order(kube: Kubectl, server: str) -> None:
    check = {"exec": {"command": ["dev-backends", "check", server]}, "periodSeconds": 3, "timeoutSeconds": 10}
    env = [
        {"name": "MEDIA_GATEWAY_POSTGRES_PASSWORD", "value": "word"},
        {"name": "MEDIA_GATEWAY_REDIS_PASSWORD", "value": "word"},
        {"name": "MEDIA_GATEWAY_KAFKA_ADVERTISED", "value": "localhost:9092"},
    ]
    image = "dev-backends-kafka" if server == "kafka" else "dev-backends"
    document = pod(server, image, args=["dev-backends", server], env=env, readinessProbe=check)
    await kube("create", "-f", "-", document=document)
    await kube.text("wait", f"pod/{server}", "--for=condition=Ready", "--timeout=400s", timeout_s=420)

    followed = asyncio.create_task(kube.text("logs", "--follow", server, timeout_s=120))
    await kube.text("delete", "pod", server, "--wait=false")
    log = await followed

    goodbye = {"postgres": "database system is shut down", "redis": "bye bye", "kafka": ""}
    assert goodbye[server] in log
