"""MediaGateway: the platform of one namespace, as its spec describes it.

The reconciler reads a manifest with `MediaGatewaySpec`; the CRD is generated from it. What a mode or a number that is not
given means is told here (`Dependencies`, `MediaGatewaySpec.replicas_of`), so that the reconciler need not know.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from media_gateway.core.domain.spec_types import HttpUrl, Keyed, Rule, SecretRef, Spec, matches
from media_gateway_operator.crds.components import (
    Autoscaling,
    ComponentName,
    ComponentPodTemplate,
    Components,
    ComponentSpec,
    EnvVar,
    Sla,
)
from media_gateway_operator.crds.dependencies import (
    Dependencies,
    Kafka,
    LocalSecret,
    Mode,
    Profile,
    PubNub,
    Qdrant,
    RequiredServer,
    Storage,
    Tls,
)

__all__ = [
    "Auth",
    "Autoscaling",
    "ComponentName",
    "ComponentPodTemplate",
    "ComponentSpec",
    "Components",
    "Dependencies",
    "EnvVar",
    "Exposure",
    "Images",
    "Kafka",
    "LocalSecret",
    "MediaGatewaySpec",
    "Mode",
    "Observability",
    "ParentRef",
    "Paused",
    "Profile",
    "PubNub",
    "Qdrant",
    "RequiredServer",
    "Rollout",
    "Sla",
    "Storage",
    "Switch",
    "Tls",
]

Version = Annotated[
    str,
    Field(max_length=64),
    matches(
        r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$",
        "must be a version as 1.4.0 or 1.5.0-rc.1, without 'v' and without build metadata",
    ),
]


class Images(Spec):
    """Where images come from."""

    registry: (
        Annotated[
            str,
            Field(min_length=1, max_length=255),
            matches(
                r"^[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]{1,5})?(/[a-zA-Z0-9._-]+)*$",
                "must be a registry with an optional path, without scheme and without '/' at its end",
            ),
        ]
        | None
    ) = None
    """Registry and path before the images' names; by default the operator's own."""
    tag: (
        Annotated[
            str,
            Field(max_length=128),
            matches(
                r"^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$",
                "must be an image's tag: letters, digits, '_', '.' and '-'",
            ),
        ]
        | None
    ) = None
    """Tag of every image where it is not the version."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the kubelet fetches an image."""
    pull_secrets: Annotated[tuple[LocalSecret, ...], Field(max_length=8), Keyed("name")] = ()
    """Secrets with credentials for the registry."""


class Auth(Spec):
    """Who makes the tokens, and with which keys."""

    RULES: ClassVar = (
        Rule(
            "give jwksUri (keys of an issuer elsewhere) or signingKeySecretRef (your own key), not both",
            "!has(self.jwksUri) || !has(self.signingKeySecretRef)",
            lambda self: self.jwks_uri is None or self.signing_key_secret_ref is None,
            "signingKeySecretRef",
            "FieldValueForbidden",
        ),
        Rule(
            "jwksUri needs issuer: the name that the tokens carry as iss",
            "!has(self.jwksUri) || has(self.issuer)",
            lambda self: self.jwks_uri is None or self.issuer is not None,
            "issuer",
            "FieldValueRequired",
        ),
        Rule(
            "rotationDays is for keys the operator makes: remove it, jwksUri or signingKeySecretRef",
            "!has(self.rotationDays) || (!has(self.jwksUri) && !has(self.signingKeySecretRef))",
            lambda self: (
                self.rotation_days is None or (self.jwks_uri is None and self.signing_key_secret_ref is None)
            ),
            "rotationDays",
            "FieldValueForbidden",
        ),
    )

    issuer: HttpUrl | None = None
    """Issuer (`iss`) of the tokens; by default the address of the gateway."""
    audiences: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=255)], ...], Field(max_length=16)
    ] = ()
    """Audiences (`aud`) that are accepted; by default `media-gateway`."""
    jwks_uri: HttpUrl | None = None
    """Keys of an issuer elsewhere (JWKS, RFC 7517). Without it the component auth issues tokens."""
    signing_key_secret_ref: SecretRef | None = None
    """Secret and key with the signing key. Without it and jwksUri the operator makes one and rotates it."""
    rotation_days: Annotated[int, Field(ge=1, le=365)] | None = None
    """Days after which the operator makes a new key; 30 by default. The old one still verifies what it has signed."""


