"""A MediaGateway from its first sight to Ready: its status, the servers behind it, the migration."""

import pytest

from media_gateway_operator.crds.gateway_status import MediaGatewayStatus
from media_gateway_operator.kube.kinds import (
    DEPLOYMENT,
    JOB,
    RECONCILE_AT,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Ref,
)
from tests.support.gateway_world import (
    DEVELOPMENT,
    NAMESPACE,
    PRODUCTION,
    World,
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
