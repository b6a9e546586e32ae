"""IngestionJob without a schedule: what lives, what is planned, what is said."""

import pytest

from tests.support.ingestion_world import View, World, gateway


def running(spec=None) -> World:
    world = World(spec)
    world.settle()
    world.start_pods()
    world.settle()
    assert world.says("Running") == ("True", "PodReady")
    return world


def test_a_suspended_job_costs_two_writes():
    world = World({"suspend": True})
    assert world.settle() == ["create Job", "status"]
    assert world.job()["spec"]["suspend"] is True
    assert world.says("Accepted") == ("True", "Accepted")
    assert world.says("Suspended") == ("True", "Suspended")
    assert world.status()["phase"] == "Suspended"
    assert world.told() == []
    assert world.asked_for_pods == 0


def test_all_conditions_are_there_from_first_sight():
    world = World()
    world.reconcile()
    assert [one["type"] for one in world.status()["conditions"]] == [
        "Accepted", "Running", "Suspended", "Complete", "Failed", "Stalled",
    ]  # fmt: skip


def test_a_job_runs_to_its_end():
    world = running()
    status = world.status()
    assert (status["phase"], status["attempt"]) == ("Running", 1)
    assert status["active"] == [{"name": world.job()["metadata"]["name"], "uid": "uid-1"}]
    world.pass_time(60)
    world.exit(0)
    world.settle()
    status = world.status()
    assert world.says("Complete") == ("True", "Completed")
    assert world.says("Failed") == ("False", "NotFinished")
    assert world.says("Running") == ("False", "Finished")
    assert (status["phase"], status["completionTime"]) == ("Complete", "2026-03-02T12:01:00Z")
    assert status["lastRun"]["result"] == "Complete"
    assert "active" not in status
    assert world.told() == ["Started", "Completed"]
    assert world.asked_for_pods == 0


def test_steady_state_writes_nothing():
    world = running()
    for _ in range(20):
        world.pass_time(10)
        world.report(int(world.now.timestamp()))
        assert world.reconcile() == []


@pytest.mark.parametrize(
    ("code", "reason", "meaning"),
    [
        (64, "InvalidManifest", "the manifest is wrong"),
        (65, "RunFailed", "failed by its own rules"),
        (69, "SourceUnavailable", "the source is not there"),
        (70, "InternalError", "should not happen"),
        (77, "PermissionDenied", "refuses the credentials"),
        (78, "ConfigurationError", "is missing"),
    ],
)
def test_a_fatal_exit_code_fails_at_once_and_is_explained(code, reason, meaning):
    world = running()
    world.exit(code, log='{"message": "first"}\n{"message": "https://films.test: no"}')
    world.settle()
    assert world.says("Failed") == ("True", reason)
    message = world.message("Failed")
    assert message.startswith(f"exit code {code}: ")
    assert meaning in message
    assert message.endswith("https://films.test: no")
    last = world.status()["lastRun"]
    assert (last["result"], last["exitCode"], last["reason"]) == ("Failed", code, reason)
    assert last["logTail"].endswith('"https://films.test: no"}')
    assert world.status()["attempt"] == 1
    assert world.told() == ["Started", "Failed"]


def test_the_program_may_say_more_than_its_exit_code():
    world = running()
    world.exit(65, log='{"message": "too many rejected", "reason": "ErrorBudgetExceeded"}')
    world.settle()
    assert world.says("Failed") == ("True", "ErrorBudgetExceeded")


def test_retries_are_counted_and_told_and_then_it_is_over():
    world = running({"backoffLimit": 1})
    world.exit(1, log="Postgres was away")
    world.settle()
    assert world.says("Running") == ("False", "Retrying")
    assert world.status()["attempt"] == 2
    assert world.status()["lastRun"]["logTail"] == "Postgres was away"
    world.start_pods()
    world.settle()
    assert world.says("Running") == ("True", "PodReady")
    world.exit(1, log="Postgres was away again")
    world.settle()
    assert world.says("Failed") == ("True", "BackoffLimitExceeded")
    assert world.message("Failed").startswith("2 attempts failed, the last one: exit code 1")
    assert world.status()["attempt"] == 2
    assert world.told() == ["Started", "Retrying", "Failed"]


