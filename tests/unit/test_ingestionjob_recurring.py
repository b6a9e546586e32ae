"""IngestionJob with a schedule: one CronJob, and what its runs say."""

import pytest

from tests.support.ingestion_world import World, gateway

NIGHTLY = {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin"}


def scheduled(**spec) -> World:
    world = World(NIGHTLY | spec)
    world.settle()
    return world


def run(world: World, minute: int) -> None:
    world.run_cron(minute)
    world.controller()
    world.start_pods()
    world.settle()


def test_a_schedule_gives_a_cron_job_and_waits():
    world = World(NIGHTLY)
    assert world.settle() == ["create CronJob", "status"]
    (cron,) = world.children.values()
    spec = cron["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["suspend"]) == ("30 2 * * *", "Europe/Berlin", False)
    assert (spec["concurrencyPolicy"], spec["startingDeadlineSeconds"]) == ("Forbid", 600)
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 1)
    assert world.status()["phase"] == "Scheduled"
    assert world.status()["nextScheduleTime"] == "2026-03-03T01:30:00Z"
    assert world.says("Running") == ("False", "WaitingForSchedule")
    assert world.says("Complete") == ("False", "NotFinished")


def test_the_time_zone_is_utc_unless_given():
    world = World({"schedule": "30 2 * * *"})
    world.settle()
    (cron,) = world.children.values()
    assert cron["spec"]["timeZone"] == "Etc/UTC"
    assert world.status()["nextScheduleTime"] == "2026-03-03T02:30:00Z"


def test_the_next_time_moves_only_when_it_has_passed():
    world = scheduled()
    assert world.requeue_s == 13.5 * 3600 + 2
    world.pass_time(13 * 3600)
    assert world.reconcile() == []
    world.pass_time(1800)
    assert world.reconcile() == ["status"]
    assert world.status()["nextScheduleTime"] == "2026-03-04T01:30:00Z"
    world.pass_time(3600)
    assert world.reconcile() == []


def test_a_run_is_shown_and_its_end_is_told():
    world = scheduled()
    run(world, 100)
    status = world.status()
    assert world.says("Running") == ("True", "PodReady")
    assert status["active"] == [{"name": "films-100", "uid": "uid-films-100"}]
    assert status["lastScheduleTime"] == "2026-03-02T12:00:00Z"
    world.pass_time(30)
    world.exit(0)
    world.settle()
    status = world.status()
    assert world.says("Complete") == ("True", "LastRunComplete")
    assert (status["phase"], status["lastSuccessfulTime"]) == ("Scheduled", "2026-03-02T12:00:30Z")
    assert "completionTime" not in status
    assert world.told() == ["Started", "Completed"]


def test_a_failed_run_is_told_and_is_not_the_end():
    world = scheduled()
    run(world, 100)
    world.exit(77, log="401 from the source")
    world.settle()
    assert world.says("Failed") == ("True", "LastRunFailed")
    assert world.status()["lastRun"]["exitCode"] == 77
    assert "401 from the source" in world.message("Failed")
    world.pass_time(60)
    run(world, 101)
    world.exit(0)
    world.settle()
    assert world.says("Failed") == ("False", "NotLast")
    assert world.says("Complete") == ("True", "LastRunComplete")
    assert world.told() == ["Started", "Failed", "Started", "Completed"]


def test_what_is_known_of_a_run_stays_when_its_job_is_gone():
    world = scheduled()
    run(world, 100)
    world.exit(77)
    world.settle()
    status = world.status()
    world.delete("Job", "films-100")
    assert world.settle() == []
    assert world.status() == status


def test_suspend_stops_new_runs_and_lets_one_finish():
    world = scheduled()
    run(world, 100)
    world.change(suspend=True)
    world.settle()
    cron = world.children["CronJob", "films"]
    assert cron["spec"]["suspend"] is True
    assert world.says("Suspended") == ("True", "Suspended")
    assert world.says("Running") == ("True", "PodReady")
    assert "nextScheduleTime" not in world.status()
    world.exit(0)
    world.settle()
    assert world.status()["phase"] == "Suspended"


def test_no_run_begins_without_its_references_or_the_migration():
    world = scheduled()
    world.gateways = {}
    world.settle()
    assert world.children["CronJob", "films"]["spec"]["suspend"] is True
    assert world.says("Accepted") == ("False", "InvalidReference")
    world.gateways = {"gw": gateway(migrated=False)}
    world.settle()
    assert world.says("Running") == ("False", "WaitingForGateway")
    world.migrate(done=True)
    world.settle()
    assert world.children["CronJob", "films"]["spec"]["suspend"] is False


def test_the_next_run_takes_a_changed_gateway():
    world = scheduled()
    world.gateways["gw"]["spec"]["version"] = "9.9.9"
    assert world.settle() == ["apply CronJob"]
    pod = world.children["CronJob", "films"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"].endswith(":9.9.9")


def test_a_cron_job_deleted_by_hand_is_made_again():
    world = scheduled()
    world.delete("CronJob", "films")
    assert world.reconcile() == ["create CronJob"]


def test_a_run_that_never_begins_is_ended_after_it_was_told():
    world = scheduled(preRunningDeadlineSeconds=60)
    world.run_cron(100)
    world.controller()
    world.settle()
    world.pass_time(60)
    assert world.reconcile() == ["status"]
    assert world.status()["lastRun"]["reason"] == "PreRunningDeadlineExceeded"
    assert world.settle() == ["delete Job", "status"]
    assert world.says("Failed") == ("True", "LastRunFailed")
    assert world.told() == ["Failed"]
    world.stop_pods()
    world.pass_time(86400)
    run(world, 200)
    world.exit(0)
    world.settle()
    assert world.says("Complete") == ("True", "LastRunComplete")


def test_a_schedule_may_be_given_and_taken():
    world = World({"suspend": True})
    world.settle()
    world.change(suspend=False, schedule="0 * * * *")
    world.settle()
    assert [kind for kind, _ in world.children] == ["CronJob"]
    run(world, 100)
    world.exit(0)
    world.settle()
    world.change(schedule=None)
    world.settle()
    assert [kind for kind, _ in world.children] == ["Job"]
    assert world.says("Complete") == ("False", "NotFinished")


@pytest.mark.parametrize("code", [0, 1, 78])
def test_steady_state_writes_nothing(code):
    world = scheduled(backoffLimit=0)
    run(world, 100)
    world.exit(code)
    world.settle()
    for _ in range(5):
        world.pass_time(600)
        assert world.settle() == []
