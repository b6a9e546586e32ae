"""Whether an IngestionJob can be carried out at all: what it refers to, what it asks for, and what is said if not."""

import pytest

from media_gateway_operator.kube.kinds import PAUSED
from tests.support.ingestion_world import World, gateway

SECRET = {
    "source": {
        "type": "HTTP",
        "http": {
            "url": "https://films.test/all",
            "auth": {"type": "Bearer", "secretRef": {"name": "films", "key": "token"}},
        },
    }
}


@pytest.mark.parametrize(
    ("gateways", "spec", "said"),
    [
        ([], {}, "there is no MediaGateway in this namespace"),
        (["a", "b"], {}, "the namespace has 2 MediaGateways (a, b); name one"),
        (["a"], {"gatewayRef": {"name": "z"}}, "there is no MediaGateway z in this namespace"),
    ],
)
def test_a_missing_gateway_is_named_and_healed(gateways, spec, said):
    world = World(spec)
    world.gateways = {name: gateway(name) for name in gateways}
    assert world.settle() == ["status"]
    assert world.says("Accepted") == ("False", "InvalidReference")
    assert said in world.message("Accepted")
    assert world.told() == ["InvalidReference"]
    assert world.requeue_s == 5
    world.pass_time(3600)
    world.reconcile()
    assert world.requeue_s == 30
    world.gateways = {"z": gateway("z")}
    world.settle()
    assert world.says("Accepted") == ("True", "Accepted")
    assert len(world.jobs()) == 1


def test_a_missing_secret_and_a_missing_key_are_named_and_healed():
    world = World(SECRET)
    assert world.settle() == ["status"]
    assert world.says("Accepted") == ("False", "InvalidReference")
    assert "there is no Secret films" in world.message("Accepted")
    world.secrets["films"] = {"other": "0"}
    world.settle()
    assert "the Secret films has no key token" in world.message("Accepted")
    world.secrets["films"]["token"] = "1"
    world.settle()
    assert world.says("Accepted") == ("True", "Accepted")
    assert world.job()["spec"]["suspend"] is False
    assert world.told() == ["InvalidReference", "InvalidReference"]


def test_a_secret_that_goes_missing_leaves_a_run_alone_and_does_not_begin_one():
    world = World(SECRET | {"suspend": True})
    world.secrets["films"] = {"token": "1"}
    world.settle()
    del world.secrets["films"]
    world.change(suspend=False)
    world.settle()
    assert world.says("Accepted") == ("False", "InvalidReference")
    assert world.job()["spec"]["suspend"] is True
    world.secrets["films"] = {"token": "1"}
    world.settle()
    world.start_pods()
    world.settle()
    del world.secrets["films"]
    assert world.settle() == []
    assert world.says("Running") == ("True", "PodReady")


def test_a_job_waits_for_the_migration():
    world = World()
    world.migrate(done=False)
    world.settle()
    assert world.job()["spec"]["suspend"] is True
    assert world.says("Running") == ("False", "WaitingForGateway")
    assert world.says("Suspended") == ("False", "NotSuspended")
    assert world.status()["phase"] == "Waiting"
    world.migrate(done=True)
    world.settle()
    assert world.job()["spec"]["suspend"] is False
    world.start_pods()
    world.settle()
    world.migrate(done=False)
    assert world.settle() == [], "a run goes on while the gateway is upgraded"


def test_a_paused_job_is_only_watched():
    world = World()
    assert world.cr is not None
    world.cr["metadata"]["annotations"] = {PAUSED: "true"}
    assert world.settle() == ["status"]
    assert world.says("Accepted") == ("True", "Paused")
    world.cr["metadata"]["annotations"] = {}
    assert "create Job" in world.settle()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"source": {"type": "File", "file": {"path": "a.json"}}}, "spec.source.file.pvc"),
        ({"source": {"type": "File", "file": {"path": "../a", "pvc": "p"}}}, "spec.source.file.path"),
        ({"schedule": "0 0 30 2 *"}, "spec.schedule"),
        ({"schedule": "0 0 * * 7"}, "0 to 6"),
        ({"schedule": "0 0 * * 1", "timeZone": "Mars/Olympus"}, "spec.timeZone"),
        ({"mode": "Sideways"}, "spec.mode"),
    ],
)
def test_a_spec_that_cannot_be_carried_out_is_refused_by_name(spec, said):
    world = World(spec)
    assert world.settle() == ["status"]
    assert world.says("Accepted") == ("False", "InvalidSpec")
    assert said in world.message("Accepted")
    assert world.requeue_s is None


def test_a_manifest_too_large_for_an_annotation_is_refused():
    world = World({"template": {"annotations": {f"note-{number}": "x" * 4000 for number in range(60)}}})
    assert world.settle() == ["status"]
    assert world.says("Accepted") == ("False", "ManifestTooLarge")


def test_a_field_without_effect_is_told():
    world = World({"sinks": {"catalog": {"purgeOnDelete": True}}})
    world.settle()
    assert world.says("Accepted") == ("True", "Accepted")
    assert "spec.sinks.catalog.purgeOnDelete" in world.message("Accepted")
