"""What one component consists of: ServiceAccount, ConfigMap, Deployment, Service, PodDisruptionBudget.

Pure functions from the resource's spec and a component's row. When a Deployment gets its new pods is decided in `rollout`;
here is only what the pods are.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from media_gateway.core.domain.spec_types import SecretRef
from media_gateway.core.settings import PREFIX
from media_gateway_operator.crds.gateway import ComponentSpec, MediaGatewaySpec
from media_gateway_operator.engine.plan import SecretKeys
from media_gateway_operator.kube.kinds import STATE_PREFIX, Object
from media_gateway_operator.mediagateway.components import Row
from media_gateway_operator.mediagateway.environment import (
    Release,
    auth_environment,
    child_name,
    environment,
    image_of,
    references,
    secret_variable,
)
from media_gateway_operator.mediagateway.pods import (
    container,
    digest_of,
    labels_of,
    placement,
    pod_spec,
    resources_of,
    selector_of,
)

METRICS_PORT: Final = 9090

DRAIN_DELAY_S: Final = 5
"""How long a pod that is to stop still takes requests, until every node has taken it out of the Service."""
LINGER_S: Final = 3
"""How long it then tells clients that keep a connection to take another one, before it closes those that are idle: one
closed under a client that just uses it is a failed request."""
DRAIN_TIMEOUT_S: Final = 30
"""How long it may take for that and for finishing requests in flight, in seconds; as the setting's default."""
RESERVE_S: Final = 10
"""Beyond both, before the kubelet kills it."""

CONFIG_HASH: Final = f"{STATE_PREFIX}config-hash"
SECRETS_HASH: Final = f"{STATE_PREFIX}secrets-hash"
"""On pods: changes with the values of the Secrets they read, so that a rotated password replaces them. Short, and of
all values together, so that no single value can be guessed from it."""


NO_POD: Final = "none"


@dataclass(frozen=True, slots=True)
class Owner:
    """The resource that everything is built for.

    Attributes
    ----------
    secrets : Mapping
        What is known of the Secrets that it names or that were made for it; None for a missing one.
    data : str
        Which data the embedded database has, where they go with its pod: the pod's uid, or `NO_POD`. Empty where they
        last.
    """

    namespace: str
    name: str
    spec: MediaGatewaySpec
    release: Release
    secrets: Mapping[str, SecretKeys | None]
    data: str = ""

    def component(self, row: Row) -> ComponentSpec:
        """What the resource says of a component."""
        found: ComponentSpec = getattr(self.spec.components, row.name)
        return found

    def replicas(self, row: Row) -> int | None:
        """Pods of a component; None where the autoscaler sets them."""
        return self.spec.replicas_of(row.name)  # type: ignore[arg-type] # rows are named as the fields are; a test compares

    def secrets_hash(self, refs: list[SecretRef]) -> str:
        """Changes with the values that pods read from Secrets."""
        found = {
            f"{ref.name}/{ref.key}": keys.digests.get(ref.key)
            if (keys := self.secrets.get(ref.name))
            else None
            for ref in refs
        }
        return digest_of(found)


@dataclass(frozen=True, slots=True)
class Pods:
    """What a Deployment's pods are: its template, and the configuration beside it.

    Kept as one, because pods that are held back or gone back to must find their own configuration.
    """

    config: dict[str, str]
    template: Object

    @property
    def image(self) -> str:
        """Image of the container."""
        found: str = self.template["spec"]["containers"][0]["image"]
        return found

    @property
    def digest(self) -> str:
        """Changes with anything in it."""
        return digest_of([self.config, self.template])

    def dumps(self) -> str:
        """As a JSON text, for an annotation."""
        return json.dumps(
            {"config": self.config, "template": self.template}, sort_keys=True, separators=(",", ":")
        )

    @classmethod
    def loads(cls, text: str | None) -> Self | None:
        """What `dumps` made; None if it is absent or somebody has edited it into something else."""
        try:
            found = json.loads(text or "")
            pods = cls(found["config"], found["template"])
        except (ValueError, KeyError, TypeError):
            return None
        containers = pods.template.get("spec", {}).get("containers", ())
        return pods if containers and containers[0].get("image") else None

    def with_image(self, image: str) -> "Pods":
        """The same with another image."""
        only = {**self.template["spec"]["containers"][0], "image": image}
        return Pods(self.config, {**self.template, "spec": {**self.template["spec"], "containers": [only]}})