class ParentRef(Spec):
    """The Gateway that an HTTPRoute hangs on."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Gateway."""
    namespace: Annotated[str, Field(max_length=63)] | None = None
    """Its namespace; by default this one."""
    section_name: Annotated[str, Field(max_length=253)] | None = None
    """Its listener; by default every one that fits."""


class Exposure(Spec):
    """How the gateway is reached from outside of the cluster."""

    RULES: ClassVar = (
        Rule(
            "type Ingress and type HTTPRoute need host: the name under which the platform is reached",
            "!(self.type in ['Ingress', 'HTTPRoute']) || has(self.host)",
            lambda self: self.type not in {"Ingress", "HTTPRoute"} or self.host is not None,
            "host",
            "FieldValueRequired",
        ),
        Rule(
            "type HTTPRoute needs parentRef: the Gateway that serves the route",
            "(self.type == 'HTTPRoute') == has(self.parentRef)",
            lambda self: (self.type == "HTTPRoute") == (self.parent_ref is not None),
            "parentRef",
        ),
        Rule(
            "tlsSecretRef belongs to type Ingress; an HTTPRoute takes its certificate from its Gateway",
            "!has(self.tlsSecretRef) || self.type == 'Ingress'",
            lambda self: self.tls_secret_ref is None or self.type == "Ingress",
            "tlsSecretRef",
            "FieldValueForbidden",
        ),
        Rule(
            "className belongs to type Ingress (IngressClass) and type LoadBalancer (loadBalancerClass)",
            "!has(self.className) || self.type in ['Ingress', 'LoadBalancer']",
            lambda self: self.class_name is None or self.type in {"Ingress", "LoadBalancer"},
            "className",
            "FieldValueForbidden",
        ),
        Rule(
            "host belongs to type Ingress and type HTTPRoute",
            "!has(self.host) || self.type in ['Ingress', 'HTTPRoute']",
            lambda self: self.host is None or self.type in {"Ingress", "HTTPRoute"},
            "host",
            "FieldValueForbidden",
        ),
    )

    type: Literal["None", "Ingress", "HTTPRoute", "LoadBalancer"] = "None"
    """None keeps the gateway inside the cluster."""
    class_name: Annotated[str, Field(max_length=253)] | None = None
    """IngressClass, or the load balancer's class; by default the cluster's."""
    host: (
        Annotated[
            str,
            Field(max_length=253),
            matches(
                r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
                "must be a host name in lower case, without scheme, port or path",
            ),
        ]
        | None
    ) = None
    """Name under which the platform is reached."""
    tls_secret_ref: LocalSecret | None = None
    """Secret of type kubernetes.io/tls with the certificate of `host`."""
    parent_ref: ParentRef | None = None
    """Gateway that serves the HTTPRoute."""


class Observability(Spec):
    """What is made for Prometheus, Grafana and tracing. Auto: where the cluster knows the kind."""

    service_monitor: Literal["Auto", "Enabled", "Disabled"] = "Auto"
    """ServiceMonitor for every component."""
    prometheus_rule: Literal["Auto", "Enabled", "Disabled"] = "Auto"
    """PrometheusRule with the alerts of the objectives."""
    dashboards: Literal["Auto", "Enabled", "Disabled"] = "Auto"
    """ConfigMap with dashboards that Grafana's sidecar finds by its label."""
    otlp_endpoint: HttpUrl | None = None
    """OpenTelemetry collector (OTLP over HTTP); without it nothing is traced."""


class Switch(Spec):
    """Something that is on unless it is switched off."""

    enabled: bool = True
    """false leaves it out."""


