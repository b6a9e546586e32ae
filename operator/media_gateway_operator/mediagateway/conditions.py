"""The conditions of a MediaGateway, and what of their changes is told as Events. Pure.

`Ready` says whether everything is as the spec wants it and works; the others say why not. Exactly one reason each, the
weightiest first; the message tells them all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from media_gateway_operator.engine.plan import Note, condition
from media_gateway_operator.kube.kinds import DEPLOYMENT, JOB, STATEFUL_SET, Object
from media_gateway_operator.mediagateway import migration, reasons
from media_gateway_operator.mediagateway.embedded import SERVERS, embedded, storage_of
from media_gateway_operator.mediagateway.environment import child_name
from media_gateway_operator.mediagateway.findings import Findings, Observed
from media_gateway_operator.mediagateway.rollout import available, failed
from media_gateway_operator.mediagateway.workloads import Owner

Verdict = tuple[Literal["True", "False", "Unknown"], str, str]
"""Status, reason, message."""

_TOLD: Final[Mapping[tuple[str, str], Literal["Normal", "Warning"]]] = {
    (reasons.READY, "True"): "Normal",
    (reasons.DEGRADED, "True"): "Warning",
    (reasons.DEPENDENCIES_READY, "False"): "Warning",
    (reasons.MIGRATED, "True"): "Normal",
    (reasons.PAUSED, "True"): "Normal",
}


@dataclass(frozen=True, slots=True)
class View:
    """What conditions are made of."""

    observed: Observed
    owner: Owner
    findings: Findings

    def deployment(self, component: str) -> Object | None:
        """A component's Deployment."""
        return self.observed.child(DEPLOYMENT.kind, child_name(self.owner.name, component))

    def lacking(self) -> list[str]:
        """Components that don't run the target with all their pods."""
        return [name for name, step in self.findings.steps.items() if not step.reached]

    def broken(self) -> list[str]:
        """Components whose pods are not all there although no rollout is the reason."""
        return [
            name
            for name, step in self.findings.steps.items()
            if (live := self.deployment(name)) is not None and not step.refused and failed(live)
        ]

    def refused(self) -> list[str]:
        """Components that went back to the pods before."""
        return [name for name, step in self.findings.steps.items() if step.refused]


def conditions(view: View) -> list[dict[str, Any]]:
    """All conditions, without their times."""
    verdicts = {
        reasons.READY: _ready(view),
        reasons.PROGRESSING: _progressing(view),
        reasons.DEGRADED: _degraded(view),
        reasons.DEPENDENCIES_READY: _dependencies(view),
        reasons.MIGRATED: _migrated(view),
        reasons.PAUSED: _paused(view),
    }
    generation = view.observed.generation
    return [
        condition(type_, status, reason, message, generation=generation)
        for type_, (status, reason, message) in verdicts.items()
    ]


def notes(now: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]]) -> list[Note]:
    """Events for what has changed since the status was written, so that nothing is told twice."""
    known = {one["type"]: (one["status"], one["reason"]) for one in before}
    found = []
    for one in now:
        type_, state, reason = one["type"], one["status"], one["reason"]
        kind = _TOLD.get((type_, state))
        if reason == reasons.DEVELOPMENT_DEPENDENCIES:
            kind = "Warning"
        if reason == reasons.DEPENDENCY_UNAVAILABLE and type_ not in known:
            # A server that has just been made is no news.
            kind = None
        if kind is not None and known.get(type_) != (state, reason):
            found.append(Note(kind, reason, one["message"]))
    return found


def _ready(view: View) -> Verdict:
    found = view.findings
    if found.unsupported:
        return "False", reasons.UNSUPPORTED_VERSION, found.unsupported
    for verdict in (_dependencies(view), _migrated(view)):
        if verdict[0] == "False":
            return verdict
    if view.refused():
        return "False", reasons.ROLLED_BACK, _rolled_back(view)
    lacking = view.lacking()
    if not lacking:
        return "True", reasons.RECONCILED, f"all {len(found.steps)} components are ready"
    reason = reasons.ROLLING_OUT
    if found.paused_rollout:
        reason = reasons.ROLLOUT_PAUSED
    elif view.broken():
        reason = reasons.PROGRESS_DEADLINE_EXCEEDED
    elif all(_settled(view, name) for name in lacking):
        reason = reasons.UNAVAILABLE
    return "False", reason, f"not ready: {', '.join(lacking)}"


def _progressing(view: View) -> Verdict:
    found = view.findings
    ready = _ready(view)
    if ready[0] == "True":
        return "False", reasons.RECONCILED, ""
    underway = {
        reasons.ROLLING_OUT,
        reasons.MIGRATION_RUNNING,
        reasons.DEPENDENCY_UNAVAILABLE,
        reasons.WAITING_FOR_DEPENDENCIES,
    }
    is_underway = ready[1] in underway and not found.paused_reconcile
    return ("True" if is_underway else "False"), ready[1], ready[2]


