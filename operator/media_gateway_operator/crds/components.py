"""MediaGateway: what may be said of one component, and its objectives and scaling.

Used through `gateway`. Numbers are the operator's defaults; what is not given is decided where it is used.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from media_gateway.core.domain.spec_jobs import Image, PodSettings, Resources
from media_gateway.core.domain.spec_types import DecimalText, Keyed, Rule, SecretRef, Spec, matches

ComponentName = Literal[
    "gateway", "discovery", "sona", "sync", "auth", "ingestion", "playback", "mcp", "realtime"
]

Replicas = Annotated[int, Field(ge=0, le=500)]
Milliseconds = Annotated[int, Field(ge=1, le=600_000)]
Percentage = Annotated[
    str,
    Field(max_length=8),
    matches(r"^[0-9]{1,2}(\.[0-9]{1,4})?$", 'must be a percentage below 100 in quotes, as "99.9"'),
]
"""Below 100, as a decimal string: an objective of 100 leaves nothing to fail."""


class EnvVar(Spec):
    """An environment variable of a component's container."""

    RULES: ClassVar = (
        Rule(
            "give exactly one of value and secretRef",
            "has(self.value) != has(self.secretRef)",
            lambda self: (self.value is None) != (self.secret_ref is None),
        ),
    )

    name: Annotated[
        str,
        Field(max_length=128),
        matches(
            r"^[A-Za-z_][A-Za-z0-9_]*$", "must be letters, digits and '_', and must not begin with a digit"
        ),
    ]
    """Name of the variable."""
    value: Annotated[str, Field(max_length=4096)] | None = None
    """Its value. Put secrets into a Secret and name it in secretRef."""
    secret_ref: SecretRef | None = None
    """Secret and key that hold the value."""


class Sla(Spec):
    """Objectives of a component. They set the histogram's buckets, the autoscaler's target and the alert rules."""

    RULES: ClassVar = (
        Rule(
            "p99Milliseconds must not be below p95Milliseconds",
            "!has(self.p95Milliseconds) || !has(self.p99Milliseconds) || self.p99Milliseconds >= self.p95Milliseconds",
            lambda self: (
                None in (self.p95_milliseconds, self.p99_milliseconds)
                or self.p99_milliseconds >= self.p95_milliseconds
            ),
            "p99Milliseconds",
        ),
    )

    p95_milliseconds: Milliseconds | None = None
    """95 of 100 requests are answered within this time."""
    p99_milliseconds: Milliseconds | None = None
    """99 of 100 requests are answered within this time."""
    availability: Percentage = "99.9"
    """Percentage of requests that don't fail, as a decimal string."""
    window_days: Annotated[int, Field(ge=1, le=90)] = 30
    """Days over which the objectives are judged."""


class ScalingBehavior(Spec):
    """How fast replicas are added and taken away."""

    scale_up_factor_percent: Annotated[int, Field(ge=10, le=1000)] = 100
    """Most that is added in 15 seconds, in percent of what there is (100 doubles)."""
    scale_down_percent: Annotated[int, Field(ge=1, le=100)] = 25
    """Most that is taken away in one step, in percent of what there is."""
    stabilization_seconds: Annotated[int, Field(ge=0, le=3600)] = 300
    """Replicas go down only to the highest number wanted within this time."""


class ScalingFallback(Spec):
    """What is done while the component's metrics can't be read."""

    failure_threshold: Annotated[int, Field(ge=1, le=100)] = 3
    """Rounds without any metrics after which the fallback begins."""
    replicas: Annotated[int, Field(ge=1, le=500)] | None = None
    """Number the behavior speaks of; by default minReplicas."""
    behavior: Literal["Static", "CurrentReplicas", "CurrentReplicasIfHigher", "CurrentReplicasIfLower"] = (
        "CurrentReplicasIfHigher"
    )
    """Static takes `replicas`; the others keep the current number, always or only if it is higher or lower than that."""


