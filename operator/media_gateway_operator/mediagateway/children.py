"""The children of a MediaGateway as they are declared now, and those that have to go. Pure."""

from collections.abc import Iterable

from media_gateway_operator.kube.kinds import (
    JOB,
    PROMETHEUS_RULE,
    SECRET,
    SERVICE_MONITOR,
    STATEFUL_SET,
    Object,
    Ref,
)
from media_gateway_operator.mediagateway import embedded, migration, monitoring, network, workloads
from media_gateway_operator.mediagateway.components import ROWS, Row
from media_gateway_operator.mediagateway.environment import child_name
from media_gateway_operator.mediagateway.findings import Findings, Observed
from media_gateway_operator.mediagateway.workloads import Owner


def declared(observed: Observed, owner: Owner, findings: Findings) -> list[Object]:
    """Manifests in the order of their application: what others refer to comes first."""
    return [
        *_secrets(observed, owner),
        *_servers(observed, owner, findings),
        *_migration(observed, owner, findings),
        *(one for row in findings.rows for one in _component(observed, owner, row, findings)),
        *_alerts(observed, owner, findings),
    ]


def surplus(observed: Observed, owner: Owner, findings: Findings, objects: Iterable[Object]) -> list[Ref]:
    """Children that nothing declares any more."""
    wanted = {Ref.of(one) for one in objects}
    uid = observed.resource["metadata"].get("uid")
    own = [
        one
        for one in observed.children
        if not migration.is_migration(one)
        and any(ref.get("uid") == uid for ref in one["metadata"].get("ownerReferences", ()))
    ]
    gone = [ref for one in own if (ref := Ref.of(one)) not in wanted]
    return [
        *gone,
        *_jobs(observed, owner, findings),
        *_unwatched(observed, owner, wanted),
        *_passwords(gone),
    ]


def _secrets(observed: Observed, owner: Owner) -> list[Object]:
    return [embedded.secret(owner, part, values) for part, values in observed.generated.items()]


def _servers(observed: Observed, owner: Owner, findings: Findings) -> Iterable[Object]:
    for server in embedded.embedded(owner):
        yield embedded.service(owner, server)
        if owner.spec.network_policy.enabled:
            yield network.server_policy(owner, server, findings.rows)
        live = observed.child(STATEFUL_SET.kind, child_name(owner.name, server.name))
        # A held one is as it was: with the image that it has, which may be of another release.
        made = embedded.stateful_set(owner, server, live)
        yield embedded.as_it_was(made, live) if findings.held and live is not None else made


def _migration(observed: Observed, owner: Owner, findings: Findings) -> Iterable[Object]:
    if owner.spec.network_policy.enabled:
        yield network.migration_policy(owner)
    if findings.migration == "Missing" and findings.dependencies_ready and not findings.held:
        yield migration.job(owner, migration.attempt_of(observed.resource))


def _component(observed: Observed, owner: Owner, row: Row, findings: Findings) -> Iterable[Object]:
    step = findings.steps[row.name]
    yield workloads.service_account(owner, row)
    yield workloads.service(owner, row)
    if owner.spec.network_policy.enabled:
        yield network.component_policy(owner, row, findings.rows)
    if (budget := workloads.disruption_budget(owner, row)) is not None:
        yield budget
    if _wants(observed, SERVICE_MONITOR.kind, owner.spec.observability.service_monitor):
        yield monitoring.service_monitor(owner, row)
    if step.pods is None:
        return
    maps = [workloads.config_map(owner, row, pods) for pods in (step.pods, step.previous) if pods is not None]
    yield from {one["metadata"]["name"]: one for one in maps}.values()
    yield workloads.deployment(owner, row, step.pods, step.annotations())


def _alerts(observed: Observed, owner: Owner, findings: Findings) -> Iterable[Object]:
    if not _wants(observed, PROMETHEUS_RULE.kind, owner.spec.observability.prometheus_rule):
        return
    if (rule := monitoring.prometheus_rule(owner, findings.rows)) is not None:
        yield rule


def _wants(observed: Observed, kind: str, choice: str) -> bool:
    return choice != "Disabled" and kind in observed.served


def _jobs(observed: Observed, owner: Owner, findings: Findings) -> list[Ref]:
    name = migration.job_name(owner)
    if findings.migration == "Complete":
        return migration.outdated(observed.children, name)
    live = observed.child(JOB.kind, name)
    if live is None or findings.migration != "Failed" or findings.held:
        return []
    tried = (live["metadata"].get("annotations") or {}).get(migration.ATTEMPT)
    # Once it has gone, it is missing, and made anew.
    return [] if tried == migration.attempt_of(observed.resource) else [Ref.of(live)]


def _unwatched(observed: Observed, owner: Owner, wanted: set[Ref]) -> Iterable[Ref]:
    # Nobody tells which of these exist, so each that should not is named; where the kind is unknown there is none.
    if SERVICE_MONITOR.kind in observed.served:
        for name in ROWS:
            ref = Ref(SERVICE_MONITOR, owner.namespace, child_name(owner.name, name))
            if ref not in wanted:
                yield ref
    if PROMETHEUS_RULE.kind in observed.served:
        ref = Ref(PROMETHEUS_RULE, owner.namespace, child_name(owner.name, "sla"))
        if ref not in wanted:
            yield ref


def _passwords(gone: Iterable[Ref]) -> Iterable[Ref]:
    # With the server goes its volume, and with both the password.
    for ref in gone:
        if ref.kind == STATEFUL_SET and not ref.name.endswith("-kafka"):
            yield Ref(SECRET, ref.namespace, ref.name)
