"""What Jobs and pods say: ends, obstacles, log tails."""

import pytest
from hypothesis import given, strategies as st

from media_gateway_operator.ingestionjob.outcome import (
    LOG_TAIL_BYTES,
    JobState,
    end_of,
    failure_of,
    foreign,
    last_line,
    obstacle,
    tail_of,
)
from media_gateway_operator.kube.kinds import Object

UID = "job-uid"


def job(*conditions, **status) -> JobState:
    return JobState.of(
        {
            "metadata": {"name": "films-1", "uid": UID, "creationTimestamp": "2026-03-02T12:00:00Z"},
            "spec": {"suspend": False},
            "status": {"conditions": list(conditions), **status},
        }
    )


def pod(name="p", *, uid=UID, phase="Failed", **state) -> Object:
    containers = [{"name": "ingestion", "image": "x:1", "state": state}] if state else []
    return {
        "metadata": {"name": name, "ownerReferences": [{"uid": uid}]},
        "status": {"phase": phase, "containerStatuses": containers},
    }


def failed(reason, message="") -> JobState:
    end = {"type": "Failed", "status": "True", "reason": reason, "message": message}
    return job({**end, "lastTransitionTime": "2026-03-02T12:05:00Z"}, failed=2)


def test_the_last_failed_pod_speaks():
    pods = [
        pod("first", terminated={"exitCode": 1, "finishedAt": "2026-03-02T12:01:00Z", "message": "one"}),
        pod("second", terminated={"exitCode": 1, "finishedAt": "2026-03-02T12:02:00Z", "message": "two"}),
        pod("else", uid="other", terminated={"exitCode": 78, "finishedAt": "2026-03-02T12:03:00Z"}),
        pod("alive", phase="Running", running={}),
    ]
    found = failure_of(pods, job())
    assert found is not None
    assert (found.exit_code, found.log_tail) == (1, "two")


def test_want_of_memory_is_told():
    ended = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-03-02T12:02:00Z"}
    found = failure_of([pod(terminated=ended)], job())
    assert found is not None
    assert found.reason == "OOMKilled"
    assert "memory" in found.message


def test_an_evicted_pod_is_told_in_the_kubelets_words():
    evicted = pod()
    evicted["status"] |= {"reason": "Evicted", "message": "the node was low on memory"}
    found = failure_of([evicted], job())
    assert found is not None
    assert (found.reason, found.message, found.exit_code) == ("Evicted", "the node was low on memory", None)


def test_without_pods_the_exit_code_is_read_from_the_job():
    said = "Container ingestion for pod media/films-1-x failed with exit code 78 matching FailJob rule at index 1"
    found = end_of(failed("PodFailurePolicy", said), [])
    assert (found.reason, found.exit_code) == ("ConfigurationError", 78)


def test_without_pods_and_code_the_jobs_words_are_kept():
    found = end_of(failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"), [])
    assert (found.reason, found.exit_code) == ("BackoffLimitExceeded", None)
    assert found.message == "Job has reached the specified backoff limit"


def test_the_deadline_is_told_by_its_field():
    pods = [pod(terminated={"exitCode": 143, "finishedAt": "2026-03-02T12:02:00Z", "message": "bye"})]
    found = end_of(failed("DeadlineExceeded"), pods)
    assert found.reason == "DeadlineExceeded"
    assert "spec.activeDeadlineSeconds" in found.message
    assert found.log_tail == "bye"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"waiting": {"reason": "ErrImagePull", "message": "a"}}, "ImagePullFailed"),
        ({"waiting": {"reason": "ImagePullBackOff", "message": "b"}}, "ImagePullFailed"),
        ({"waiting": {"reason": "CreateContainerConfigError"}}, "ContainerNotCreated"),
        ({"waiting": {"reason": "ContainerCreating"}}, None),
        ({"running": {}}, None),
    ],
)
def test_obstacles_are_named_and_do_not_flicker(state, reason):
    found = obstacle([pod(phase="Pending", **state)], job())
    assert (found and found[0]) == reason


def test_an_image_is_the_same_obstacle_however_often_it_is_tried():
    tries = [{"waiting": {"reason": one, "message": one}} for one in ("ErrImagePull", "ImagePullBackOff")]
    first, second = (obstacle([pod(phase="Pending", **state)], job()) for state in tries)
    assert first == second


def test_pods_of_others_that_still_run_are_found():
    pods = [
        pod("a", phase="Running"),
        pod("b", uid="old", phase="Running"),
        pod("c", uid="old", phase="Failed"),
    ]
    assert foreign(pods, job()) == ["b"]
    assert foreign(pods, None) == ["a", "b"]


@given(st.text(max_size=3000))
def test_a_tail_is_short_and_is_text(log):
    tail = tail_of(log)
    assert len(tail.encode("utf-8", "replace")) <= LOG_TAIL_BYTES
    line, _ = last_line(tail)
    assert len(line) <= 300


def test_a_tail_begins_with_a_whole_line():
    tail = tail_of("\n".join(f"line {number}: {'x' * 90}" for number in range(50)))
    assert tail.startswith("line ")
    assert tail.splitlines()[-1].startswith("line 49")


@pytest.mark.parametrize(
    ("tail", "line", "reason"),
    [
        ("", "", None),
        ("a\nb\n", "b", None),
        ('{"message": "no", "reason": "SourceGone"}', "no", "SourceGone"),
        ('{"message": "failed", "error": "the source said no"}', "the source said no", None),
        ('{"message": "no", "reason": "lower case"}', "no", None),
        ("[1]", "[1]", None),
    ],
)
def test_the_last_line_is_read_as_a_person_would(tail, line, reason):
    assert last_line(tail) == (line, reason)


def test_a_suspended_job_has_no_start_although_kubernetes_keeps_it():
    suspended = JobState.of(
        {
            "metadata": {"name": "films-1", "uid": UID},
            "spec": {"suspend": True},
            "status": {"startTime": "2026-03-02T12:00:00Z", "terminating": 1},
        }
    )
    assert suspended.started is None
    assert not suspended.running
    assert not suspended.idle