def test_a_finished_job_stays_finished_when_its_children_vanish():
    for code in (0, 78):
        world = running()
        world.exit(code)
        world.settle()
        status = world.status()
        world.delete("Job", world.job()["metadata"]["name"])
        assert world.settle() == []
        world.change(batchSize=99, suspend=True)
        assert world.settle() == ["status"]
        now = world.status()
        assert {one.pop("observedGeneration") for one in now["conditions"]} == {2}
        for one in status["conditions"]:
            del one["observedGeneration"]
        assert {**now, "observedGeneration": 1} == status
        assert world.jobs() == []


def test_a_job_deleted_by_hand_is_made_again_and_waits_for_the_old_pod():
    world = running()
    world.delete("Job", world.job()["metadata"]["name"])
    world.reconcile()
    assert world.job()["spec"]["suspend"] is True
    assert world.says("Running") == ("False", "WaitingForPods")
    world.settle()
    assert world.alive() == 1
    assert world.requeue_s == 1
    world.stop_pods()
    world.settle()
    world.start_pods()
    world.settle()
    assert world.alive() == 1
    assert world.says("Running") == ("True", "PodReady")
    assert world.status()["attempt"] == 2


def test_suspend_stops_the_pod_and_resume_continues_the_same_attempt():
    world = running()
    name = world.job()["metadata"]["name"]
    world.change(suspend=True)
    world.reconcile()
    world.controller()
    world.settle()
    assert world.says("Suspended") == ("False", "Suspending")
    world.stop_pods()
    world.settle()
    assert world.says("Suspended") == ("True", "Suspended")
    assert "active" not in world.status()
    world.change(suspend=False)
    world.settle()
    world.start_pods()
    world.settle()
    assert world.says("Running") == ("True", "PodReady")
    assert (world.job()["metadata"]["name"], world.status()["attempt"]) == (name, 1)
    assert world.told() == ["Started", "Suspended", "Resumed"]


def test_a_changed_spec_gives_a_new_job_after_the_old_pod_is_gone():
    world = running()
    old = world.job()["metadata"]["name"]
    world.change(batchSize=99)
    world.settle()
    new = world.job()
    assert new["metadata"]["name"] != old
    assert new["spec"]["suspend"] is True
    assert world.says("Running") == ("False", "WaitingForPods")
    world.stop_pods()
    world.settle()
    assert world.job()["spec"]["suspend"] is False
    assert world.status()["attempt"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"backoffLimit": 7},
        {"activeDeadlineSeconds": 50},
        {"ttlSecondsAfterFinished": 5},
        {"preRunningDeadlineSeconds": 9},
    ],
)
def test_limits_are_changed_without_a_new_job(change):
    world = running()
    name = world.job()["metadata"]["name"]
    world.change(**change)
    world.settle()
    assert world.job()["metadata"]["name"] == name
    assert world.says("Running") == ("True", "PodReady")
    for field, value in change.items():
        assert world.job()["spec"].get(field, value) == value


