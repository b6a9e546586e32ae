"""The manifests that a MediaGateway becomes: two whole ones as files to be read, and what must hold of every one."""

import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from media_gateway_operator.crds.gateway import Components
from media_gateway_operator.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    NETWORK_POLICY,
    PROMETHEUS_RULE,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Object,
)
from media_gateway_operator.mediagateway import reasons
from media_gateway_operator.mediagateway.components import ROWS, STAGES
from media_gateway_operator.mediagateway.rollout import DECLARED, PREVIOUS
from tests.support.gateway_world import DEVELOPMENT, PRODUCTION, World, as_yaml

GOLDEN = Path(__file__).parents[1] / "data" / "operator"
WRITE_GOLDEN = bool(os.environ.get("MEDIA_GATEWAY_TEST_WRITE_GOLDEN"))
"""Set it to write the files anew after a wanted change, and read the difference."""

PRODUCTION_FULL: dict[str, Any] = {
    **PRODUCTION,
    "version": "1.4.2",
    "image": {"registry": "mirror.example/mg", "pullSecrets": [{"name": "mirror"}]},
    "components": {
        "discovery": {
            "replicas": 3,
            "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
            "env": [
                {"name": "MEDIA_GATEWAY_SEARCH_THREADS", "value": "4"},
                {"name": "MEDIA_GATEWAY_EMBEDDER_API_KEY", "secretRef": {"name": "servers", "key": "model"}},
            ],
            "sla": {"p95Milliseconds": 250, "availability": "99.9"},
            "podTemplate": {
                "labels": {"team": "search", "app.kubernetes.io/name": "somebody-else"},
                "nodeSelector": {"disk": "fast"},
                "tolerations": [{"key": "search", "operator": "Exists"}],
                "affinity": {"requiredNodeLabels": [{"key": "gpu", "operator": "DoesNotExist"}]},
                "priorityClassName": "important",
                "terminationGracePeriodSeconds": 90,
            },
        },
        "ingestion": {"autoscaling": {"enabled": True}},
    },
    "dependencies": {
        **PRODUCTION["dependencies"],
        "qdrant": {"dsnSecretRef": {"name": "servers", "key": "qdrant"}},
        "kafka": {"dsnSecretRef": {"name": "servers", "key": "kafka"}},
    },
    "auth": {
        "issuer": "https://id.example",
        "audiences": ["media"],
        "jwksUri": "https://id.example/keys",
    },
}
DEVELOPMENT_KAFKA: dict[str, Any] = {
    **DEVELOPMENT,
    "dependencies": {"postgres": {"storage": {"size": "2Gi"}}, "kafka": {"mode": "Embedded"}},
}


@pytest.fixture(autouse=True, scope="module")
def _fixed_passwords():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secrets.token_hex", lambda size: "5e" * size)
        patch.setattr("secrets.token_urlsafe", lambda size: "pw" * size)
        yield


def settled(spec: Mapping[str, Any]) -> World:
    world = World(spec)
    world.served |= {"ServiceMonitor", "PrometheusRule"}
    values = dict.fromkeys(("database", "redis", "qdrant", "kafka", "model"), "value")
    world.secret("servers", **values)
    world.settle()
    return world


@pytest.fixture(scope="module")
def worlds(_fixed_passwords) -> list[World]:
    return [settled(spec) for spec in (PRODUCTION, PRODUCTION_FULL, DEVELOPMENT, DEVELOPMENT_KAFKA)]


def pods(world: World) -> list[Object]:
    """Pod templates of all that makes pods."""
    kinds = (DEPLOYMENT, STATEFUL_SET, JOB)
    return [one["spec"]["template"] for ref, one in world.objects.items() if ref.kind in kinds]


@pytest.mark.parametrize(
    ("name", "spec"), [("production-external", PRODUCTION_FULL), ("development-embedded", DEVELOPMENT_KAFKA)]
)
def test_manifests_are_as_in_the_file(name: str, spec: dict[str, Any]):
    world = settled(spec)
    children = [one for ref, one in world.objects.items() if one["metadata"].get("ownerReferences")]
    found = as_yaml([_readable(one) for one in children])
    file = GOLDEN / f"{name}.yaml"
    if WRITE_GOLDEN:
        file.write_text(found)
    assert found == file.read_text()


def _readable(one: Object) -> Object:
    metadata = {k: v for k, v in one["metadata"].items() if k in {"name", "namespace", "labels"}}
    annotations = one["metadata"].get("annotations") or {}
    if kept := {k: v for k, v in annotations.items() if k not in {DECLARED, PREVIOUS}}:
        metadata["annotations"] = kept
    return {**{k: v for k, v in one.items() if k != "status"}, "metadata": metadata}


def test_every_pod_is_restricted(worlds: list[World]):
    seen = [template["spec"] for world in worlds for template in pods(world)]
    assert len(seen) > 12
    for spec in seen:
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["runAsGroup"] == 10001
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
            }
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
        assert all("hostPath" not in volume for volume in spec["volumes"])


def test_no_password_is_in_a_manifest_that_is_no_secret(worlds: list[World]):
    for world in worlds:
        others = [one for ref, one in world.objects.items() if ref.kind != SECRET]
        text = json.dumps([*others, world.gateway])
        assert "pwpw" not in text
        assert "5e5e" not in text


def test_labels_of_the_user_never_replace_those_that_services_select_by(worlds: list[World]):
    labels = worlds[1].of(DEPLOYMENT, "main-discovery")["spec"]["template"]["metadata"]["labels"]
    assert labels["team"] == "search"
    assert labels["app.kubernetes.io/name"] == "discovery"
    selector = worlds[1].of(SERVICE, "main-discovery")["spec"]["selector"]
    assert selector.items() <= labels.items()


