"""Upgrades, rollbacks, pauses and repairs of a MediaGateway, and what it says of things that it does not do."""

import pytest

from media_gateway_operator.crds.gateway_status import MediaGatewayStatus
from media_gateway_operator.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    JOB,
    NETWORK_POLICY,
    PAUSED,
    PROMETHEUS_RULE,
    SECRET,
    SERVICE,
    SERVICE_MONITOR,
    Ref,
)
from tests.support.gateway_world import (
    DEVELOPMENT,
    NAMESPACE,
    PRODUCTION,
    RELEASE,
    World,
    deployment_status,
)


@pytest.fixture
def production() -> World:
    world = World(PRODUCTION)
    world.secret("servers", database="postgresql://db.example/media", redis="redis://redis.example")
    return world


@pytest.fixture
def development() -> World:
    return World(DEVELOPMENT)


def test_upgrade_reaches_every_component(production: World):
    production.settle()
    production.edit(version="1.5.0")
    production.settle()
    for component in ("discovery", "ingestion"):
        assert production.image(component) == f"{RELEASE.registry}/media-gateway-{component}:1.5.0"
    version = {"current": "1.5.0", "target": "1.5.0", "lastSuccessful": "1.5.0"}
    assert production.gateway["status"]["version"] == version


def test_version_that_does_not_start_is_rolled_back_and_stays_so(production: World):
    production.settle()
    good = production.of(DEPLOYMENT, "main-discovery")["spec"]
    production.edit(version="1.5.0")
    production.settle(failing="discovery:1.5.0")
    assert production.of(DEPLOYMENT, "main-discovery")["spec"] == good
    # All of the version goes back, also what had started.
    assert production.image("ingestion").endswith(":1.4.0")
    assert production.condition("Degraded") == ("True", "RolledBack")
    assert production.condition("Ready") == ("False", "RolledBack")
    assert production.condition("Progressing")[0] == "False"
    assert production.gateway["status"]["version"] == {
        "current": "1.4.0",
        "target": "1.5.0",
        "lastSuccessful": "1.4.0",
    }
    for _ in range(3):
        production.pass_time(600)
        production.reconcile()
        assert production.writes == []


def test_rolled_back_version_is_tried_again_after_a_change_of_the_spec(production: World):
    production.settle()
    production.edit(version="1.5.0")
    production.settle(failing="discovery:1.5.0")
    production.edit(version="1.5.1")
    production.settle()
    assert production.condition("Ready") == ("True", "Reconciled")
    assert production.condition("Degraded")[0] == "False"
    assert production.image("discovery").endswith(":1.5.1")


