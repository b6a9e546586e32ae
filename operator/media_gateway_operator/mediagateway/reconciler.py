"""The reconciler of MediaGateway: what it looks at, and the plan that follows."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from media_gateway.core.validation import message_of
from media_gateway_operator.crds.gateway import MediaGatewaySpec
from media_gateway_operator.engine.plan import (
    Cluster,
    Plan,
    SecretKeys,
    Snapshot,
    condition,
    with_times,
)
from media_gateway_operator.kube.kinds import (
    JOB,
    LABEL_INSTANCE,
    LABEL_NAME,
    MEDIA_GATEWAY,
    PROMETHEUS_RULE,
    SECRET,
    SERVICE_MONITOR,
    STATEFUL_SET,
    Object,
    Ref,
)
from media_gateway_operator.mediagateway import children, conditions, embedded, migration, reasons, status
from media_gateway_operator.mediagateway.components import ROWS
from media_gateway_operator.mediagateway.environment import Release, child_name, signing_ref
from media_gateway_operator.mediagateway.findings import Findings, Observed, judge, references_of
from media_gateway_operator.mediagateway.workloads import NO_POD, Owner

PASSWORD_BYTES: Final = 24
SIGNING_KEY_BYTES: Final = 32
"""RFC 7518 section 3.2: a key of at least the hash's size for HS256; as many hex digits again."""

SECRET_POLL_S: Final = 60.0
"""How soon a changed value of a Secret is noticed. Secrets are not watched: that would need the right to read them all."""
MISSING_POLL_S: Final = (5.0, 30.0)
"""How soon a missing Secret is looked for again: as long as it has been missing, within these bounds."""


class MediaGatewayReconciler:
    """Turns one MediaGateway into its children and its status.

    Parameters
    ----------
    release
        Images where a resource does not say otherwise.
    """

    kind = MEDIA_GATEWAY

    def __init__(self, release: Release) -> None:
        self._release = release

    async def observe(self, snapshot: Snapshot, cluster: Cluster) -> Observed:
        """Read what the plan depends on beside the resource and its children: Secrets, and what went wrong."""
        resource = snapshot.resource
        found = Observed(
            resource=resource, children=snapshot.children, now=snapshot.now, owner=None, generated={}
        )
        try:
            spec = MediaGatewaySpec.model_validate(resource.get("spec") or {})
        except ValidationError as error:
            return replace(found, problem=_problem(error))
        metadata = resource["metadata"]
        owner = Owner(metadata["namespace"], metadata["name"], spec, self._release, {})
        database = snapshot.child(STATEFUL_SET, child_name(owner.name, "postgres"))
        known, generated = await _secrets(owner, cluster)
        owner = replace(owner, secrets=known, data=await _data_of(owner, database, cluster))
        served = {kind.kind for kind in (SERVICE_MONITOR, PROMETHEUS_RULE) if await cluster.serves(kind)}
        job = snapshot.child(JOB, migration.job_name(owner))
        failure = None
        if job is not None and migration.state_of(job) == "Failed":
            selector = f"batch.kubernetes.io/job-name={job['metadata']['name']}"
            failure = migration.failure_of(await cluster.pods(owner.namespace, selector))
        return replace(found, owner=owner, generated=generated, served=frozenset(served), failure=failure)

    def desired(self, observed: Observed) -> Plan:
        """The plan; pure."""
        owner = observed.owner
        before: Sequence[dict[str, Any]] = observed.status.get("conditions", ())
        if observed.resource["metadata"].get("deletionTimestamp"):
            return Plan(status={**observed.status, "phase": "Terminating"})
        if owner is None:
            return _unreadable(observed, before)
        findings = judge(observed, owner)
        view = conditions.View(observed, owner, findings)
        found = conditions.conditions(view)
        timed = with_times(found, before, observed.now)
        objects = [] if findings.paused_reconcile else children.declared(observed, owner, findings)
        return Plan(
            objects=objects,
            delete=() if findings.paused_reconcile else children.surplus(observed, owner, findings, objects),
            status=status.status(view, timed),
            requeue_after_s=_again(owner, findings, timed, observed.now),
            notes=conditions.notes(found, before),
        )

    def interested(self, changed: Object, cluster: Cluster) -> Sequence[Ref]:  # noqa: ARG002 - the contract
        """None: everything that a gateway depends on is its own, or is polled."""
        return ()


