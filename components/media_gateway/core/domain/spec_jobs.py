"""What the manifests of all jobs share: when they run, which MediaGateway they belong to, and what may be said of pods.

Used through `specs`, and by the operator's resource models. Ignored outside a cluster, except for the names.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from media_gateway.core.domain.spec_types import (
    Annotations,
    DnsLabel,
    Labels,
    Rule,
    Spec,
    matches,
)

_CRON_FIELD = r"[0-9A-Za-z*?/,#L-]{1,60}"
Schedule = Annotated[
    str,
    Field(max_length=310),
    matches(
        rf"^{_CRON_FIELD}( {_CRON_FIELD}){{4}}$",
        "must be five cron fields with one space between them (minute hour day month weekday), without TZ=",
    ),
]
"""Five-field cron, without ``TZ=``."""
TimeZone = Annotated[
    str,
    Field(max_length=64),
    matches(r"^[A-Za-z0-9_+/-]+$", "must be a name of the time zone database, as Europe/Berlin"),
]
StartingDeadline = Annotated[int, Field(ge=10, le=31_536_000)]
Seconds = Annotated[int, Field(ge=1, le=31_536_000)]
SecondsToLive = Annotated[int, Field(ge=0, le=31_536_000)]
Limit = Annotated[int, Field(ge=0, le=20)]
ConcurrencyPolicy = Literal["Forbid", "Allow", "Replace"]


def _text(value: object) -> object:
    # `cpu: 2` is what everybody writes; the API server takes both (int-or-string), and so does this.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
Quantity = Annotated[
    str,
    Field(max_length=32, pattern=QUANTITY, json_schema_extra={"x-kubernetes-int-or-string": True}),
    BeforeValidator(_text),
]
"""Kubernetes quantity (``500m``, ``2``, ``1Gi``)."""
ResourceName = Annotated[str, Field(max_length=63)]
Quantities = Annotated[dict[ResourceName, Quantity], Field(max_length=16)]
PriorityClassName = Annotated[
    str,
    Field(max_length=253),
    matches(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "must be the name of a PriorityClass"),
]
Image = Annotated[
    str,
    Field(min_length=1, max_length=500),
    matches(
        r"^[a-zA-Z0-9][a-zA-Z0-9._-]*(:[0-9]{1,5}/[a-zA-Z0-9._-]+)?(/[a-zA-Z0-9._-]+)*"
        r"(:[a-zA-Z0-9_][a-zA-Z0-9._-]*)?(@sha256:[0-9a-f]{64})?$",
        "must be an image: registry/name:tag, or registry/name@sha256:digest",
    ),
]


class Resources(Spec):
    """Kubernetes resource requests and limits."""

    requests: Quantities = Field(default_factory=dict)
    """What the scheduler reserves, by resource: `cpu: 500m`, `memory: 1Gi`."""
    limits: Quantities = Field(default_factory=dict)
    """What a container may use at most; above its memory limit it is killed."""


class Toleration(Spec):
    """Lets pods onto nodes that have a matching taint."""

    key: Annotated[str, Field(max_length=317)] | None = None
    """Key of the taint; without it, with operator Exists, every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Whether the taint's value is compared."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """Value of the taint, for operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; by default every effect."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """How long a pod stays after a NoExecute taint appeared; by default for ever."""


class NodeRequirement(Spec):
    """One condition on a node's labels."""

    key: Annotated[str, Field(max_length=317)]
    """Name of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How the label's value is compared with `values`."""
    values: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=32)] = ()
    """What it is compared with; none for Exists and DoesNotExist, one whole number for Gt and Lt."""


class Affinity(Spec):
    """Nodes the pods must be placed on (all conditions hold)."""

    required_node_labels: Annotated[tuple[NodeRequirement, ...], Field(max_length=16)] = ()
    """Conditions on the labels of a node."""


class PodSettings(Spec):
    """What may be said of any pod."""

    labels: Labels = Field(default_factory=dict)
    """Further labels of the pods."""
    annotations: Annotations = Field(default_factory=dict)
    """Further annotations of the pods."""
    node_selector: Labels = Field(default_factory=dict)
    """Labels a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Taints the pods put up with."""
    affinity: Affinity | None = None
    """Finer conditions on nodes than nodeSelector has."""
    priority_class_name: PriorityClassName | None = None
    """PriorityClass of the pods."""


class PodTemplate(PodSettings):
    """What may be said of the job's pods; ignored outside a cluster."""

    resources: Resources = Resources()
    """Requests and limits of the container."""
    service_account_name: DnsLabel | None = None
    """ServiceAccount of the pods; by default one without any right."""
    image: Image | None = None
    """Image instead of the release's own."""


class GatewayRef(Spec):
    """The MediaGateway resource whose servers the job uses; by default the only one of the namespace."""

    name: DnsLabel
    """Name of a MediaGateway in this namespace."""


SCHEDULE_RULES = (
    Rule(
        "timeZone needs schedule",
        "!has(self.timeZone) || has(self.schedule)",
        lambda self: self.time_zone is None or self.schedule is not None,
        "timeZone",
        "FieldValueForbidden",
    ),
    Rule(
        "concurrencyPolicy needs schedule",
        "!has(self.concurrencyPolicy) || has(self.schedule)",
        lambda self: self.concurrency_policy is None or self.schedule is not None,
        "concurrencyPolicy",
        "FieldValueForbidden",
    ),
    Rule(
        "ttlSecondsAfterFinished is not for a job with a schedule; use the history limits",
        "!has(self.ttlSecondsAfterFinished) || !has(self.schedule)",
        lambda self: self.ttl_seconds_after_finished is None or self.schedule is None,
        "ttlSecondsAfterFinished",
        "FieldValueForbidden",
    ),
)
"""What holds for every job that may have a schedule."""
