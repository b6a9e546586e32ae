"""Names that users' clusters hold on to. A change here is a change of the API: it needs a migration, not a new snapshot."""

import pytest

from media_gateway_operator.kube import kinds
from tests.charts.helm import GATEWAY, OPERATOR, Helm, named, one

OPERATOR_NAMES = """
ClusterRole media-gateway-edit
ClusterRole media-gateway-operator
ClusterRole media-gateway-view
ClusterRole media-gateway-admin
ClusterRoleBinding media-gateway-operator
CustomResourceDefinition ingestionjobs.mediagateway.io
CustomResourceDefinition loratrainingjobs.mediagateway.io
CustomResourceDefinition mediagateways.mediagateway.io
CustomResourceDefinition ratelimitpolicies.mediagateway.io
Deployment system/media-gateway-operator
NetworkPolicy system/media-gateway-operator
PodDisruptionBudget system/media-gateway-operator
Role system/media-gateway-operator-leader
RoleBinding system/media-gateway-operator-leader
Service system/media-gateway-operator
ServiceAccount system/media-gateway-operator
"""

GATEWAY_NAMES = """
IngestionJob media/films-demo
MediaGateway media/films
Pod media/films-test
Role media/films-test
RoleBinding media/films-test
Secret media/films-connections
ServiceAccount media/films-test
"""


@pytest.fixture(scope="module")
def operator(helm: Helm):
    return helm.render(OPERATOR, release="media-gateway-operator", namespace="system")


def test_names_of_the_operators_objects(operator):
    assert sorted(map(named, operator)) == sorted(OPERATOR_NAMES.split("\n")[1:-1])


def test_names_of_a_gateways_objects(helm: Helm):
    sets = ["demo.enabled=true", "connections.redis=redis://a:1"]
    manifests = helm.render(GATEWAY, release="films", namespace="media", sets=sets)
    assert sorted(map(named, manifests)) == sorted(GATEWAY_NAMES.split("\n")[1:-1])


def test_deployment_selects_by_name_and_release_alone(operator):
    selector = {
        "app.kubernetes.io/name": "media-gateway-operator",
        "app.kubernetes.io/instance": "media-gateway-operator",
    }
    assert one(operator, "Deployment")["spec"]["selector"] == {"matchLabels": selector}
    assert one(operator, "Service")["spec"]["selector"] == selector


def test_lease_and_progress_service_are_named_after_the_release(operator):
    container = one(operator, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    env = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert env["MEDIA_GATEWAY_OPERATOR_LEASE_NAME"] == "media-gateway-operator"
    assert env["MEDIA_GATEWAY_OPERATOR_SERVICE_NAME"] == "media-gateway-operator"


def test_ports_stay(operator):
    assert {p["name"]: p["port"] for p in one(operator, "Service")["spec"]["ports"]} == {
        "progress": 8088,
        "metrics": 8080,
    }


def test_managers_labels_and_annotations_stay():
    assert kinds.MANAGER == "mediagateway-operator"
    assert kinds.PROGRESS_MANAGER == "mediagateway-progress"
    assert kinds.MANAGED_BY == "media-gateway-operator"
    assert kinds.API_VERSION == "mediagateway.io/v1alpha1"
    assert kinds.LABEL_JOB == "mediagateway.io/ingestionjob"
    assert kinds.APPLIED_HASH == "operator.mediagateway.io/applied-hash"
    assert (kinds.PAUSED, kinds.RECONCILE_AT) == ("mediagateway.io/paused", "mediagateway.io/reconcile-at")


def test_release_of_another_name_has_it_in_front(helm: Helm):
    manifests = helm.render(OPERATOR, release="one", namespace="system")
    assert one(manifests, "Deployment")["metadata"]["name"] == "one-media-gateway-operator"
