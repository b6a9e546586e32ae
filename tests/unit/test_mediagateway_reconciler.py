"""A MediaGateway from its first sight through upgrades, failures and repairs."""

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
    RECONCILE_AT,
    SECRET,
    SERVICE,
    SERVICE_MONITOR,
    STATEFUL_SET,
    Ref,
)
from tests.support.gateway_world import (
    DEVELOPMENT,
    NAMESPACE,
    PRODUCTION,
    RELEASE,
    World,
    deployment_status,
    job_status,
)


@pytest.fixture
def production() -> World:
    world = World(PRODUCTION)
    world.secret("servers", database="postgresql://db.example/media", redis="redis://redis.example")
    return world


@pytest.fixture
def development() -> World:
    return World(DEVELOPMENT)


def test_production_gateway_gets_ready(production: World):
    production.settle()
    assert production.condition("Ready") == ("True", "Reconciled")
    assert production.condition("Progressing") == ("False", "Reconciled")
    assert production.condition("Degraded") == ("False", "Reconciled")
    assert production.condition("DependenciesReady") == ("True", "Resolved")
    assert production.condition("Migrated") == ("True", "MigrationComplete")
    assert production.condition("Paused") == ("False", "NotPaused")
    assert production.gateway["status"]["phase"] == "Ready"
    assert production.gateway["status"]["componentsReady"] == "2/2"
    assert production.names(DEPLOYMENT) == ["main-discovery", "main-ingestion"]
    assert production.names(STATEFUL_SET) == []


def test_development_gateway_brings_its_servers_and_warns(development: World):
    development.settle()
    assert development.names(STATEFUL_SET) == ["main-postgres", "main-redis"]
    assert development.names(SECRET) == ["main-auth", "main-postgres", "main-redis"]
    assert development.condition("Ready") == ("True", "Reconciled")
    assert development.condition("DependenciesReady") == ("True", "DevelopmentDependencies")
    assert "their data is gone with their pod" in development.full_condition("DependenciesReady")["message"]


def test_status_is_of_the_published_schema(production: World, development: World):
    for world in (production, development):
        world.settle()
        MediaGatewayStatus.model_validate(world.gateway["status"])


def test_nothing_is_written_once_settled(production: World, development: World):
    for world in (production, development):
        world.settle()
        world.pass_time(600)
        plan = world.reconcile()
        assert world.writes == []
        assert plan.notes == []


def test_every_condition_is_about_the_generation(production: World):
    production.settle()
    production.edit(components={"discovery": {"replicas": 3}})
    production.reconcile()
    assert production.gateway["status"]["observedGeneration"] == 2
    assert {one["observedGeneration"] for one in production.gateway["status"]["conditions"]} == {2}


def test_more_replicas_are_not_ready_before_they_are_there(production: World):
    production.settle()
    production.edit(components={"discovery": {"replicas": 3}})
    production.reconcile()
    assert production.condition("Ready") == ("False", "RollingOut")
    production.settle()
    assert production.condition("Ready") == ("True", "Reconciled")
    assert production.of(DEPLOYMENT, "main-discovery")["spec"]["replicas"] == 3


# --- dependencies ------------------------------------------------------------------------------------------------------


def test_missing_secret_is_named_polled_and_heals(production: World):
    secret = production.objects.pop(Ref(SECRET, NAMESPACE, "servers"))
    plan = production.reconcile()
    assert production.condition("DependenciesReady") == ("False", "InvalidReference")
    assert "Secret servers is missing" in production.full_condition("Ready")["message"]
    assert production.names(DEPLOYMENT) == production.names(JOB) == []
    assert plan.requeue_after_s == 5
    production.pass_time(12)
    assert production.reconcile().requeue_after_s == 12
    production.pass_time(3600)
    assert production.reconcile().requeue_after_s == 30
    production.objects[Ref(SECRET, NAMESPACE, "servers")] = secret
    production.settle()
    assert production.condition("Ready") == ("True", "Reconciled")


def test_missing_key_is_named(production: World):
    production.secret("servers", database="postgresql://db.example/media")
    production.reconcile()
    message = production.full_condition("DependenciesReady")["message"]
    assert message == "Secret servers has no key redis: add it"


def test_missing_secret_of_an_extra_variable_is_named(production: World):
    env = [{"name": "EXTRA", "secretRef": {"name": "extra", "key": "token"}}]
    production.edit(components={"ingestion": {"env": env}})
    production.reconcile()
    assert production.condition("DependenciesReady") == ("False", "InvalidReference")
    assert "Secret extra is missing" in production.full_condition("DependenciesReady")["message"]


def test_lost_secret_leaves_running_pods_alone(production: World):
    production.settle()
    before = production.of(DEPLOYMENT, "main-discovery")
    del production.objects[Ref(SECRET, NAMESPACE, "servers")]
    production.settle()
    assert production.of(DEPLOYMENT, "main-discovery") == before
    assert production.condition("Ready") == ("False", "InvalidReference")


def test_rotated_secret_replaces_the_pods(production: World):
    production.settle()
    before = production.of(DEPLOYMENT, "main-ingestion")["spec"]["template"]
    production.secret("servers", database="postgresql://db.example/media", redis="redis://other.example")
    production.settle()
    assert production.of(DEPLOYMENT, "main-ingestion")["spec"]["template"] != before
    assert production.condition("Ready") == ("True", "Reconciled")