class Rollout(Spec):
    """How a new version or configuration comes into the pods."""

    order: Literal["Auto", "Parallel"] = "Auto"
    """Auto: migrations, then auth, then the data services, then the gateway. Parallel: all at once after the migrations."""
    max_unavailable: Annotated[int, Field(ge=0, le=100)] = 0
    """Pods of a component that may be missing while it is replaced."""
    progress_deadline_seconds: Annotated[int, Field(ge=10, le=86_400)] = 600
    """Time without progress after which the rollout of a component has failed."""
    auto_rollback: bool = True
    """Go back to the last pods that worked when a rollout has failed."""
    migration_timeout_seconds: Annotated[int, Field(ge=10, le=86_400)] = 600
    """Time the database migrations may take."""


class Paused(Spec):
    """What the operator keeps its hands off, each on its own."""

    reconcile: bool = False
    """Change nothing at all, but keep reporting. The annotation `mediagateway.io/paused: "true"` does the same."""
    scaling: bool = False
    """Recommend replicas in status, and set none."""
    rollout: bool = False
    """Keep the pods as they are; repair, but roll nothing out."""


_EMBEDDED = " || ".join(
    f"(has(self.dependencies.{name}) && has(self.dependencies.{name}.mode)"
    f" && self.dependencies.{name}.mode == 'Embedded')"
    for name in ("postgres", "redis", "kafka")
)


def _address_needed(name: str, title: str) -> Rule:
    def holds(self: "MediaGatewaySpec") -> bool:
        server: RequiredServer = getattr(self.dependencies, name)
        return self.profile == "Development" or bool(server.mode or server.dsn_secret_ref)

    server = f"self.dependencies.{name}"
    given = f"has(self.dependencies) && has({server}) && (has({server}.mode) || has({server}.dsnSecretRef))"
    return Rule(
        f"profile Production needs dependencies.{name}.dsnSecretRef: the Secret and key with the address of {title}",
        f"self.profile == 'Development' || ({given})",
        holds,
        f"dependencies.{name}.dsnSecretRef",
        "FieldValueRequired",
    )


class MediaGatewaySpec(Spec):
    """The platform of one namespace: which components, with which servers behind them, and how they are run."""

    RULES: ClassVar = (
        Rule(
            "mode Embedded is for profile Development only; in Production give the server's address in dsnSecretRef",
            f"self.profile == 'Development' || !has(self.dependencies) || !({_EMBEDDED})",
            lambda self: (
                self.profile == "Development"
                or "Embedded"
                not in {
                    self.dependencies.postgres.mode,
                    self.dependencies.redis.mode,
                    self.dependencies.kafka.mode,
                }
            ),
            "dependencies",
        ),
        _address_needed("postgres", "PostgreSQL"),
        _address_needed("redis", "Redis"),
    )

    version: Version | None = None
    """Release of the platform; by default the operator's. It can't go back by more than one minor version."""
    profile: Profile = "Production"
    """Development allows embedded servers and runs one pod a component."""
    image: Images = Images()
    """Where images come from."""
    components: Components = Components()
    """The components; each is on with the release's values unless something else is said here."""
    dependencies: Dependencies = Dependencies()
    """The servers the components work with. In profile Production postgres and redis need an address."""
    auth: Auth = Auth()
    """Who makes the tokens, and with which keys."""
    exposure: Exposure = Exposure()
    """How the gateway is reached from outside of the cluster; by default it is not."""
    observability: Observability = Observability()
    """What is made for Prometheus, Grafana and tracing."""
    network_policy: Switch = Switch()
    """NetworkPolicies that let components talk only to what they need."""
    pod_disruption_budget: Switch = Switch()
    """PodDisruptionBudgets for components with two or more pods."""
    rollout: Rollout = Rollout()
    """How a new version or configuration comes into the pods."""
    paused: Paused = Paused()
    """What the operator keeps its hands off."""

    def replicas_of(self, name: ComponentName) -> int | None:
        """Pods of a component; None where the autoscaler sets them."""
        component = self.components.of(name)
        if component.scaled():
            return None
        if component.replicas is not None:
            return component.replicas
        return 1 if self.profile == "Development" else 2
