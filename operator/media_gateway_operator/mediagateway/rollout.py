"""When each component gets its new pods: stage by stage, not before the schema is there, and back if they don't start.

Pure functions. What a Deployment's pods were declared to be is remembered on the Deployment itself, so that a component
which has to wait, or goes back, is declared exactly as it was: template, configuration and all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from media_gateway_operator.kube.kinds import STATE_PREFIX, Object
from media_gateway_operator.mediagateway.components import STAGES, Row
from media_gateway_operator.mediagateway.workloads import Pods

DECLARED: Final = f"{STATE_PREFIX}pods"
"""On a Deployment: its pods as declared now."""
PREVIOUS: Final = f"{STATE_PREFIX}previous-pods"
"""On a Deployment: the last pods before these that were all ready."""
REFUSED: Final = f"{STATE_PREFIX}refused"
"""On a Deployment: which attempt did not get ready, so that it is not made again before something has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One component before the decision.

    Attributes
    ----------
    target : Pods
        What its pods should be in the end.
    replicas : int | None
        How many there should be; None where the autoscaler decides.
    live : Object | None
        Its Deployment.
    last_image : str | None
        What it ran when it was last looked at, for a Deployment that somebody has deleted.
    """

    row: Row
    target: Pods
    replicas: int | None
    live: Object | None
    last_image: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a rollout depends on.

    Attributes
    ----------
    open : bool
        Whether new pods may be made at all: servers and schema are there, nothing is paused.
    parallel : bool
        All stages at once.
    auto_rollback : bool
        Go back from what does not get ready.
    generation : int
        Of the resource. Another one is another attempt.
    """

    open: bool
    parallel: bool
    auto_rollback: bool
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is declared for one component.

    Attributes
    ----------
    pods : Pods | None
        None: no Deployment yet.
    previous : Pods | None
        What to go back to.
    refused : str
        The attempt it went back from; empty if none.
    reached : bool
        Its pods are the target's, and all of them are there.
    """

    pods: Pods | None
    previous: Pods | None = None
    refused: str = ""
    reached: bool = False

    def annotations(self) -> dict[str, str]:
        """What is remembered on the Deployment."""
        found = {DECLARED: self.pods.dumps()} if self.pods else {}
        if self.previous is not None:
            found[PREVIOUS] = self.previous.dumps()
        if self.refused:
            found[REFUSED] = self.refused
        return found


def steps(components: Sequence[Component], terms: Terms) -> dict[str, Step]:
    """What to declare for each component now."""
    refused = _refused(components, terms)
    found: dict[str, Step] = {}
    is_open = terms.open and not refused
    for stage in STAGES:
        members = [one for one in components if one.row.stage == stage]
        for one in members:
            if one.row.name in refused:
                found[one.row.name] = _step_back(one, terms)
            else:
                found[one.row.name] = _step(one, advance=is_open)
        if not terms.parallel:
            is_open = is_open and all(found[one.row.name].reached for one in members)
    return found


def declared_of(live: Object) -> Pods | None:
    """The pods that a Deployment was last declared with."""
    return Pods.loads(_annotations(live).get(DECLARED))


def available(live: Object) -> bool:
    """Whether all pods of a Deployment are as declared and serve."""
    status, wanted = live.get("status", {}), live.get("spec", {}).get("replicas", 1)
    return (
        _observed(live)
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("availableReplicas", 0) >= wanted
        and status.get("replicas", 0) <= status.get("updatedReplicas", 0)
    )


def failed(live: Object) -> bool:
    """Whether a Deployment has made no progress for longer than it may."""
    return _observed(live) and _progressing(live) == ("False", "ProgressDeadlineExceeded")


def _refused(components: Sequence[Component], terms: Terms) -> set[str]:
    """Components that go back, or have gone back and stay there."""
    found = {one.row.name for one in components if _gone_back(one, terms) or _must_go_back(one, terms)}
    # A version is rolled back as a whole: its components were made for each other.
    if any(one.row.name in found and _new_image(one) for one in components):
        found |= {one.row.name for one in components if _runs_target(one) and _new_image(one)}
    return found


def _gone_back(one: Component, terms: Terms) -> bool:
    return one.live is not None and _annotations(one.live).get(REFUSED) == _attempt(one, terms)


def _must_go_back(one: Component, terms: Terms) -> bool:
    if not terms.auto_rollback or one.live is None or not _runs_target(one) or not failed(one.live):
        return False
    previous = _previous_of(one.live)
    return previous is not None and previous != one.target


def _new_image(one: Component) -> bool:
    previous = _previous_of(one.live) if one.live else None
    return previous is not None and previous.image != one.target.image


def _runs_target(one: Component) -> bool:
    return one.live is not None and declared_of(one.live) == one.target


def _step_back(one: Component, terms: Terms) -> Step:
    assert one.live is not None
    previous = _previous_of(one.live)
    pods = previous or declared_of(one.live) or one.target
    return Step(pods=pods, previous=previous, refused=_attempt(one, terms))


def _step(one: Component, *, advance: bool) -> Step:
    if one.live is None:
        if advance:
            return Step(pods=one.target)
        # Somebody has deleted it while it had to wait: what it ran comes back, as near as that is known.
        return Step(pods=one.target.with_image(one.last_image) if one.last_image else None)
    current = declared_of(one.live)
    # Without its memory, which somebody has taken away, only its image is known.
    pods = one.target if advance else current or one.target.with_image(_image_of(one.live))
    previous = _previous_of(one.live)
    if pods == current:
        return Step(pods=pods, previous=previous, reached=pods == one.target and _complete(one))
    if current is not None and _rolled_out(one.live):
        previous = current
    return Step(pods=pods, previous=previous)


def _complete(one: Component) -> bool:
    assert one.live is not None
    # Not yet so where the number has just been changed: the Deployment speaks of the one before.
    return available(one.live) and one.replicas in {None, one.live["spec"].get("replicas", 1)}


def _attempt(one: Component, terms: Terms) -> str:
    return f"{terms.generation}.{one.target.digest}"


def _previous_of(live: Object) -> Pods | None:
    return Pods.loads(_annotations(live).get(PREVIOUS))


def _rolled_out(live: Object) -> bool:
    return _observed(live) and _progressing(live) == ("True", "NewReplicaSetAvailable")


def _progressing(live: Object) -> tuple[str, str]:
    for one in live.get("status", {}).get("conditions", ()):
        if one["type"] == "Progressing":
            return one["status"], one.get("reason", "")
    return "Unknown", ""


def _observed(live: Object) -> bool:
    generation: int = live["metadata"].get("generation", 0)
    seen: int = live.get("status", {}).get("observedGeneration", -1)
    return seen >= generation


def _image_of(live: Object) -> str:
    found: str = live["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


def _annotations(live: Object) -> Mapping[str, str]:
    found: Mapping[str, str] = live["metadata"].get("annotations") or {}
    return found