def test_generated_passwords_are_made_once(development: World):
    development.settle()
    before = {name: development.of(SECRET, name)["data"] for name in development.names(SECRET)}
    development.edit(version="1.4.1")
    development.settle()
    assert {name: development.of(SECRET, name)["data"] for name in development.names(SECRET)} == before


def test_deleted_password_is_made_anew_and_the_server_restarted(development: World):
    development.settle()
    before = development.of(STATEFUL_SET, "main-redis")["spec"]["template"]
    del development.objects[Ref(SECRET, NAMESPACE, "main-redis")]
    development.settle()
    assert "main-redis" in development.names(SECRET)
    assert development.of(STATEFUL_SET, "main-redis")["spec"]["template"] != before
    assert development.condition("Ready") == ("True", "Reconciled")


def test_database_without_storage_is_migrated_again_when_its_pod_is_lost(development: World):
    development.settle()
    before = development.names(JOB)
    development.lose_pod("main-postgres-0")
    live = development.of(STATEFUL_SET, "main-postgres")
    live["status"] |= {"readyReplicas": 0}
    development.reconcile()
    assert development.condition("DependenciesReady") == ("False", "DependencyUnavailable")
    development.settle()
    assert development.names(JOB) != before
    assert development.condition("Ready") == ("True", "Reconciled")


def test_database_with_storage_is_not_migrated_again(development: World):
    development.edit(dependencies={"postgres": {"storage": {"size": "2Gi"}}})
    development.settle()
    before = development.names(JOB)
    claims = development.of(STATEFUL_SET, "main-postgres")["spec"]["volumeClaimTemplates"]
    assert claims[0]["spec"]["resources"]["requests"]["storage"] == "2Gi"
    development.lose_pod("main-postgres-0")
    development.settle()
    assert development.names(JOB) == before


def test_storage_of_a_running_server_stays_and_is_told(development: World):
    development.settle()
    development.edit(dependencies={"postgres": {"storage": {"size": "2Gi"}}})
    development.settle()
    assert "volumeClaimTemplates" not in development.of(STATEFUL_SET, "main-postgres")["spec"]
    assert "storage can't be changed" in development.full_condition("DependenciesReady")["message"]


def test_server_that_is_no_longer_embedded_goes_with_its_password(development: World):
    development.settle()
    development.secret("servers", redis="redis://redis.example")
    ref = {"name": "servers", "key": "redis"}
    development.edit(dependencies={"redis": {"dsnSecretRef": ref}})
    development.settle()
    assert development.names(STATEFUL_SET) == ["main-postgres"]
    assert "main-redis" not in development.names(SECRET)
    assert "main-redis" not in development.names(SERVICE)


# --- migration ---------------------------------------------------------------------------------------------------------


def fail_migration(world: World) -> None:
    (name,) = [name for name in world.names(JOB) if not world.of(JOB, name).get("status")]
    world.of(JOB, name)["status"] = job_status("Failed", "BackoffLimitExceeded")
    ended = {"exitCode": 1, "message": "no route to db.example\n", "finishedAt": "2026-01-02T03:05:00Z"}
    world.running.append(
        {
            "metadata": {"name": f"{name}-x", "labels": {"batch.kubernetes.io/job-name": name}},
            "status": {"containerStatuses": [{"state": {"terminated": ended}}]},
        }
    )


def test_components_wait_for_the_migration(production: World):
    production.reconcile()
    assert len(production.names(JOB)) == 1
    assert production.names(DEPLOYMENT) == []
    assert production.condition("Migrated") == ("False", "MigrationRunning")
    assert production.condition("Progressing") == ("True", "MigrationRunning")


def test_failed_migration_tells_why_and_leaves_the_old_version(production: World):
    production.settle()
    before = production.image("discovery")
    production.edit(version="1.5.0")
    production.reconcile()
    fail_migration(production)
    production.reconcile()
    assert production.condition("Migrated") == ("False", "MigrationFailed")
    message = production.full_condition("Migrated")["message"]
    assert "exit code 1: no route to db.example" in message
    assert "reconcile-at" in message
    assert production.condition("Ready") == ("False", "MigrationFailed")
    assert production.condition("Degraded") == ("True", "MigrationFailed")
    assert production.condition("Progressing")[0] == "False"
    assert production.image("discovery") == before
    production.reconcile()
    assert production.writes == []


@pytest.mark.parametrize("asked", ["annotation", "spec"])
def test_failed_migration_is_tried_again_when_asked(production: World, asked: str):
    production.reconcile()
    fail_migration(production)
    production.reconcile()
    if asked == "annotation":
        production.annotate(RECONCILE_AT, "now")
    else:
        production.edit(rollout={"migrationTimeoutSeconds": 900})
    production.settle()
    assert production.condition("Ready") == ("True", "Reconciled")


def test_old_migrations_go_when_the_new_one_is_complete(production: World):
    production.settle()
    old = production.names(JOB)
    production.edit(version="1.5.0")
    production.reconcile()
    assert set(old) < set(production.names(JOB))
    production.settle()
    assert len(production.names(JOB)) == 1
    assert production.names(JOB) != old


# --- rollout -----------------------------------------------------------------------------------------------------------


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
