"""Values that are refused, each with its name, before anything is rendered."""

import pytest

from tests.charts.helm import GATEWAY, OPERATOR, Helm, HelmError

DIGEST = "sha256:abc"

REFUSED = [
    (OPERATOR, "replicaCout=3", "'replicaCout' not allowed"),
    (OPERATOR, "image.tga=1", "at '/image': additional properties 'tga' not allowed"),
    (OPERATOR, "replicaCount=two", "at '/replicaCount': got string, want integer"),
    (OPERATOR, "replicaCount=-1", "at '/replicaCount'"),
    (OPERATOR, f"image.digest={DIGEST}", "at '/image/digest'"),
    (OPERATOR, "image.pullPolicy=Sometimes", "at '/image/pullPolicy': value must be one of"),
    (OPERATOR, "image.registry=https://registry.example", "at '/image/registry'"),
    (OPERATOR, "image.registry=registry.example/", "at '/image/registry'"),
    (OPERATOR, "image.pullSecrets[0]=registry", "at '/image/pullSecrets/0': got string, want object"),
    (OPERATOR, "watchNamespaces=media", "at '/watchNamespaces': got string, want array"),
    (OPERATOR, "watchNamespaces[0]=Media", "at '/watchNamespaces/0'"),
    (OPERATOR, "watchNamespaces={a,a}", "at '/watchNamespaces'"),
    (OPERATOR, "logLevel=verbose", "at '/logLevel': value must be one of"),
    (OPERATOR, "crds.enable=false", "at '/crds': additional properties 'enable' not allowed"),
    (OPERATOR, "crds.keep=yes please", "at '/crds/keep': got string, want boolean"),
    (OPERATOR, "leaderElection.leaseDuration=15", "at '/leaderElection': additional properties"),
    (OPERATOR, "leaderElection.leaseDurationSeconds=15s", "at '/leaderElection/leaseDurationSeconds'"),
    (OPERATOR, "rbac.clusterWide=true", "at '/rbac': additional properties 'clusterWide' not allowed"),
    (OPERATOR, "components.version=v1.0", "at '/components/version'"),
    (OPERATOR, "serviceAccount.nam=x", "at '/serviceAccount': additional properties 'nam' not allowed"),
    (OPERATOR, "metrics.serviceMonitor.interval=fast", "at '/metrics/serviceMonitor/interval'"),
    (OPERATOR, "networkPolicy.apiServerPorts={70000}", "at '/networkPolicy/apiServerPorts/0'"),
    (OPERATOR, "podLabels.a=1", "at '/podLabels/a': got number, want string"),
    (OPERATOR, "extraEnv[0].value=1", "at '/extraEnv/0': missing property 'name'"),
    (OPERATOR, "fullnameOverride=Operator", "at '/fullnameOverride'"),
    (GATEWAY, "sepc.profile=Development", "additional properties 'sepc' not allowed"),
    (GATEWAY, "spec.profil=Development", "at '/spec': additional properties 'profil' not allowed"),
    (GATEWAY, "spec.profile=Dev", "at '/spec/profile': value must be one of"),
    (
        GATEWAY,
        "spec.components.discovry.replicas=1",
        "at '/spec/components': additional properties 'discovry'",
    ),
    (GATEWAY, "spec.components.discovery.replicas=many", "at '/spec/components/discovery/replicas'"),
    (GATEWAY, "spec.components.discovery.replicas=501", "at '/spec/components/discovery/replicas'"),
    (GATEWAY, "spec.components.discovery.sla.p95=10", "at '/spec/components/discovery/sla'"),
    (
        GATEWAY,
        "spec.dependencies.postgres.dsn=x",
        "at '/spec/dependencies/postgres': additional properties 'dsn'",
    ),
    (
        GATEWAY,
        "spec.dependencies.mongo.mode=External",
        "at '/spec/dependencies': additional properties 'mongo'",
    ),
    (GATEWAY, "connections.postgres=mysql://db", "at '/connections/postgres'"),
    (GATEWAY, "connections.mysql=mysql://db", "at '/connections': additional properties 'mysql' not allowed"),
    (GATEWAY, "demo.limit=0", "at '/demo/limit'"),
    (GATEWAY, "demo.enable=true", "at '/demo': additional properties 'enable' not allowed"),
    (GATEWAY, "test.timeoutSeconds=5m", "at '/test/timeoutSeconds'"),
    (GATEWAY, "name=Media", "at '/name'"),
]


@pytest.mark.parametrize(("chart", "value", "message"), REFUSED, ids=[f"{c}-{v}" for c, v, _ in REFUSED])
def test_wrong_value_is_refused_by_name(helm: Helm, chart, value, message):
    with pytest.raises(HelmError) as error:
        helm.render(chart, sets=[value])
    assert "values don't meet the specifications of the schema" in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize("chart", [OPERATOR, GATEWAY])
def test_values_of_a_parent_chart_are_let_through(helm: Helm, chart):
    assert helm.render(chart, sets=["global.imageRegistry=registry.example"])
