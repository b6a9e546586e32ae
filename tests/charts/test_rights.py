"""What the operator may do: what it needs, where it needs it, and nothing else."""

from itertools import product

import pytest

from media_gateway_operator.kube import kinds
from tests.charts.helm import OPERATOR, Helm, ci_values, named, of_kind, one

NAMESPACED = ["watchNamespaces={media,media-staging}"]

APPLIED = {"create", "patch"}
"""Server-side apply is a patch, and a create where there is nothing yet."""
WATCHED = {"get", "list", "watch"}


def rights(role) -> dict[str, set[str]]:
    """Resource (``group/plural``) to verbs."""
    result: dict[str, set[str]] = {}
    for rule in role["rules"]:
        for group, resource in product(rule["apiGroups"], rule["resources"]):
            result.setdefault(f"{group}/{resource}".lstrip("/"), set()).update(rule["verbs"])
    return result


def path(kind: kinds.ResourceKind) -> str:
    return f"{kind.group}/{kind.plural}".lstrip("/")


@pytest.fixture(scope="module")
def cluster_role(helm: Helm):
    return one(helm.render(OPERATOR), "ClusterRole", "media-gateway-operator")


@pytest.mark.parametrize("values", ci_values(OPERATOR), ids=lambda file: file.stem)
def test_no_role_has_a_wildcard(helm: Helm, values):
    for role in helm.render(OPERATOR, values=values):
        for rule in role.get("rules", []):
            assert "*" not in str(rule), named(role)
            assert "nonResourceURLs" not in rule


@pytest.mark.parametrize("verb", ["escalate", "bind", "impersonate", "deletecollection", "approve", "sign"])
def test_operator_can_not_get_more_rights(cluster_role, verb):
    assert all(verb not in rule["verbs"] for rule in cluster_role["rules"])
    assert not [one for one in rights(cluster_role) if one.startswith("rbac.authorization.k8s.io")]


def test_secrets_are_never_listed_or_watched(cluster_role):
    assert rights(cluster_role)["secrets"] == {"get", "create", "patch", "delete"}


def test_operator_never_writes_a_users_spec(cluster_role):
    found = rights(cluster_role)
    assert found[path(kinds.MEDIA_GATEWAY)] == WATCHED
    assert found[path(kinds.INGESTION_JOB)] == WATCHED | {"delete"}
    assert found[f"{path(kinds.MEDIA_GATEWAY)}/status"] == {"patch"}
    assert found[f"{path(kinds.INGESTION_JOB)}/status"] == {"patch"}


@pytest.mark.parametrize(
    "kind",
    [
        kinds.DEPLOYMENT,
        kinds.STATEFUL_SET,
        kinds.JOB,
        kinds.CRON_JOB,
        kinds.SERVICE,
        kinds.CONFIG_MAP,
        kinds.SERVICE_ACCOUNT,
        kinds.DISRUPTION_BUDGET,
        kinds.NETWORK_POLICY,
    ],
    ids=lambda kind: kind.plural,
)
def test_children_can_be_watched_applied_and_deleted(cluster_role, kind):
    assert rights(cluster_role)[path(kind)] == WATCHED | APPLIED | {"delete"}


def test_nothing_else_can_be_touched(cluster_role):
    known = {path(kind) for kind in kinds.ALL_KINDS}
    found = {resource.split("/status")[0].split("/finalizers")[0] for resource in rights(cluster_role)}
    assert found <= known
    # The Lease has a Role of its own; nothing of this release reconciles these two kinds.
    assert known - found == {path(kinds.LEASE), path(kinds.TRAINING_JOB), path(kinds.RATE_LIMIT_POLICY)}


def test_lease_is_the_only_right_in_the_operators_namespace(helm: Helm):
    role = one(helm.render(OPERATOR, namespace="system"), "Role")
    assert role["metadata"]["namespace"] == "system"
    assert role["rules"] == [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["release-media-gateway-operator"],
            "verbs": ["get", "update"],
        },
    ]


def test_namespaced_mode_has_no_right_in_the_cluster(helm: Helm):
    manifests = helm.render(OPERATOR, sets=NAMESPACED)
    assert not of_kind(manifests, "ClusterRole")
    assert not of_kind(manifests, "ClusterRoleBinding")


def test_namespaced_mode_has_the_same_rights_in_each_namespace(helm: Helm, cluster_role):
    manifests = helm.render(OPERATOR, sets=NAMESPACED, namespace="system")
    roles = {role["metadata"]["namespace"]: role for role in of_kind(manifests, "Role")}
    assert set(roles) == {"system", "media", "media-staging"}
    assert roles["media"]["rules"] == roles["media-staging"]["rules"] == cluster_role["rules"]
    for binding in of_kind(manifests, "RoleBinding"):
        (subject,) = binding["subjects"]
        assert subject == {
            "kind": "ServiceAccount",
            "name": "release-media-gateway-operator",
            "namespace": "system",
        }
        assert binding["roleRef"]["kind"] == "Role"


def test_people_get_what_their_role_says(helm: Helm):
    manifests = helm.render(OPERATOR)
    everything = {
        f"mediagateway.io/{kind.plural}"
        for kind in (kinds.MEDIA_GATEWAY, kinds.INGESTION_JOB, kinds.TRAINING_JOB, kinds.RATE_LIMIT_POLICY)
    }
    view = one(manifests, "ClusterRole", "media-gateway-view")
    edit = one(manifests, "ClusterRole", "media-gateway-edit")
    assert rights(view) == dict.fromkeys(everything, WATCHED)
    assert set(rights(edit)) == everything
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert "rbac.authorization.k8s.io/aggregate-to-view" not in edit["metadata"]["labels"]


def test_token_is_mounted_by_the_operator_alone(helm: Helm):
    manifests = helm.render(OPERATOR)
    assert one(manifests, "ServiceAccount")["automountServiceAccountToken"] is False
    assert one(manifests, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is True
