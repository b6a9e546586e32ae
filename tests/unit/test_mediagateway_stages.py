"""The order of a rollout, with components of every stage."""

from typing import Any

import pytest

from media_gateway_operator.mediagateway.components import Row
from media_gateway_operator.mediagateway.rollout import Component, Step, Terms, steps
from media_gateway_operator.mediagateway.workloads import Pods
from tests.support.gateway_world import deployment_status

ROWS = [
    Row(name="front", port=1, stage="gateway"),
    Row(name="search", port=2),
    Row(name="tokens", port=3, stage="auth"),
    Row(name="feed", port=4),
]


class Rollout:
    """Deployments of `ROWS`, and what was decided for them."""

    def __init__(self) -> None:
        self.version = "1"
        self.generation = 1
        self.live: dict[str, dict[str, Any]] = {}

    def turn(self, **terms: Any) -> dict[str, Step]:
        """Decide, and declare."""
        components = [
            Component(
                row=row,
                target=pods(f"{row.name}:{self.version}"),
                replicas=1,
                live=self.live.get(row.name),
                last_image=None,
            )
            for row in ROWS
        ]
        stated = {
            "open": True,
            "parallel": False,
            "auto_rollback": True,
            "generation": self.generation,
            **terms,
        }
        found = steps(components, Terms(**stated))
        for name, step in found.items():
            if step.pods is not None:
                self._declare(name, step)
        return found

    def _declare(self, name: str, step: Step) -> None:
        assert step.pods is not None
        before = self.live.get(name)
        spec = {"replicas": 1, "template": step.pods.template}
        generation = 1 if before is None else before["metadata"]["generation"] + (before["spec"] != spec)
        self.live[name] = {
            "metadata": {"generation": generation, "annotations": step.annotations()},
            "spec": spec,
            "status": before["status"] if before else {},
        }

    def ready(self, *names: str, late: bool = False) -> None:
        """Pods get there, or don't in time."""
        for name in names or self.live:
            self.live[name]["status"] = deployment_status(self.live[name], late=late)

    def images(self) -> dict[str, str]:
        """What runs."""
        return {
            name: one["spec"]["template"]["spec"]["containers"][0]["image"] for name, one in self.live.items()
        }

    def installed(self) -> "Rollout":
        """With version 1 everywhere."""
        for _ in range(4):
            self.turn()
            self.ready()
        return self


def pods(image: str) -> Pods:
    return Pods({"A": "b"}, {"metadata": {}, "spec": {"containers": [{"name": "c", "image": image}]}})


@pytest.fixture
def rollout() -> Rollout:
    return Rollout()


def test_stages_are_installed_one_after_the_other(rollout: Rollout):
    rollout.turn()
    assert set(rollout.live) == {"tokens"}
    rollout.turn()
    assert set(rollout.live) == {"tokens"}
    rollout.ready()
    rollout.turn()
    assert set(rollout.live) == {"tokens", "search", "feed"}
    rollout.ready("search")
    rollout.turn()
    assert "front" not in rollout.live
    rollout.ready("feed")
    rollout.turn()
    assert "front" in rollout.live
    rollout.ready()
    assert all(step.reached for step in rollout.turn().values())


def test_upgrade_waits_for_each_stage(rollout: Rollout):
    rollout.installed()
    rollout.version = "2"
    rollout.turn()
    assert rollout.images() == {
        "tokens": "tokens:2",
        "search": "search:1",
        "feed": "feed:1",
        "front": "front:1",
    }
    # The Deployment has not said yet that it has seen the change: what it says is of the pods before.
    rollout.turn()
    assert rollout.images()["search"] == "search:1"
    rollout.ready()
    rollout.turn()
    assert rollout.images()["search"] == "search:2"
    assert rollout.images()["front"] == "front:1"


def test_parallel_order_waits_for_nobody(rollout: Rollout):
    rollout.installed()
    rollout.version = "2"
    rollout.turn(parallel=True)
    assert all(image.endswith(":2") for image in rollout.images().values())


def test_closed_rollout_keeps_every_component_as_it_is(rollout: Rollout):
    rollout.installed()
    rollout.version = "2"
    found = rollout.turn(open=False)
    assert all(image.endswith(":1") for image in rollout.images().values())
    assert not any(step.reached for step in found.values())


def test_nothing_is_installed_before_it_may(rollout: Rollout):
    found = rollout.turn(open=False)
    assert rollout.live == {}
    assert not any(step.reached for step in found.values())


def test_failed_stage_takes_the_ones_before_back_and_lets_none_on(rollout: Rollout):
    rollout.installed()
    rollout.version = "2"
    rollout.turn()
    rollout.ready()
    rollout.turn()
    rollout.ready("feed", "tokens", "front")
    rollout.ready("search", late=True)
    rollout.turn()
    assert rollout.images() == {name: f"{name}:1" for name in ("tokens", "search", "feed", "front")}
    rollout.ready()
    for _ in range(3):
        found = rollout.turn()
        assert all(image.endswith(":1") for image in rollout.images().values())
        assert not found["search"].reached
        assert not found["front"].reached


def test_half_a_rollback_is_finished_after_a_crash(rollout: Rollout):
    rollout.installed()
    rollout.version = "2"
    rollout.turn(parallel=True)
    rollout.ready()
    rollout.ready("search", late=True)
    before = dict(rollout.live)
    rollout.turn(parallel=True)
    # Only the failed one was written when the operator died.
    rollout.live = {**before, "search": rollout.live["search"]}
    rollout.turn(parallel=True)
    assert all(image.endswith(":1") for image in rollout.images().values())


def test_another_generation_is_another_try(rollout: Rollout):
    rollout.installed()
    rollout.version = "2"
    rollout.turn(parallel=True)
    rollout.ready(late=True)
    rollout.turn(parallel=True)
    rollout.ready()
    rollout.generation = 2
    rollout.turn(parallel=True)
    assert all(image.endswith(":2") for image in rollout.images().values())


def test_what_was_interrupted_is_not_what_is_gone_back_to(rollout: Rollout):
    rollout.installed()
    rollout.version = "2"
    rollout.turn(parallel=True)
    # Version 2 never got ready when 3 came.
    rollout.version, rollout.generation = "3", 2
    rollout.turn(parallel=True)
    rollout.ready(late=True)
    rollout.turn(parallel=True)
    assert all(image.endswith(":1") for image in rollout.images().values())


def test_edited_memory_is_not_trusted(rollout: Rollout):
    rollout.installed()
    for text in ("", "{", "[]", "{}", '{"config": {}, "template": {"spec": {}}}'):
        annotations = rollout.live["search"]["metadata"]["annotations"]
        annotations["operator.mediagateway.io/pods"] = text
        rollout.version = "2"
        rollout.turn(open=False)
        assert rollout.images()["search"] == "search:1"