def test_configuration_that_does_not_start_goes_back_with_its_config_map(production: World):
    production.settle()
    before = production.of(DEPLOYMENT, "main-discovery")["spec"]["template"]
    production.edit(
        components={"discovery": {"env": [{"name": "MEDIA_GATEWAY_SEARCH_THREADS", "value": "x"}]}}
    )
    production.reconcile()
    live = production.of(DEPLOYMENT, "main-discovery")
    assert live["spec"]["template"] != before
    live["status"] = deployment_status(live, late=True)
    production.reconcile()
    assert production.of(DEPLOYMENT, "main-discovery")["spec"]["template"] == before
    config = before["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    assert config in production.names(CONFIG_MAP)
    assert production.condition("Degraded") == ("True", "RolledBack")
    # The other component has nothing to do with it.
    assert not any("ingestion" in str(ref) for ref in production.writes)


def test_without_auto_rollback_a_failed_rollout_is_only_told(production: World):
    production.edit(rollout={"autoRollback": False})
    production.settle()
    production.edit(version="1.5.0")
    production.settle(failing="discovery:1.5.0")
    assert production.image("discovery").endswith(":1.5.0")
    assert production.condition("Degraded") == ("True", "ProgressDeadlineExceeded")


def test_first_install_that_does_not_start_has_nothing_to_go_back_to(production: World):
    production.settle(failing="discovery:")
    assert production.condition("Degraded") == ("True", "ProgressDeadlineExceeded")
    assert production.condition("Ready") == ("False", "ProgressDeadlineExceeded")


def test_downgrade_by_two_minors_is_refused(production: World):
    production.settle()
    before = dict(production.objects)
    production.edit(version="1.2.9")
    production.settle()
    assert production.condition("Ready") == ("False", "UnsupportedVersion")
    assert production.image("discovery").endswith(":1.4.0")
    assert {ref for ref in production.objects if ref.kind == JOB} == {
        ref for ref in before if ref.kind == JOB
    }
    production.edit(version="1.3.0")
    production.settle()
    assert production.condition("Ready") == ("True", "Reconciled")


def test_operator_of_a_newer_release_upgrades_gateways_without_a_version(production: World):
    production.settle()
    production.upgrade("1.5.0")
    production.settle()
    assert production.image("discovery").endswith(":1.5.0")


# --- pauses, repairs, what goes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["annotation", "spec"])
def test_paused_gateway_changes_nothing_but_its_status(production: World, by: str):
    production.settle()
    if by == "annotation":
        production.annotate(PAUSED, "true")
        production.edit(version="1.5.0")
    else:
        production.edit(version="1.5.0", paused={"reconcile": True})
    plan = production.reconcile()
    assert plan.objects == []
    assert not plan.delete
    assert production.condition("Paused") == ("True", "ReconcilePaused")
    assert production.gateway["status"]["phase"] == "Paused"


def test_paused_rollout_repairs_what_is_and_rolls_nothing_out(production: World, development: World):
    for world in (production, development):
        world.settle()
        world.edit(version="1.5.0", paused={"rollout": True})
        world.settle()
        assert world.image("discovery").endswith(":1.4.0")
        assert world.condition("Paused") == ("True", "RolloutPaused")
        assert world.condition("Ready") == ("False", "RolloutPaused")
        template = world.of(DEPLOYMENT, "main-discovery")["spec"]["template"]
        template["spec"]["containers"][0]["image"] = "foreign"
        world.reconcile()
        assert world.image("discovery").endswith(":1.4.0")
        world.edit(paused={"rollout": False})
        world.settle()
        assert world.image("discovery").endswith(":1.5.0")


def test_deleted_deployment_comes_back_with_its_old_image_while_it_has_to_wait(production: World):
    production.settle()
    production.edit(version="1.5.0", paused={"rollout": True})
    production.settle()
    del production.objects[Ref(DEPLOYMENT, NAMESPACE, "main-discovery")]
    production.reconcile()
    assert production.image("discovery").endswith(":1.4.0")


@pytest.mark.parametrize("kind", [DEPLOYMENT, SERVICE, NETWORK_POLICY])
def test_deleted_child_comes_back(production: World, kind):
    production.settle()
    before = production.of(kind, "main-discovery")["spec"]
    del production.objects[Ref(kind, NAMESPACE, "main-discovery")]
    production.reconcile()
    assert production.of(kind, "main-discovery")["spec"] == before


def test_disabled_component_goes_with_all_it_has(production: World):
    production.settle()
    production.edit(components={"discovery": {"enabled": False}})
    production.settle()
    assert [ref for ref in production.objects if "discovery" in ref.name] == []
    assert production.condition("Ready") == ("True", "Reconciled")
    assert [one["name"] for one in production.gateway["status"]["components"]] == ["ingestion"]


def test_deleted_gateway_makes_nothing_more(production: World):
    production.settle()
    production.gateway["metadata"]["deletionTimestamp"] = "2026-01-02T04:00:00Z"
    plan = production.plan()
    assert (plan.objects, plan.delete) == ((), ())
    assert plan.status["phase"] == "Terminating"


def test_unreadable_spec_is_told_and_harms_nothing(production: World):
    production.settle()
    before = dict(production.objects)
    production.edit(rollout={"order": "Backwards"})
    production.reconcile()
    assert production.condition("Ready") == ("False", "InvalidSpec")
    assert "spec.rollout.order" in production.full_condition("Ready")["message"]
    assert production.objects == before
    MediaGatewayStatus.model_validate(production.gateway["status"])


# --- what is not in this release, and what is not in the cluster -----------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"components": {"gateway": {"enabled": True}}}, "components.gateway"),
        ({"components": {"sona": {"replicas": 3}}}, "components.sona"),
        (
            {"components": {"discovery": {"autoscaling": {"enabled": True}}}},
            "components.discovery.autoscaling",
        ),
        ({"exposure": {"type": "LoadBalancer"}}, "exposure"),
        ({"observability": {"otlpEndpoint": "http://collector:4318"}}, "observability.otlpEndpoint"),
        ({"dependencies": {"pubnub": {"keysSecretRef": {"name": "keys"}}}}, "dependencies.pubnub"),
    ],
)
def test_what_this_release_does_not_do_is_told(production: World, asked, said: str):
    production.edit(**asked)
    production.settle()
    assert production.condition("Degraded") == ("True", "NotInRelease")
    assert said in production.full_condition("Degraded")["message"]
    assert production.condition("Ready") == ("True", "Reconciled")


def test_monitoring_is_made_where_the_cluster_knows_it(production: World):
    production.edit(components={"discovery": {"sla": {"p95Milliseconds": 250}}})
    production.settle()
    assert production.names(SERVICE_MONITOR) == production.names(PROMETHEUS_RULE) == []
    production.served |= {"ServiceMonitor", "PrometheusRule"}
    production.settle()
    assert production.names(SERVICE_MONITOR) == ["main-discovery", "main-ingestion"]
    assert production.names(PROMETHEUS_RULE) == ["main-sla"]
    production.edit(observability={"serviceMonitor": "Disabled", "prometheusRule": "Disabled"})
    production.settle()
    assert production.names(SERVICE_MONITOR) == production.names(PROMETHEUS_RULE) == []


def test_monitoring_that_is_asked_for_and_unknown_is_told(production: World):
    production.edit(observability={"serviceMonitor": "Enabled"})
    production.settle()
    assert production.condition("Degraded") == ("True", "MonitoringNotInstalled")
    assert production.condition("Ready") == ("True", "Reconciled")


def test_budget_only_where_a_pod_can_be_spared(production: World, development: World):
    production.settle()
    assert production.names(DISRUPTION_BUDGET) == ["main-discovery", "main-ingestion"]
    production.edit(components={"ingestion": {"replicas": 1}})
    production.settle()
    assert production.names(DISRUPTION_BUDGET) == ["main-discovery"]
    development.settle()
    assert development.names(DISRUPTION_BUDGET) == []


def test_events_are_told_once(production: World):
    production.objects.pop(Ref(SECRET, NAMESPACE, "servers"))
    first, second = production.reconcile(), production.reconcile()
    assert [(note.type, note.reason) for note in first.notes] == [("Warning", "InvalidReference")]
    assert second.notes == []
