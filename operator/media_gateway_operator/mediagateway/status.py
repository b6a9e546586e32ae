"""The status of a MediaGateway beside its conditions: versions, components, servers, addresses. Pure."""

from collections.abc import Sequence
from typing import Any

from media_gateway_operator.kube.kinds import Object
from media_gateway_operator.mediagateway import migration, reasons
from media_gateway_operator.mediagateway.components import ROWS
from media_gateway_operator.mediagateway.conditions import View
from media_gateway_operator.mediagateway.environment import address_ref, child_name, mode_of, version_of
from media_gateway_operator.mediagateway.rollout import declared_of

_SERVERS = ("postgres", "redis", "qdrant", "kafka", "pubnub")


def status(view: View, conditions: Sequence[dict[str, Any]]) -> Object:
    """The whole status.

    Parameters
    ----------
    conditions
        With their times.
    """
    steps = view.findings.steps
    ready = sum(step.reached for step in steps.values())
    return {
        "observedGeneration": view.observed.generation,
        "phase": _phase(view, conditions),
        "conditions": list(conditions),
        "version": _version(view, conditions),
        "componentsReady": f"{ready}/{len(steps)}",
        "endpoints": [
            {
                "name": name,
                "url": f"http://{child_name(view.owner.name, name)}.{view.owner.namespace}.svc:{ROWS[name].port}",
            }
            for name in steps
        ],
        "components": [_component(view, name) for name in steps],
        "dependencies": [_dependency(view, name) for name in _SERVERS],
        **(
            {"migrationJob": migration.job_name(view.owner)}
            if view.findings.migration != "Missing" or view.findings.dependencies_ready
            else {}
        ),
    }


def _phase(view: View, conditions: Sequence[dict[str, Any]]) -> str:
    is_true = {one["type"]: one["status"] == "True" for one in conditions}
    if view.findings.paused_reconcile:
        return "Paused"
    if is_true[reasons.READY]:
        return "Ready"
    if is_true[reasons.DEGRADED] and not is_true[reasons.PROGRESSING]:
        return "Degraded"
    if all(view.deployment(name) is None for name in view.findings.steps):
        return "Pending"
    return "Progressing" if is_true[reasons.PROGRESSING] else "Degraded"


def _version(view: View, conditions: Sequence[dict[str, Any]]) -> Object:
    before = view.observed.status.get("version") or {}
    target = version_of(view.owner.spec, view.owner.release)
    is_ready = any(one["type"] == reasons.READY and one["status"] == "True" for one in conditions)
    if view.findings.paused_reconcile or not is_ready:
        found = {**before, "target": target}
    else:
        found = {"current": target, "target": target, "lastSuccessful": target}
    return {key: found[key] for key in ("current", "target", "lastSuccessful") if found.get(key)}


def _component(view: View, name: str) -> Object:
    live, step = view.deployment(name), view.findings.steps[name]
    found: Object = {"name": name, "ready": 0, "desired": 0}
    if live is None:
        return {**found, "message": "waits for its turn in the rollout"}
    state = live.get("status", {})
    found |= {
        "ready": state.get("readyReplicas", 0),
        "desired": live["spec"].get("replicas", 1),
        "image": live["spec"]["template"]["spec"]["containers"][0]["image"],
    }
    if (pods := declared_of(live)) is not None:
        found["revision"] = pods.digest
    if message := _message(live, refused=bool(step.refused), reached=step.reached):
        found["message"] = message
    return found


def _message(live: Object, *, refused: bool, reached: bool) -> str:
    if reached:
        return ""
    if refused:
        return "runs the pods from before the last change, whose own did not get ready"
    for one in live.get("status", {}).get("conditions", ()):
        if one["type"] in {"ReplicaFailure", "Progressing"} and (
            (one["type"] == "ReplicaFailure" and one["status"] == "True")
            or (one["type"] == "Progressing" and one["status"] == "False")
        ):
            return str(one.get("message", ""))[:1024]
    return ""


def _dependency(view: View, name: str) -> Object:
    mode = mode_of(view.owner.spec, name)
    found: Object = {"name": name, "mode": mode}
    if mode == "Embedded":
        found["reachable"] = name not in view.findings.unready
        return found
    if mode == "Disabled":
        return found
    ref = address_ref(view.owner.name, view.owner.spec, name) if name != "pubnub" else None
    if ref is not None and (said := [one for one in view.findings.missing if f"Secret {ref.name} " in one]):
        return {**found, "message": said[0]}
    # Only the migration has asked, and only the database.
    if name == "postgres" and view.findings.migration == "Complete":
        found["reachable"] = True
    return found
