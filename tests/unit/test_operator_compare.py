"""What counts as a difference between a declared and a live object, and what is only the API server's way to write it."""

from typing import Any

import pytest

from media_gateway_operator.engine.compare import differences
from media_gateway_operator.kube.kinds import Object


def pod(**container: Any) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", **container}]}}}}


SAME = {
    "equal": ({"a": 1}, {"a": 1}),
    "defaults filled in": ({"spec": {"a": 1}}, {"spec": {"a": 1, "b": 2}, "status": {}}),
    "quantity in another unit": (
        pod(resources={"requests": {"cpu": "0.5", "memory": "1024Mi"}}),
        pod(resources={"requests": {"cpu": "500m", "memory": "1Gi"}}),
    ),
    "quantity as a number": (pod(resources={"limits": {"cpu": 1}}), pod(resources={"limits": {"cpu": "1"}})),
    "quantity of an emptyDir": ({"emptyDir": {"sizeLimit": "1Gi"}}, {"emptyDir": {"sizeLimit": "1024Mi"}}),
    "number as text": ({"targetPort": 80}, {"targetPort": "80"}),
    "false left out": ({"hostNetwork": False, "a": 1}, {"a": 1}),
    "empty left out": ({"labels": {}, "args": [], "x": "", "nested": {"y": []}}, {}),
    "null left out": ({"a": None}, {}),
    "order of containers": (
        {"containers": [{"name": "a"}, {"name": "b"}]},
        {"containers": [{"name": "b"}, {"name": "a"}]},
    ),
    "somebody's sidecar": (pod(image="i"), {"spec": {"template": {"spec": {"containers": [
        {"name": "proxy"}, {"name": "main", "image": "i"}]}}}}),
    "somebody's variable": (
        pod(env=[{"name": "A", "value": "1"}]),
        pod(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]),
    ),
    "protocol filled in": (
        pod(ports=[{"containerPort": 80}]),
        pod(ports=[{"containerPort": 80, "protocol": "TCP"}]),
    ),
    "port of a service": (
        {"spec": {"ports": [{"port": 80, "name": "http"}]}},
        {"spec": {"ports": [{"port": 80, "name": "http", "protocol": "TCP", "nodePort": 30000}]}},
    ),
}  # fmt: skip

DIFFERENT = {
    "scalar": ({"spec": {"replicas": 2}}, {"spec": {"replicas": 3}}, "spec.replicas"),
    "zero is a value": ({"replicas": 0}, {"replicas": 1}, "replicas"),
    "missing": ({"spec": {"a": 1}}, {"spec": {}}, "spec.a"),
    "missing block": ({"spec": {"a": {"b": 1}}}, {}, "spec"),
    "true is not text": ({"a": True}, {"a": "True"}, "a"),
    "image": (pod(image="a"), pod(image="b"), "spec.template.spec.containers[main].image"),
    "variable": (
        pod(env=[{"name": "A", "value": "1000m"}]),
        pod(env=[{"name": "A", "value": "1"}]),
        "spec.template.spec.containers[main].env[A].value",
    ),
    "container gone": (pod(), {"spec": {"template": {"spec": {"containers": []}}}}, "spec.template.spec.containers[main]"),
    "argument added": (pod(args=["a"]), pod(args=["a", "b"]), "spec.template.spec.containers[main].args"),
    "argument changed": (pod(args=["a"]), pod(args=["b"]), "spec.template.spec.containers[main].args[0]"),
    "quantity": (
        pod(resources={"limits": {"memory": "1Gi"}}),
        pod(resources={"limits": {"memory": "1G"}}),
        "spec.template.spec.containers[main].resources.limits.memory",
    ),
    "port added to a network policy": (
        {"spec": {"ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}]}},
        {"spec": {"ingress": [{"ports": [{"port": 80, "protocol": "TCP"}, {"port": 22, "protocol": "TCP"}]}]}},
        "spec.ingress[0].ports",
    ),
    "same port, other protocol": (
        pod(ports=[{"containerPort": 80, "protocol": "UDP"}]),
        pod(ports=[{"containerPort": 80, "protocol": "TCP"}]),
        "spec.template.spec.containers[main].ports[80/UDP]",
    ),
    "list for a value": ({"a": "x"}, {"a": ["x"]}, "a"),
}  # fmt: skip


@pytest.mark.parametrize(("declared", "live"), SAME.values(), ids=SAME)
def test_no_difference(declared, live):
    assert list(differences(declared, live)) == []


@pytest.mark.parametrize(("declared", "live", "path"), DIFFERENT.values(), ids=DIFFERENT)
def test_difference_is_named(declared, live, path):
    assert list(differences(declared, live)) == [path]
