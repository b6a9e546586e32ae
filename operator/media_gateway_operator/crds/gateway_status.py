"""MediaGateway: its status. The reconciler builds it from these models.

Figures of the objectives are rounded to two digits before they come here, so that their jitter writes nothing.
"""

from typing import Annotated, Literal

from pydantic import Field

from media_gateway.core.domain.spec_types import Keyed, Spec
from media_gateway_operator.crds.components import ComponentName
from media_gateway_operator.crds.status import Address, Conditions, Count, Message, Name, Number, Time, Word

CONDITIONS = (
    "Ready",
    "Progressing",
    "Degraded",
    "DependenciesReady",
    "Migrated",
    "SLAMet",
    "AutoscalingActive",
    "Paused",
)

Phase = Literal["Pending", "Progressing", "Ready", "Degraded", "Paused", "Terminating"]


class VersionStatus(Spec):
    """Releases of the platform here."""

    current: Word | None = None
    """Release that all components run."""
    target: Word | None = None
    """Release that is being rolled out."""
    last_successful: Word | None = None
    """Last release with which everything was ready; a rollback goes there."""


class Endpoint(Spec):
    """An address of the platform."""

    name: Word
    """What is reached there: a component, or `public` for the exposed gateway."""
    url: Address
    """The address."""


class SlaStatus(Spec):
    """What was measured of a component's objectives."""

    p95_milliseconds: Count | None = None
    """95 of 100 requests were answered within this time."""
    met: bool | None = None
    """Whether the objectives hold."""
    burn_rate_1h: Annotated[Number | None, Field(alias="burnRate1h")] = None
    """Failed share of the last hour over the share that may fail: above 1 the budget will not last."""


class AutoscalerStatus(Spec):
    """What the autoscaler computed, and why."""

    actuator: Literal["Operator", "HPA", "KEDA"] | None = None
    """Who sets the replicas."""
    desired: Count | None = None
    """Replicas that are set."""
    recommended: Count | None = None
    """Replicas that were computed; differs from `desired` while scaling is paused or held back."""
    reason: Message | None = None
    """Why this number."""
    capacity_per_replica: Number | None = None
    """Requests per second one replica can serve, as learned or given."""
    last_scale_time: Time | None = None
    """When the number last changed."""


class ComponentStatus(Spec):
    """One component's pods."""

    name: ComponentName
    """The component."""
    ready: Count = 0
    """Pods that serve."""
    desired: Count = 0
    """Pods that there should be."""
    revision: Word | None = None
    """Hash of the configuration and image that the pods run."""
    image: Annotated[str, Field(max_length=500)] | None = None
    """Image that the pods run."""
    restarts: Count | None = None
    """Restarts of the containers of the present pods."""
    message: Message | None = None
    """What keeps it from being ready."""
    sla: SlaStatus | None = None
    """What was measured of its objectives."""
    autoscaler: AutoscalerStatus | None = None
    """What the autoscaler computed."""


class DependencyStatus(Spec):
    """One server behind the components."""

    name: Literal["postgres", "redis", "qdrant", "kafka", "pubnub"]
    """The server."""
    mode: Literal["External", "Embedded", "Disabled"]
    """The mode in effect."""
    reachable: bool | None = None
    """Whether it answers; not given where nobody asked yet."""
    latency_milliseconds: Count | None = None
    """How long it took to answer."""
    message: Message | None = None
    """What is wrong, or worth a warning."""


class MediaGatewayStatus(Spec):
    """What the operator found and did. `kubectl wait --for=condition=Ready` works on it."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    phase: Phase | None = None
    """The conditions in one word, for people only."""
    conditions: Conditions = ()
    """Ready, Progressing, Degraded, DependenciesReady, Migrated, SLAMet, AutoscalingActive, Paused."""
    version: VersionStatus | None = None
    """Releases of the platform here."""
    components_ready: Word | None = None
    """Components that are ready, of those that are on, as `7/8`."""
    endpoints: Annotated[tuple[Endpoint, ...], Field(max_length=32), Keyed("name")] = ()
    """Addresses of the platform."""
    components: Annotated[tuple[ComponentStatus, ...], Field(max_length=16), Keyed("name")] = ()
    """The components that are on."""
    dependencies: Annotated[tuple[DependencyStatus, ...], Field(max_length=8), Keyed("name")] = ()
    """The servers behind the components."""
    migration_job: Name | None = None
    """Job that brings or brought the database's schema up to the release."""