class Autoscaling(Spec):
    """Replicas by load, held to the component's objectives."""

    RULES: ClassVar = (
        Rule(
            "minReplicas must not be above maxReplicas",
            "self.minReplicas <= self.maxReplicas",
            lambda self: self.min_replicas <= self.max_replicas,
            "minReplicas",
        ),
        Rule(
            "fallback.replicas must lie between minReplicas and maxReplicas",
            "!has(self.fallback) || !has(self.fallback.replicas) || (self.fallback.replicas >= self.minReplicas && self.fallback.replicas <= self.maxReplicas)",
            lambda self: (
                self.fallback.replicas is None
                or self.min_replicas <= self.fallback.replicas <= self.max_replicas
            ),
            "fallback.replicas",
        ),
    )

    enabled: bool = False
    """Switch it on; `replicas` must not be given then."""
    min_replicas: Annotated[int, Field(ge=1, le=500)] = 2
    """Never fewer than these."""
    max_replicas: Annotated[int, Field(ge=1, le=500)] = 10
    """Never more than these."""
    actuator: Literal["Auto", "Operator", "HPA", "KEDA"] = "Auto"
    """Who sets the number that the operator computes. Auto takes KEDA if it is installed and ready, else the operator."""
    target_utilization_percent: Annotated[int, Field(ge=30, le=90)] = 70
    """Share of its capacity that a replica is planned to use."""
    requests_per_replica: DecimalText | None = None
    """Requests per second that one replica can serve; learned where not given."""
    startup_seconds: Annotated[int, Field(ge=1, le=3600)] | None = None
    """Time until a new replica serves; learned where not given."""
    behavior: ScalingBehavior = ScalingBehavior()
    """How fast replicas are added and taken away."""
    fallback: ScalingFallback = ScalingFallback()
    """What is done while metrics can't be read."""


class ComponentPodTemplate(PodSettings):
    """What may be said of a component's pods besides its resources and image."""

    termination_grace_period_seconds: Annotated[int, Field(ge=5, le=3600)] | None = None
    """Time a pod gets to finish its requests; by default the drain time and a reserve."""


class ComponentSpec(Spec):
    """One component of the platform."""

    RULES: ClassVar = (
        Rule(
            "replicas and autoscaling.enabled exclude each other: leave replicas out, the autoscaler sets them",
            "!has(self.replicas) || !has(self.autoscaling) || !self.autoscaling.enabled",
            lambda self: self.replicas is None or self.autoscaling is None or not self.autoscaling.enabled,
            "replicas",
            "FieldValueForbidden",
        ),
    )

    enabled: bool | None = None
    """false leaves the component out; true asks for it. By default every component that this release brings is on."""
    replicas: Replicas | None = None
    """Number of pods; by default 2, or 1 in profile Development. 0 stops the component."""
    image: Image | None = None
    """Image instead of the release's own, as registry/name:tag or registry/name@sha256:digest."""
    resources: Resources | None = None
    """Requests and limits of the container; by default the component's own, from its release."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64), Keyed("name")] = ()
    """Further environment variables; one that the operator also sets is taken from here."""
    pod_template: ComponentPodTemplate = ComponentPodTemplate()
    """Labels, placement and priority of the pods."""
    sla: Sla | None = None
    """Objectives; without them the component is neither judged nor scaled by latency."""
    autoscaling: Autoscaling | None = None
    """Replicas by load."""

    def scaled(self) -> bool:
        """Whether the number of replicas is the autoscaler's."""
        return self.autoscaling is not None and self.autoscaling.enabled


class Components(Spec):
    """The components, each under its own name."""

    gateway: ComponentSpec = ComponentSpec()
    """The one public door: routing, token check, limits, response cache."""
    discovery: ComponentSpec = ComponentSpec()
    """Search, autocomplete, content, availability, trending."""
    sona: ComponentSpec = ComponentSpec()
    """Recommendations, scores, profiles and experiments."""
    sync: ComponentSpec = ComponentSpec()
    """Watchlist, progress, devices and commands, in step across devices."""
    auth: ComponentSpec = ComponentSpec()
    """Accounts, tokens, device sign-in and API keys."""
    ingestion: ComponentSpec = ComponentSpec()
    """HTTP side of ingestion: jobs, sources and webhooks. IngestionJobs run in pods of their own."""
    playback: ComponentSpec = ComponentSpec()
    """Sessions, positions and continue-watching."""
    mcp: ComponentSpec = ComponentSpec()
    """Tools and resources for agents, over MCP."""
    realtime: ComponentSpec = ComponentSpec()
    """Realtime service for installations without PubNub; off where dependencies.pubnub is External."""

    def of(self, name: ComponentName) -> ComponentSpec:
        """The part of one component."""
        found: ComponentSpec = getattr(self, name)
        return found