def test_stopping_times_fit_into_the_grace_period(worlds: list[World]):
    for grace in (None, 5, 7, 30, 90, 3600):
        template = {} if grace is None else {"terminationGracePeriodSeconds": grace}
        world = settled({**PRODUCTION, "components": {"discovery": {"podTemplate": template}}})
        spec = world.of(DEPLOYMENT, "main-discovery")["spec"]["template"]["spec"]
        container = spec["containers"][0]
        config = world.of(CONFIG_MAP, container["envFrom"][0]["configMapRef"]["name"])["data"]
        delay = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        drain = int(config["MEDIA_GATEWAY_DRAIN_TIMEOUT_S"])
        assert delay >= 1
        assert drain >= 1
        assert delay + drain < spec["terminationGracePeriodSeconds"]
        assert config["MEDIA_GATEWAY_DRAIN_DELAY_S"] == "3"


def test_autoscaled_component_declares_no_replicas(worlds: list[World]):
    plan = worlds[1].plan()
    declared = {one["metadata"]["name"]: one for one in plan.objects if one["kind"] == "Deployment"}
    assert "replicas" not in declared["main-ingestion"]["spec"]
    assert declared["main-discovery"]["spec"]["replicas"] == 3


def test_variables_are_settings_that_the_component_reads(worlds: list[World]):
    for world in worlds:
        for name in ROWS:
            settings = importlib.import_module(f"media_gateway.{name}.settings").Settings
            known = {f"MEDIA_GATEWAY_{field.upper()}" for field in settings.model_fields}
            container = world.of(DEPLOYMENT, f"main-{name}")["spec"]["template"]["spec"]["containers"][0]
            config = world.of(CONFIG_MAP, container["envFrom"][0]["configMapRef"]["name"])["data"]
            assert {*config, *(one["name"] for one in container["env"])} <= known


def test_rows_say_what_the_components_are():
    for name, row in ROWS.items():
        component = importlib.import_module(f"media_gateway.{name}.app").COMPONENT
        assert (row.name, row.port, row.needs) == (component.name, component.port, component.needs)
        assert row.stage in STAGES
        assert name in Components.model_fields


# --- who may connect to whom ---------------------------------------------------------------------------------------------


def ingress_of(world: World, name: str) -> dict[int, list[Object]]:
    rules = world.of(NETWORK_POLICY, name)["spec"]["ingress"]
    return {port["port"]: rule["from"] for rule in rules for port in rule["ports"]}


def test_embedded_database_takes_only_those_who_need_it(worlds: list[World]):
    peers = json.dumps(ingress_of(worlds[2], "main-postgres"))
    assert "discovery" in peers
    assert "ingestion" in peers
    assert "migrate" in peers
    assert "mediagateway.io/ingestionjob" in peers
    assert '"podSelector": {}' not in peers


def test_component_reaches_dns_and_its_servers_only(worlds: list[World]):
    egress = worlds[2].of(NETWORK_POLICY, "main-discovery")["spec"]["egress"]
    ports = sorted({port["port"] for rule in egress for port in rule["ports"]})
    assert ports == [53, 5432, 6379]
    assert all("to" in rule for rule in egress if rule["ports"][0]["port"] != 53)


def test_sources_and_servers_elsewhere_are_reachable(worlds: list[World]):
    assert worlds[2].of(NETWORK_POLICY, "main-ingestion")["spec"]["egress"] == [{}]
    assert worlds[0].of(NETWORK_POLICY, "main-discovery")["spec"]["egress"] == [{}]


def test_component_without_a_gateway_is_open_to_its_namespace_only(worlds: list[World]):
    ingress = ingress_of(worlds[0], "main-discovery")
    assert ingress[8081] == [{"podSelector": {}}]
    assert ingress[9090] == [{"namespaceSelector": {}}]


def test_no_policies_where_they_are_switched_off():
    world = settled({**DEVELOPMENT, "networkPolicy": {"enabled": False}})
    assert world.names(NETWORK_POLICY) == []


# --- alerts ---------------------------------------------------------------------------------------------------------------


def test_alerts_follow_from_the_objectives(worlds: list[World]):
    (group,) = worlds[1].of(PROMETHEUS_RULE, "main-sla")["spec"]["groups"]
    by_severity = {rule["labels"]["severity"]: rule for rule in group["rules"] if "Budget" in rule["alert"]}
    # 14.4 and 6 times the 0.1 % that may fail.
    assert by_severity["critical"]["expr"].count("> 0.0144") == 2
    assert by_severity["warning"]["expr"].count("> 0.006") == 2
    latency = [rule["expr"] for rule in group["rules"] if rule["alert"] == "MediaGatewayLatencyHigh"]
    assert len(latency) == 1
    assert latency[0].endswith("> 0.25")


def test_reasons_are_words_and_each_says_one_thing():
    words = {name: value for name, value in vars(reasons).items() if name.isupper()}
    assert len(set(words.values())) == len(words)
    assert all(value.isalpha() and value[0].isupper() for value in words.values())


def test_what_kubectl_applies_from_the_samples_is_one_gateway_and_its_demo_job():
    samples = Path(__file__).parents[2] / "samples"
    found = [one for file in sorted(samples.glob("*.yaml")) for one in yaml.safe_load_all(file.read_text())]
    assert [(one["kind"], one["metadata"]["name"]) for one in found] == [
        ("MediaGateway", "demo"),
        ("IngestionJob", "demo"),
    ]
    assert sorted(path.suffix for path in samples.iterdir() if path.is_file()) == [".yaml", ".yaml"]
    world = World(found[0]["spec"])
    world.settle()
    assert world.condition("Ready") == ("True", "Reconciled")
    assert world.condition("Degraded") == ("False", "Reconciled")