def test_a_new_gateway_does_not_stop_a_run():
    world = running()
    world.gateways["gw"]["spec"]["version"] = "9.9.9"
    before = world.job()
    world.settle()
    assert world.job()["metadata"]["uid"] == before["metadata"]["uid"]
    assert world.settle() == []
    world.change(suspend=True)
    world.settle()
    world.stop_pods()
    world.settle()
    assert world.says("Suspended") == ("True", "Suspended")
    world.change(suspend=False)
    world.settle()
    image = world.job()["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.endswith(":9.9.9"), "a resumed job begins with the gateway as it is"


def test_no_pod_within_the_deadline_fails_the_job_with_the_reason():
    world = World({"preRunningDeadlineSeconds": 60})
    world.settle()
    assert world.asked_for_pods == 0
    assert world.requeue_s == 10
    world.pass_time(10)
    (pod,) = world.pods.values()
    waiting = {"reason": "ImagePullBackOff", "message": "registry.test: no such image"}
    pod["status"]["containerStatuses"] = [
        {"name": "ingestion", "image": "x:1", "state": {"waiting": waiting}}
    ]
    world.settle()
    assert world.says("Running") == ("False", "ImagePullFailed")
    assert world.requeue_s == 30
    world.pass_time(50)
    assert world.reconcile() == ["status"], "the end is stored before anything is stopped"
    assert world.says("Failed") == ("True", "PreRunningDeadlineExceeded")
    assert "ImagePullFailed: the image x:1 can't be pulled" in world.message("Failed")
    assert "no such image" in world.message("Failed")
    assert world.requeue_s == 0
    assert world.settle() == ["delete Job"]
    assert world.told() == ["Failed"]


def test_an_unschedulable_pod_is_told():
    world = World()
    world.settle()
    (pod,) = world.pods.values()
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    pod["status"]["conditions"] = [said]
    world.pass_time(11)
    world.settle()
    assert (world.says("Running"), world.message("Running")) == (("False", "Unschedulable"), "0/1 nodes")


def test_the_deadline_is_for_the_first_pod_only():
    world = running({"preRunningDeadlineSeconds": 60})
    world.exit(1)
    world.settle()
    world.pass_time(3600)
    world.settle()
    assert world.says("Failed") == ("False", "NotFinished")


def test_a_finished_job_is_deleted_when_its_time_is_over():
    world = running({"ttlSecondsAfterFinished": 100})
    world.exit(0)
    world.settle()
    world.pass_time(40)
    world.reconcile()
    assert world.requeue_s == 60
    world.pass_time(59)
    assert world.reconcile() == []
    world.pass_time(1)
    assert world.reconcile() == ["delete IngestionJob"]


def test_a_job_without_progress_is_stalled_until_it_goes_on():
    world = running()
    assert world.requeue_s == 300
    world.pass_time(100)
    world.report(10)
    world.pass_time(200)
    assert world.reconcile() == []
    assert world.requeue_s == 100
    world.pass_time(100)
    world.settle()
    assert world.says("Stalled") == ("True", "NoProgress")
    assert world.message("Stalled").endswith("since 2026-03-02T12:01:40Z")
    assert world.status()["phase"] == "Stalled"
    world.pass_time(1000)
    assert world.reconcile() == []
    world.report(11)
    world.settle()
    assert world.says("Stalled") == ("False", "Progressing")
    assert world.told() == ["Started", "Stalled"]


def test_a_retry_is_not_stalled_for_what_was_before_it():
    world = running()
    world.pass_time(200)
    world.exit(1)
    world.settle()
    world.pass_time(360)
    world.start_pods()
    world.settle()
    assert world.says("Stalled") == ("False", "Progressing")


def test_a_resource_that_is_being_deleted_is_left_alone():
    world = running()
    assert world.cr is not None
    world.cr["metadata"]["deletionTimestamp"] = "2026-03-02T12:00:00Z"
    world.delete("Job", world.job()["metadata"]["name"])
    assert world.settle() == []


def interested(world: World, changed=None) -> list[str]:
    return [str(ref) for ref in world.reconciler.interested(changed or gateway("gw"), View(world))]


def test_only_jobs_that_depend_on_a_gateway_are_interested():
    assert interested(World({"suspend": True})) == ["IngestionJob media/films"]
    assert interested(World({"gatewayRef": {"name": "other"}})) == []
    world = running()
    assert interested(world) == []
    world = running()
    world.exit(0)
    world.settle()
    assert interested(world) == []


def test_of_a_gateway_only_what_jobs_depend_on_interests_them():
    world = World({"suspend": True})
    assert interested(world) != []
    assert interested(world) == [], "the same again, or a status that says nothing to jobs"
    assert interested(world, gateway(migrated=False)) != []
    assert interested(world, gateway(migrated=True)) != []
    del world.gateways["gw"]
    assert interested(world) != []
    assert interested(world) != []
