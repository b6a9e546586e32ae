"""What the templates make of every values file in ``ci/``."""

from collections.abc import Iterator
from typing import Any

import pytest

from media_gateway import __version__
from media_gateway_operator.settings import PREFIX, OperatorSettings
from tests.charts.helm import (
    CHARTS,
    GATEWAY,
    OPERATOR,
    Helm,
    HelmError,
    Manifest,
    ci_values,
    named,
    of_kind,
    one,
)

MATRIX = [
    pytest.param(chart, values, id=f"{chart}-{values.stem.removesuffix('-values')}")
    for chart in (OPERATOR, GATEWAY)
    for values in ci_values(chart)
]

WITHOUT_NAMESPACE = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}


def pod_specs(manifests: list[Manifest]) -> Iterator[dict[str, Any]]:
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            yield manifest["spec"]
        elif "template" in manifest.get("spec", {}):
            yield manifest["spec"]["template"]["spec"]


@pytest.mark.parametrize(("chart", "values"), MATRIX)
def test_lint_has_nothing_to_say(helm: Helm, chart, values):
    assert "0 chart(s) failed" in helm.lint(chart, values)


@pytest.mark.parametrize(("chart", "values"), MATRIX)
def test_no_object_is_made_twice(helm: Helm, chart, values):
    names = [named(manifest) for manifest in helm.render(chart, values=values)]
    assert names
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(("chart", "values"), MATRIX)
def test_every_object_is_labelled_and_placed(helm: Helm, chart, values):
    for manifest in helm.render(chart, values=values):
        metadata = manifest["metadata"]
        if metadata["name"].startswith("release-") and manifest["kind"] == "ConfigMap":
            continue  # extraObjects are the user's
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm", named(manifest)
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "media-gateway", named(manifest)
        assert ("namespace" not in metadata) == (manifest["kind"] in WITHOUT_NAMESPACE), named(manifest)
        if "everything" in values.name or "secrets" in values.name:
            assert metadata["labels"]["owner"] == "media", named(manifest)


@pytest.mark.parametrize(("chart", "values"), MATRIX)
def test_every_pod_is_restricted(helm: Helm, chart, values):
    for spec in pod_specs(helm.render(chart, values=values)):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["enableServiceLinks"] is False
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"]["drop"] == ["ALL"]
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("values", ci_values(OPERATOR), ids=lambda path: path.stem)
def test_every_variable_is_a_setting_with_a_value_it_takes(helm: Helm, monkeypatch, values):
    deployment = one(helm.render(OPERATOR, values=values), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    names = {variable["name"].removeprefix(PREFIX).lower() for variable in container["env"]}
    assert names <= set(OperatorSettings.model_fields)
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", "10.0.0.7"))
    settings = OperatorSettings()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"metrics": settings.port, "progress": settings.progress_port}


def test_settings_follow_the_values(helm: Helm, monkeypatch):
    values = next(path for path in ci_values(OPERATOR) if "everything" in path.name)
    deployment = one(helm.render(OPERATOR, values=values), "Deployment")
    for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", "10.0.0.7"))
    settings = OperatorSettings()
    assert (settings.lease_duration_s, settings.lease_renew_deadline_s, settings.lease_retry_s) == (30, 20, 4)
    assert settings.image_registry == "mirror.example/media"
    assert (settings.log_level, settings.concurrency) == ("debug", 8)
    assert settings.lease_name == settings.service_name == "media-operator"


def test_progress_is_reported_to_a_service_that_exists(helm: Helm, monkeypatch):
    manifests = helm.render(OPERATOR, namespace="system")
    for variable in one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", "system"))
    service = one(manifests, "Service")
    (port,) = [one["port"] for one in service["spec"]["ports"] if one["name"] == "progress"]
    address = f"http://{service['metadata']['name']}.system.svc:{port}"
    assert OperatorSettings().progress_address == address