async def _secrets(
    owner: Owner, cluster: Cluster
) -> tuple[dict[str, SecretKeys | None], dict[str, Mapping[str, str]]]:
    """What is known of each Secret, and values for those that are to be made."""
    rows = [row for row in ROWS.values() if owner.component(row).enabled is not False]
    made = _made(owner)
    names = {ref.name for ref in references_of(owner, rows)}
    names |= {child_name(owner.name, part) for part in made}
    known = {name: await cluster.secret_keys(owner.namespace, name) for name in sorted(names)}
    generated: dict[str, Mapping[str, str]] = {}
    for part in made:
        name = child_name(owner.name, part)
        if known[name] is not None:
            continue
        # Asked once more, without any memory in between: values that exist must never be made anew.
        live = await cluster.get(Ref(SECRET, owner.namespace, name))
        if live is not None:
            known[name] = embedded.keys_of(_values(live))
            continue
        generated[part] = _generate(owner, part)
        known[name] = embedded.keys_of(generated[part])
    return known, generated


def _made(owner: Owner) -> list[str]:
    """Parts that the operator makes a Secret for."""
    parts = [server.name for server in embedded.embedded(owner) if server.secret]
    ref = signing_ref(owner.name, owner.spec)
    if ref is not None and owner.spec.auth.signing_key_secret_ref is None:
        parts.append("auth")
    return parts


def _generate(owner: Owner, part: str) -> dict[str, str]:
    if part == "auth":
        return embedded.signing_secret(secrets.token_hex(SIGNING_KEY_BYTES))
    # URL-safe, so that it needs no quoting inside an address.
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    return embedded.server_secret(owner.name, embedded.SERVERS[part], password)


def _values(live: Object) -> dict[str, str]:
    found = live.get("data") or {}
    return {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in found.items()}


async def _data_of(owner: Owner, live: Object | None, cluster: Cluster) -> str:
    """Which data an embedded database without storage has: those of its pod, gone with it, and the schema with them."""
    postgres = next((one for one in embedded.embedded(owner) if one.name == "postgres"), None)
    if postgres is None or embedded.storage_of(owner, postgres, live) is not None:
        return ""
    selector = f"{LABEL_INSTANCE}={owner.name},{LABEL_NAME}=postgres"
    for pod in await cluster.pods(owner.namespace, selector):
        if not pod["metadata"].get("deletionTimestamp"):
            uid: str = pod["metadata"]["uid"]
            return uid
    return NO_POD


def _again(
    owner: Owner,
    findings: Findings,
    timed: Sequence[dict[str, Any]],
    now: datetime,
) -> float | None:
    if findings.missing:
        since = next(one["lastTransitionTime"] for one in timed if one["type"] == reasons.DEPENDENCIES_READY)
        waited_s = (now - datetime.fromisoformat(since)).total_seconds()
        return min(max(MISSING_POLL_S[0], waited_s), MISSING_POLL_S[1])
    return SECRET_POLL_S if owner.secrets else None


def _problem(error: ValidationError) -> str:
    lines = [
        f"spec.{'.'.join(map(str, one['loc']))}: {message_of(dict(one))}"
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return "; ".join(lines)


def _unreadable(observed: Observed, before: Sequence[dict[str, Any]]) -> Plan:
    generation = observed.generation
    found = [
        condition(type_, value, reasons.INVALID_SPEC, observed.problem, generation=generation)  # type: ignore[arg-type]
        for type_, value in (
            (reasons.READY, "False"),
            (reasons.PROGRESSING, "False"),
            (reasons.DEGRADED, "True"),
        )
    ]
    rest = [one for one in before if one["type"] not in {one["type"] for one in found}]
    timed = with_times([*found, *rest], before, observed.now)
    return Plan(
        status={
            **observed.status,
            "observedGeneration": generation,
            "phase": "Degraded",
            "conditions": timed,
        },
        notes=conditions.notes(found, before),
    )
