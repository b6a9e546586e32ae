"""What is the case: dependencies, migration, version, pauses, and what this release leaves out. Pure.

`observed` brings the facts, this module judges them, `children` and `status` are written from the judgement.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from media_gateway.core.domain.spec_types import SecretRef
from media_gateway_operator.crds.gateway import ComponentSpec, MediaGatewaySpec
from media_gateway_operator.kube.kinds import DEPLOYMENT, JOB, PAUSED, STATEFUL_SET, Object
from media_gateway_operator.mediagateway import migration
from media_gateway_operator.mediagateway.components import ROWS, Row
from media_gateway_operator.mediagateway.embedded import Server, as_declared, embedded, stateful_set
from media_gateway_operator.mediagateway.environment import (
    address_ref,
    child_name,
    mode_of,
    servers_of,
    signing_ref,
    version_of,
)
from media_gateway_operator.mediagateway.rollout import Component, Step, Terms, steps
from media_gateway_operator.mediagateway.workloads import NO_POD, Owner, pods_of

_NUMBER: Final = re.compile(r"(\d+)\.(\d+)\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that `desired` may look at.

    Attributes
    ----------
    resource : Object
        The MediaGateway.
    owner : Owner | None
        None: the spec can't be read, ``problem`` says why.
    generated : Mapping
        Values of Secrets that are to be made, by part (``postgres``).
    served : frozenset of str
        Kinds of others that the cluster knows (``ServiceMonitor``).
    failure : migration.Failure | None
        What a failed migration left.
    """

    resource: Object
    children: Sequence[Object]
    now: datetime
    owner: Owner | None
    problem: str = ""
    generated: Mapping[str, Mapping[str, str]]
    served: frozenset[str] = frozenset()
    failure: migration.Failure | None = None

    @property
    def generation(self) -> int:
        """Of the resource."""
        found: int = self.resource["metadata"].get("generation", 0)
        return found

    @property
    def status(self) -> Object:
        """The status as it was."""
        found: Object = self.resource.get("status") or {}
        return found

    def child(self, kind: str, name: str) -> Object | None:
        """The child of that kind and name."""
        for one in self.children:
            if one["kind"] == kind and one["metadata"]["name"] == name:
                return one
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The judgement.

    Attributes
    ----------
    missing : list of str
        References that don't resolve, a sentence each.
    unready : list of str
        Embedded servers without a ready pod.
    migration : str
        State of the Job for this release; ``Missing`` also while it can't be told which Job that is.
    unsupported : str
        Why the version is refused; empty if it is not.
    left_out : list of str
        Fields that ask for what this release does not do.
    """

    rows: list[Row]
    missing: list[str]
    unready: list[str]
    migration: migration.State
    unsupported: str
    paused_reconcile: bool
    paused_rollout: bool
    left_out: list[str]
    not_installed: list[str]
    steps: dict[str, Step]

    @property
    def dependencies_ready(self) -> bool:
        """Whether components can work with their servers, as far as can be seen from here."""
        return not self.missing and not self.unready

    @property
    def held(self) -> bool:
        """Whether no new pods may be made."""
        return bool(self.unsupported) or self.paused_rollout


def judge(observed: Observed, owner: Owner) -> Findings:
    """What is the case."""
    spec = owner.spec
    rows = [row for row in ROWS.values() if owner.component(row).enabled is not False]
    missing = [said for ref in references_of(owner, rows) if (said := _problem(owner, ref))]
    unsupported = _unsupported(observed.status, version_of(spec, owner.release))
    annotations = observed.resource["metadata"].get("annotations") or {}
    paused = spec.paused.reconcile or annotations.get(PAUSED) == "true"
    held = paused or spec.paused.rollout or bool(unsupported)
    unready = [one.name for one in embedded(owner) if not _server_ready(observed, owner, one, held=held)]
    state = migration.state_of(observed.child(JOB.kind, migration.job_name(owner)))
    terms = Terms(
        open=state == "Complete" and not missing and not unready and not held,
        parallel=spec.rollout.order == "Parallel",
        auto_rollback=spec.rollout.auto_rollback,
        generation=observed.generation,
    )
    return Findings(
        rows=rows,
        missing=missing,
        unready=unready,
        migration=state,
        unsupported=unsupported,
        paused_reconcile=paused,
        paused_rollout=spec.paused.rollout,
        left_out=left_out(spec),
        not_installed=_not_installed(spec, observed.served),
        steps=steps([_component(observed, owner, row) for row in rows], terms),
    )


def references_of(owner: Owner, rows: Sequence[Row]) -> list[SecretRef]:
    """Secrets and keys that must be there, each once."""
    spec = owner.spec
    servers = {"postgres"}.union(*(servers_of(spec, row.needs) for row in rows))
    refs = [address_ref(owner.name, spec, server) for server in sorted(servers)]
    refs.append(signing_ref(owner.name, spec))
    refs += [one.secret_ref for row in rows for one in owner.component(row).env]
    return list({(ref.name, ref.key): ref for ref in refs if ref is not None}.values())


def left_out(spec: MediaGatewaySpec) -> list[str]:
    """Fields that ask for what this release does not do."""
    asked = {
        f"components.{name}": stated.enabled is not False and stated != ComponentSpec()
        for name in type(spec.components).model_fields
        if name not in ROWS and isinstance(stated := getattr(spec.components, name), ComponentSpec)
    }
    asked |= {
        f"components.{name}.autoscaling": getattr(spec.components, name).scaled()
        for name in ROWS
        if getattr(spec.components, name).enabled is not False
    }
    asked |= {
        f"dependencies.{name}.tls": getattr(spec.dependencies, name).tls is not None
        for name in ("postgres", "redis", "qdrant", "kafka")
    }
    asked |= {
        "dependencies.pubnub": mode_of(spec, "pubnub") != "Disabled",
        "exposure": spec.exposure.type != "None",
        "observability.dashboards": spec.observability.dashboards == "Enabled",
        "observability.otlpEndpoint": spec.observability.otlp_endpoint is not None,
        "auth.rotationDays": spec.auth.rotation_days is not None,
        "auth.audiences beyond the first": len(spec.auth.audiences) > 1,
    }
    return sorted(field for field, is_asked in asked.items() if is_asked)


def _component(observed: Observed, owner: Owner, row: Row) -> Component:
    before = {one["name"]: one.get("image") for one in observed.status.get("components", ())}
    return Component(
        row=row,
        target=pods_of(owner, row),
        replicas=owner.replicas(row),
        live=observed.child(DEPLOYMENT.kind, child_name(owner.name, row.name)),
        last_image=before.get(row.name),
    )


def _problem(owner: Owner, ref: SecretRef) -> str:
    keys = owner.secrets.get(ref.name)
    if keys is None:
        return f"Secret {ref.name} is missing: create it with the key {ref.key}"
    return "" if ref.key in keys.digests else f"Secret {ref.name} has no key {ref.key}: add it"


def _server_ready(observed: Observed, owner: Owner, server: Server, *, held: bool) -> bool:
    live = observed.child(STATEFUL_SET.kind, child_name(owner.name, server.name))
    if live is None or (server.name == "postgres" and owner.data == NO_POD):
        return False
    status = live.get("status", {})
    return bool(
        (held or as_declared(stateful_set(owner, server, live), live))
        and status.get("observedGeneration", -1) >= live["metadata"].get("generation", 0)
        and status.get("readyReplicas", 0) >= 1
        and status.get("updateRevision") == status.get("currentRevision")
    )


def _unsupported(status: Object, target: str) -> str:
    before = (status.get("version") or {}).get("lastSuccessful")
    had, wanted = _NUMBER.match(before or ""), _NUMBER.match(target)
    if had is None or wanted is None:
        return ""
    (major, minor), (to_major, to_minor) = ((int(one[1]), int(one[2])) for one in (had, wanted))
    if to_major > major or (to_major == major and to_minor >= minor - 1):
        return ""
    least = f"{major}.{max(0, minor - 1)}"
    return (
        f"version {target} is more than one minor release below {before}, whose database schema it does not know; "
        f"set spec.version to {least} or newer"
    )


def _not_installed(spec: MediaGatewaySpec, served: frozenset[str]) -> list[str]:
    asked = {
        "ServiceMonitor": spec.observability.service_monitor,
        "PrometheusRule": spec.observability.prometheus_rule,
    }
    return [kind for kind, choice in asked.items() if choice == "Enabled" and kind not in served]