def test_images_are_of_this_version(helm: Helm):
    container = one(helm.render(OPERATOR), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"localhost/media-gateway-operator:{__version__}"
    pod = one(helm.render(GATEWAY), "Pod")
    assert pod["spec"]["containers"][0]["image"] == f"localhost/media-gateway-operator:{__version__}"


def test_digest_wins_over_tag(helm: Helm):
    digest = "sha256:" + "0" * 64
    sets = ["image.registry=registry.example/media", "image.tag=1.0.0", f"image.digest={digest}"]
    container = one(helm.render(OPERATOR, sets=sets), "Deployment")["spec"]["template"]["spec"]["containers"][
        0
    ]
    assert container["image"] == f"registry.example/media/media-gateway-operator@{digest}"


def test_one_pod_has_no_disruption_budget(helm: Helm):
    assert of_kind(helm.render(OPERATOR), "PodDisruptionBudget")
    assert not of_kind(helm.render(OPERATOR, sets=["replicaCount=1"]), "PodDisruptionBudget")


def test_probes_do_not_ask_who_leads(helm: Helm):
    container = one(helm.render(OPERATOR), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}


def test_spread_is_over_the_operators_own_pods(helm: Helm):
    spec = one(helm.render(OPERATOR), "Deployment")["spec"]
    constraints = spec["template"]["spec"]["topologySpreadConstraints"]
    assert len(constraints) == 2
    assert all(one["labelSelector"] == spec["selector"] for one in constraints)


def test_policy_admits_the_pods_of_jobs_from_every_namespace(helm: Helm):
    policy = one(helm.render(OPERATOR), "NetworkPolicy")["spec"]
    assert policy["ingress"][0] == {
        "from": [
            {
                "namespaceSelector": {},
                "podSelector": {
                    "matchExpressions": [{"key": "mediagateway.io/ingestionjob", "operator": "Exists"}]
                },
            }
        ],
        "ports": [{"port": "progress", "protocol": "TCP"}],
    }


@pytest.mark.parametrize("keep", [True, False])
def test_definitions_are_kept_unless_told_otherwise(helm: Helm, keep):
    definitions = of_kind(
        helm.render(OPERATOR, sets=[f"crds.keep={str(keep).lower()}"]), "CustomResourceDefinition"
    )
    assert len(definitions) == 4
    policies = {crd["metadata"].get("annotations", {}).get("helm.sh/resource-policy") for crd in definitions}
    assert policies == ({"keep"} if keep else {None})


def test_definitions_can_be_left_out(helm: Helm):
    assert not of_kind(helm.render(OPERATOR, sets=["crds.enabled=false"]), "CustomResourceDefinition")


def test_guard_knows_the_versions_of_the_definitions(helm: Helm):
    (text,) = [
        line
        for line in ((CHARTS / OPERATOR / "templates/guard.yaml").read_text("utf-8")).splitlines()
        if line.startswith("{{- $served :=")
    ]
    served = {
        version["name"]
        for crd in of_kind(helm.render(OPERATOR), "CustomResourceDefinition")
        for version in crd["spec"]["versions"]
    }
    assert set(text.split('"')[1::2]) == served


def test_variable_of_the_chart_is_not_given_twice(helm: Helm):
    sets = ["extraEnv[0].name=MEDIA_GATEWAY_OPERATOR_LOG_LEVEL", "extraEnv[0].value=debug"]
    with pytest.raises(HelmError, match="extraEnv: MEDIA_GATEWAY_OPERATOR_LOG_LEVEL is set by the chart"):
        helm.render(OPERATOR, sets=sets)


@pytest.mark.parametrize(
    "sets",
    [["leaderElection.renewDeadlineSeconds=15"], ["leaderElection.retryPeriodSeconds=10"]],
)
def test_lease_times_are_in_order(helm: Helm, sets):
    with pytest.raises(HelmError, match="retryPeriodSeconds must be less than renewDeadlineSeconds"):
        helm.render(OPERATOR, sets=sets)


def test_gateway_is_the_release_with_the_charts_version(helm: Helm):
    gateway = one(helm.render(GATEWAY, sets=["spec.profile=Development"]), "MediaGateway")
    assert gateway["metadata"]["name"] == "release"
    assert gateway["spec"] == {"profile": "Development", "version": __version__}


def test_addresses_go_into_a_secret_that_the_spec_names(helm: Helm):
    values = next(path for path in ci_values(GATEWAY) if "connections" in path.name)
    manifests = helm.render(GATEWAY, values=values)
    secret = one(manifests, "Secret")
    dependencies = one(manifests, "MediaGateway")["spec"]["dependencies"]
    assert set(dependencies) == {"postgres", "redis", "qdrant", "kafka"} == set(secret["stringData"])
    for name, dependency in dependencies.items():
        assert dependency["mode"] == "External"
        assert dependency["dsnSecretRef"] == {"name": secret["metadata"]["name"], "key": name}
    assert dependencies["postgres"]["tls"] == {"caSecretRef": {"name": "database-ca", "key": "ca.crt"}}
    assert secret["stringData"]["postgres"] == "postgresql://media:secret@db.example:5432/media"


def test_no_password_stands_outside_of_the_secret(helm: Helm):
    values = next(path for path in ci_values(GATEWAY) if "connections" in path.name)
    assert ":secret@" not in str([m for m in helm.render(GATEWAY, values=values) if m["kind"] != "Secret"])


def test_given_secrets_are_named_and_none_is_made(helm: Helm):
    values = next(path for path in ci_values(GATEWAY) if "secrets" in path.name)
    manifests = helm.render(GATEWAY, values=values)
    assert not of_kind(manifests, "Secret")
    spec = one(manifests, "MediaGateway")["spec"]
    assert spec["dependencies"]["postgres"] == {"dsnSecretRef": {"name": "catalogue", "key": "postgres"}}
    assert spec["rollout"]["progressDeadlineSeconds"] == 86400


def test_address_and_secret_for_one_server_are_refused(helm: Helm):
    sets = [
        "connections.redis=redis://a:1",
        "spec.dependencies.redis.dsnSecretRef.name=a",
        "spec.dependencies.redis.dsnSecretRef.key=b",
    ]
    with pytest.raises(
        HelmError, match=r"connections\.redis and spec\.dependencies\.redis\.dsnSecretRef are both given"
    ):
        helm.render(GATEWAY, sets=sets)


def test_demo_reads_as_many_films_as_told(helm: Helm):
    all_films = one(helm.render(GATEWAY, sets=["demo.enabled=true"]), "IngestionJob")
    assert all_films["spec"]["source"]["demo"] == {}
    some = one(helm.render(GATEWAY, sets=["demo.enabled=true", "demo.limit=1000000"]), "IngestionJob")
    assert some["spec"]["source"]["demo"] == {"limit": 1_000_000}
    assert not of_kind(helm.render(GATEWAY), "IngestionJob")


def test_test_pod_is_the_only_hook(helm: Helm):
    hooks = [m for m in helm.render(GATEWAY) if "helm.sh/hook" in m["metadata"].get("annotations", {})]
    assert [m["kind"] for m in hooks] == ["Pod"]
    assert not of_kind(helm.render(OPERATOR), "Pod")


def test_test_may_do_nothing_but_with_ingestion_jobs(helm: Helm):
    role = one(helm.render(GATEWAY), "Role")
    assert role["rules"] == [
        {
            "apiGroups": ["mediagateway.io"],
            "resources": ["ingestionjobs"],
            "verbs": ["create", "get", "delete"],
        }
    ]
    assert not [m for m in helm.render(GATEWAY, sets=["test.enabled=false"]) if m["kind"] in {"Role", "Pod"}]