def pods_of(owner: Owner, row: Row) -> Pods:
    """The pods that a component should have."""
    stated = owner.component(row)
    variables = _variables(owner, row)
    config = {one["name"]: one["value"] for one in variables if "value" in one}
    settings = stated.pod_template
    metadata = {
        "labels": {**settings.labels, **labels_of(owner.name, row.name)},
        "annotations": {
            **settings.annotations,
            CONFIG_HASH: digest_of(config),
            SECRETS_HASH: owner.secrets_hash(references(variables)),
        },
    }
    stop = _stop_of(stated)
    image = stated.image or image_of(owner.spec, row.name, owner.release)
    only = container(
        row.name,
        image,
        owner.spec,
        {
            "envFrom": [{"configMapRef": {"name": config_name(owner.name, row.name, config)}}],
            "env": [one for one in variables if "value" not in one],
            "ports": [
                {"name": "http", "containerPort": row.port, "protocol": "TCP"},
                {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
            ],
            "resources": resources_of(stated.resources, row.resources),
            "lifecycle": {"preStop": {"sleep": {"seconds": stop.delay_s}}},
            **_probes(),
        },
    )
    more = {
        "serviceAccountName": child_name(owner.name, row.name),
        "terminationGracePeriodSeconds": stop.grace_s,
        "topologySpreadConstraints": _spread(owner.name, row.name),
        **placement(settings),
    }
    return Pods(config, {"metadata": metadata, "spec": pod_spec(only, owner.spec, more)})


def config_name(gateway: str, component: str, config: Mapping[str, str]) -> str:
    """Name of the ConfigMap with a configuration. Each has its own, so that old pods keep theirs in a rollout."""
    return child_name(gateway, f"{component}-{digest_of(dict(config))}")


def config_map(owner: Owner, row: Row, pods: Pods) -> Object:
    """The non-secret variables of pods."""
    name = config_name(owner.name, row.name, pods.config)
    return {**_head(owner, row, "v1", "ConfigMap", name), "immutable": True, "data": pods.config}


def service_account(owner: Owner, row: Row) -> Object:
    """An account without any right: components never speak to the API server."""
    return {**_head(owner, row, "v1", "ServiceAccount"), "automountServiceAccountToken": False}


def service(owner: Owner, row: Row) -> Object:
    """How a component is found by its name."""
    return {
        **_head(owner, row, "v1", "Service"),
        "spec": {
            "type": "ClusterIP",
            "selector": selector_of(owner.name, row.name),
            "ports": [
                {
                    "name": "http",
                    "port": row.port,
                    "targetPort": "http",
                    "protocol": "TCP",
                    "appProtocol": "http",
                },
                {"name": "metrics", "port": METRICS_PORT, "targetPort": "metrics", "protocol": "TCP"},
            ],
        },
    }


def disruption_budget(owner: Owner, row: Row) -> Object | None:
    """One pod at a time may be evicted; None with a single pod, which a budget would nail to its node."""
    replicas = owner.replicas(row)
    if replicas is None:
        autoscaling = owner.component(row).autoscaling
        replicas = autoscaling.min_replicas if autoscaling else 1
    if not owner.spec.pod_disruption_budget.enabled or replicas < 2:
        return None
    return {
        **_head(owner, row, "policy/v1", "PodDisruptionBudget"),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector_of(owner.name, row.name)},
        },
    }


def deployment(owner: Owner, row: Row, pods: Pods, annotations: Mapping[str, str]) -> Object:
    """The Deployment of a component with the given pods.

    Parameters
    ----------
    annotations
        What `rollout` remembers on it.
    """
    rollout = owner.spec.rollout
    head = _head(owner, row, "apps/v1", "Deployment")
    found: Object = {
        **head,
        "metadata": {**head["metadata"], "annotations": dict(annotations)},
        "spec": {
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": rollout.progress_deadline_seconds,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": rollout.max_unavailable},
            },
            "selector": {"matchLabels": selector_of(owner.name, row.name)},
            "template": pods.template,
        },
    }
    replicas = owner.replicas(row)
    if replicas is not None:
        found["spec"]["replicas"] = replicas
    return found


def _variables(owner: Owner, row: Row) -> list[Object]:
    common = {
        "SERVICE_HOST": "0.0.0.0",  # noqa: S104 - the pod's own network
        "SERVICE_PORT": str(row.port),
        "METRICS_PORT": str(METRICS_PORT),
        # The preStop hook waits for the nodes; only clients with open connections are left to be told.
        "DRAIN_DELAY_S": str(LINGER_S),
        "DRAIN_TIMEOUT_S": str(_stop_of(owner.component(row)).drain_s),
        "STATE_DIR": "/tmp/media-gateway",  # noqa: S108 - the pod's own
        **row.environment,
    }
    found = {PREFIX + name: {"name": PREFIX + name, "value": value} for name, value in common.items()}
    addresses = [
        *environment(owner.name, owner.spec, row.needs),
        *auth_environment(owner.name, owner.spec),
    ]
    found.update({one["name"]: one for one in addresses})
    for stated in owner.component(row).env:
        if stated.secret_ref is not None:
            found[stated.name] = secret_variable(stated.name, stated.secret_ref)
        else:
            found[stated.name] = {"name": stated.name, "value": stated.value or ""}
    return sorted(found.values(), key=lambda one: str(one["name"]))


@dataclass(frozen=True, slots=True)
class _Stop:
    grace_s: int
    delay_s: int
    drain_s: int


def _stop_of(stated: ComponentSpec) -> _Stop:
    grace_s = stated.pod_template.termination_grace_period_seconds
    if grace_s is None:
        return _Stop(DRAIN_DELAY_S + DRAIN_TIMEOUT_S + RESERVE_S, DRAIN_DELAY_S, DRAIN_TIMEOUT_S)
    delay_s = min(DRAIN_DELAY_S, grace_s // 3)
    return _Stop(grace_s, delay_s, grace_s - delay_s - min(RESERVE_S, grace_s // 3))


def _probes() -> Object:
    live = {"httpGet": {"path": "/health/live", "port": "http"}, "timeoutSeconds": 5}
    ready = {"httpGet": {"path": "/health/ready", "port": "http"}, "timeoutSeconds": 5}
    return {
        # Loading a model on a slow node takes its time; after that a process that answers is never restarted.
        "startupProbe": {**live, "periodSeconds": 1, "failureThreshold": 180},
        "readinessProbe": {**ready, "periodSeconds": 3, "failureThreshold": 2},
        "livenessProbe": {**live, "periodSeconds": 10, "failureThreshold": 3},
    }


def _spread(gateway: str, component: str) -> list[Object]:
    common = {
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector_of(gateway, component)},
        # Each revision is spread by itself: else the old pods push the new ones onto one node.
        "matchLabelKeys": ["pod-template-hash"],
    }
    return [
        {**common, "topologyKey": key} for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _head(owner: Owner, row: Row, api_version: str, kind: str, name: str | None = None) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name or child_name(owner.name, row.name),
            "namespace": owner.namespace,
            "labels": labels_of(owner.name, row.name),
        },
    }