def _degraded(view: View) -> Verdict:
    found = view.findings
    facts: list[tuple[str, str]] = []
    if view.refused():
        facts.append((reasons.ROLLED_BACK, _rolled_back(view)))
    if broken := view.broken():
        seconds = view.owner.spec.rollout.progress_deadline_seconds
        said = f"no progress for {seconds} s: {', '.join(broken)}; kubectl describe shows what their pods wait for"
        facts.append((reasons.PROGRESS_DEADLINE_EXCEEDED, said))
    if found.migration == "Failed":
        facts.append((reasons.MIGRATION_FAILED, _migrated(view)[2]))
    if found.unsupported:
        facts.append((reasons.UNSUPPORTED_VERSION, found.unsupported))
    if found.not_installed:
        said = f"the cluster knows no {', '.join(found.not_installed)}: install the Prometheus operator, or set Auto"
        facts.append((reasons.MONITORING_NOT_INSTALLED, said))
    if found.left_out:
        facts.append((reasons.NOT_IN_RELEASE, f"this release does not do: {', '.join(found.left_out)}"))
    if not facts:
        return "False", reasons.RECONCILED, ""
    return "True", facts[0][0], "; ".join(said for _, said in facts)


def _dependencies(view: View) -> Verdict:
    found = view.findings
    if found.missing:
        return "False", reasons.INVALID_REFERENCE, "; ".join(found.missing)
    if found.unready:
        return "False", reasons.DEPENDENCY_UNAVAILABLE, f"not ready: {', '.join(found.unready)}"
    servers = embedded(view.owner)
    if not servers:
        return "True", reasons.RESOLVED, "every Secret that is named is there"
    said = f"{', '.join(one.name for one in servers)}: one pod each, without a copy, for development only"
    volatile = [one.name for one in servers if _storage(view, one.name) is None]
    if volatile:
        said += f"; without storage, so their data is gone with their pod: {', '.join(volatile)}"
    if changed := [one.name for one in servers if _storage(view, one.name) != _stated(view, one.name)]:
        said += f"; storage can't be changed, delete the StatefulSet and its data to have it anew: {', '.join(changed)}"
    return "True", reasons.DEVELOPMENT_DEPENDENCIES, said


def _migrated(view: View) -> Verdict:
    found = view.findings
    name = migration.job_name(view.owner)
    if not found.dependencies_ready and found.migration != "Complete":
        return "False", reasons.WAITING_FOR_DEPENDENCIES, "the migration waits for the dependencies"
    if found.migration == "Complete":
        return "True", reasons.MIGRATION_COMPLETE, f"Job {name} is complete"
    if found.migration == "Failed":
        job = view.observed.child(JOB.kind, name)
        assert job is not None
        said = migration.explain(job, view.observed.failure)
        again = "it is tried again when the spec, the Secret or the annotation mediagateway.io/reconcile-at changes"
        return "False", reasons.MIGRATION_FAILED, f"{said}; {again}"
    if found.migration == "Missing" and found.held:
        reason = reasons.UNSUPPORTED_VERSION if found.unsupported else reasons.ROLLOUT_PAUSED
        return "False", reason, "the migration is held back"
    return "False", reasons.MIGRATION_RUNNING, f"Job {name} is running"


def _paused(view: View) -> Verdict:
    if view.findings.paused_reconcile:
        return "True", reasons.RECONCILE_PAUSED, "nothing is changed, only this status is kept"
    if view.findings.paused_rollout:
        return "True", reasons.ROLLOUT_PAUSED, "pods are repaired, and not replaced by new ones"
    return "False", reasons.NOT_PAUSED, ""


def _rolled_back(view: View) -> str:
    return (
        f"went back to the pods before, since the new ones did not get ready: {', '.join(view.refused())}; "
        "a change of the spec tries again"
    )


def _settled(view: View, name: str) -> bool:
    # At the target, but fewer pods than there must be.
    live, step = view.deployment(name), view.findings.steps[name]
    if live is None or step.pods is None or available(live):
        return False
    return live.get("status", {}).get("updatedReplicas", 0) >= live["spec"].get("replicas", 1) and any(
        one["type"] == "Progressing" and one.get("reason") == "NewReplicaSetAvailable"
        for one in live["status"].get("conditions", ())
    )


def _storage(view: View, server: str) -> Any:
    live = view.observed.child(STATEFUL_SET.kind, child_name(view.owner.name, server))
    return storage_of(view.owner, SERVERS[server], live)


def _stated(view: View, server: str) -> Any:
    return getattr(view.owner.spec.dependencies, server).storage
