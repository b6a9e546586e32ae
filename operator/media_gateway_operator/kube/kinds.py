"""The kinds of objects that the operator reads and writes, and the names that are API: labels, annotations, managers.

Used by every module of the operator. Names here must not change once released: Deployments select by these labels, the
API server keeps ownership under these managers.
"""

from dataclasses import dataclass
from typing import Any, Final

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON."""

GROUP: Final = "mediagateway.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

MANAGER: Final = "mediagateway-operator"
"""Field manager of children and of the status."""
PROGRESS_MANAGER: Final = "mediagateway-progress"
"""Field manager of what a job's pods report."""

MANAGED_BY: Final = "media-gateway-operator"
"""Value of ``app.kubernetes.io/managed-by``; children are watched by it."""
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_PART_OF: Final = "app.kubernetes.io/part-of"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_JOB: Final = "mediagateway.io/ingestionjob"
"""On the pods and Jobs of an IngestionJob: its name."""

STATE_PREFIX: Final = "operator.mediagateway.io/"
APPLIED_HASH: Final = f"{STATE_PREFIX}applied-hash"
"""On every child: digest of what the operator declares of it."""
PAUSED: Final = "mediagateway.io/paused"
"""On a custom resource, ``"true"``: the operator changes nothing but the status."""
RECONCILE_AT: Final = "mediagateway.io/reconcile-at"
"""On a custom resource: any new value makes the operator look again at once."""


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """A kind and where the API server keeps it.

    Attributes
    ----------
    group : str
        Empty for the core group.
    plural : str
        As in paths: ``deployments``.
    """

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As in manifests: ``apps/v1``, ``v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """Path of its group and version on the API server."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


MEDIA_GATEWAY = ResourceKind(GROUP, VERSION, "mediagateways", "MediaGateway")
INGESTION_JOB = ResourceKind(GROUP, VERSION, "ingestionjobs", "IngestionJob")
TRAINING_JOB = ResourceKind(GROUP, VERSION, "loratrainingjobs", "LoRATrainingJob")
RATE_LIMIT_POLICY = ResourceKind(GROUP, VERSION, "ratelimitpolicies", "RateLimitPolicy")

DEPLOYMENT = ResourceKind("apps", "v1", "deployments", "Deployment")
STATEFUL_SET = ResourceKind("apps", "v1", "statefulsets", "StatefulSet")
JOB = ResourceKind("batch", "v1", "jobs", "Job")
CRON_JOB = ResourceKind("batch", "v1", "cronjobs", "CronJob")
SERVICE = ResourceKind("", "v1", "services", "Service")
CONFIG_MAP = ResourceKind("", "v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNT = ResourceKind("", "v1", "serviceaccounts", "ServiceAccount")
SECRET = ResourceKind("", "v1", "secrets", "Secret")
POD = ResourceKind("", "v1", "pods", "Pod")
EVENT = ResourceKind("", "v1", "events", "Event")
LEASE = ResourceKind("coordination.k8s.io", "v1", "leases", "Lease")
DISRUPTION_BUDGET = ResourceKind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORK_POLICY = ResourceKind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
SERVICE_MONITOR = ResourceKind("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor")
PROMETHEUS_RULE = ResourceKind("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule")

ALL_KINDS: Final = (
    MEDIA_GATEWAY, INGESTION_JOB, TRAINING_JOB, RATE_LIMIT_POLICY, DEPLOYMENT, STATEFUL_SET, JOB, CRON_JOB, SERVICE,
    CONFIG_MAP, SERVICE_ACCOUNT, SECRET, POD, EVENT, LEASE, DISRUPTION_BUDGET, NETWORK_POLICY, SERVICE_MONITOR,
    PROMETHEUS_RULE,
)  # fmt: skip

_BY_NAME = {(kind.api_version, kind.kind): kind for kind in ALL_KINDS}


def kind_of(manifest: Object) -> ResourceKind:
    """The kind of a manifest that has ``apiVersion`` and ``kind``.

    Raises
    ------
    KeyError
        It is none of the operator's kinds.
    """
    return _BY_NAME[manifest["apiVersion"], manifest["kind"]]


@dataclass(frozen=True, slots=True)
class Ref:
    """One object of the cluster."""

    kind: ResourceKind
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Object) -> "Ref":
        """The object that a manifest speaks of; raises as `kind_of`."""
        metadata = manifest["metadata"]
        return cls(kind_of(manifest), metadata.get("namespace", ""), metadata["name"])

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.namespace}/{self.name}"
