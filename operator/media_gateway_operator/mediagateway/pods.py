"""Pods that the `restricted` PodSecurity standard admits: security contexts, scratch space, placement, labels.

Used by every builder that makes pods. What a resource says of pods is merged here, below what is fixed: it can neither
weaken the security context nor change the labels that Services select by.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from media_gateway.core.domain.spec_jobs import PodSettings, Resources
from media_gateway_operator.crds.gateway import MediaGatewaySpec
from media_gateway_operator.kube.kinds import (
    LABEL_COMPONENT,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    LABEL_PART_OF,
    MANAGED_BY,
    Object,
)

USER_ID: Final = 10001
"""User and group of every image."""

SCRATCH: Final = "2Gi"
"""Most a pod may write below /tmp: copies of sources that are read twice, and little else."""

_POD_SECURITY: Final[Object] = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "fsGroup": USER_ID,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER_SECURITY: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
}


def labels_of(gateway: str, part: str) -> dict[str, str]:
    """Labels of everything that belongs to one part of a gateway."""
    return {
        **selector_of(gateway, part),
        LABEL_COMPONENT: part,
        LABEL_PART_OF: "media-gateway",
        LABEL_MANAGED_BY: MANAGED_BY,
    }


def selector_of(gateway: str, part: str) -> dict[str, str]:
    """Labels that pick a part's pods. Those of an IngestionJob of the same name are named ``ingestion-job``."""
    return {LABEL_INSTANCE: gateway, LABEL_NAME: part}


def digest_of(value: Any) -> str:
    """Eight hex digits that change with a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def container(name: str, image: str, spec: MediaGatewaySpec, more: Mapping[str, Any]) -> Object:
    """A container that writes to /tmp only.

    Parameters
    ----------
    more
        Its further fields; ``volumeMounts`` are added to the one of /tmp.
    """
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, *more.get("volumeMounts", ())]  # noqa: S108 - the pod's own
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": spec.image.pull_policy,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **more,
        "volumeMounts": mounts,
        "securityContext": _CONTAINER_SECURITY,
    }


def pod_spec(only: Object, spec: MediaGatewaySpec, more: Mapping[str, Any]) -> Object:
    """Spec of a pod with one container.

    Parameters
    ----------
    more
        Its further fields; ``volumes`` are added to the one of /tmp.
    """
    found: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **more,
        "containers": [only],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": SCRATCH}}, *more.get("volumes", ())],
        "securityContext": _POD_SECURITY,
    }
    if spec.image.pull_secrets:
        found["imagePullSecrets"] = [{"name": one.name} for one in spec.image.pull_secrets]
    return found


def placement(settings: PodSettings) -> Object:
    """Where pods may go, as fields of a pod's spec."""
    found: Object = {}
    if settings.node_selector:
        found["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        found["tolerations"] = [
            one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in settings.tolerations
        ]
    if settings.affinity is not None and settings.affinity.required_node_labels:
        conditions = [
            one.model_dump(mode="json", by_alias=True, exclude_defaults=True)
            for one in settings.affinity.required_node_labels
        ]
        terms = {"nodeSelectorTerms": [{"matchExpressions": conditions}]}
        found["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    if settings.priority_class_name is not None:
        found["priorityClassName"] = settings.priority_class_name
    return found


def resources_of(given: Resources | None, default: Mapping[str, Mapping[str, str]]) -> Object:
    """Requests and limits: the given ones as a whole, else the default."""
    if given is None:
        return {kind: dict(amounts) for kind, amounts in default.items()}
    stated = {"requests": dict(given.requests), "limits": dict(given.limits)}
    return {kind: amounts for kind, amounts in stated.items() if amounts}
