"""Servers that the operator runs itself in profile Development: PostgreSQL, Redis and Kafka, one pod each.

Pure functions. Without a ``storage`` in the resource a server's data lives as long as its pod; with one, in a volume claim
that goes with the StatefulSet. The password is made once, while observing, and kept in a Secret.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from media_gateway.core.domain.spec_types import SecretRef
from media_gateway.core.settings import PREFIX
from media_gateway_operator.crds.dependencies import EmbeddableServer, Storage
from media_gateway_operator.engine.plan import SecretKeys
from media_gateway_operator.kube.kinds import STATE_PREFIX, Object
from media_gateway_operator.mediagateway.environment import (
    ADDRESS_KEY,
    PASSWORD_KEY,
    SIGNING_KEY,
    child_name,
    image_of,
    mode_of,
    secret_variable,
)
from media_gateway_operator.mediagateway.pods import (
    container,
    digest_of,
    labels_of,
    pod_spec,
    resources_of,
    selector_of,
)
from media_gateway_operator.mediagateway.workloads import SECRETS_HASH, Owner

TEMPLATE_HASH: Final = f"{STATE_PREFIX}template-hash"
"""On a StatefulSet: changes with its pods, so that it is known whether it speaks of these or of those before."""
STORAGE: Final = f"{STATE_PREFIX}storage"
"""On a StatefulSet: the storage it was made with, which no later change can alter."""


@dataclass(frozen=True, slots=True)
class Server:
    """An embeddable server.

    Attributes
    ----------
    address : str
        Its address; ``{password}`` and ``{host}`` are filled in. Without a password in it no Secret is made.
    resources : Mapping
        Requests and limits unless the resource gives its own.
    """

    name: str
    image: str
    port: int
    address: str
    resources: Mapping[str, Mapping[str, str]]

    @property
    def secret(self) -> bool:
        """Whether it has a password."""
        return "{password}" in self.address


SERVERS: Final[Mapping[str, Server]] = {
    server.name: server
    for server in (
        Server(
            "postgres",
            "dev-backends",
            5432,
            "postgresql://media_gateway:{password}@{host}:5432/media_gateway",
            {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        ),
        Server(
            "redis",
            "dev-backends",
            6379,
            "redis://:{password}@{host}:6379/0",
            {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "768Mi"}},
        ),
        Server(
            "kafka",
            "dev-backends-kafka",
            9092,
            "kafka://{host}:9092",
            {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        ),
    )
}


def embedded(owner: Owner) -> list[Server]:
    """The servers that are embedded."""
    return [server for server in SERVERS.values() if mode_of(owner.spec, server.name) == "Embedded"]


def server_secret(gateway: str, server: Server, password: str) -> dict[str, str]:
    """Values of a server's Secret."""
    host = child_name(gateway, server.name)
    return {PASSWORD_KEY: password, ADDRESS_KEY: server.address.format(password=password, host=host)}


def signing_secret(key: str) -> dict[str, str]:
    """Values of the Secret that tokens are signed with."""
    return {SIGNING_KEY: key}


def keys_of(values: Mapping[str, str]) -> SecretKeys:
    """What will be known of a Secret once it is there."""
    return SecretKeys({key: hashlib.sha256(value.encode()).hexdigest()[:16] for key, value in values.items()})


def secret(owner: Owner, part: str, values: Mapping[str, str]) -> Object:
    """A generated Secret. Declared only until it exists: its values are never changed."""
    return {
        **_head(owner, part, "v1", "Secret"),
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


def service(owner: Owner, server: Server) -> Object:
    """How a server is found."""
    return {
        **_head(owner, server.name, "v1", "Service"),
        "spec": {
            "type": "ClusterIP",
            "selector": selector_of(owner.name, server.name),
            "ports": [
                {"name": server.name, "port": server.port, "targetPort": server.name, "protocol": "TCP"}
            ],
        },
    }


def storage_of(owner: Owner, server: Server, live: Object | None) -> Storage | None:
    """The storage that a server has: as stated at its creation, since nothing can change it afterwards."""
    stated: EmbeddableServer = getattr(owner.spec.dependencies, server.name)
    if live is None:
        return stated.storage
    try:
        recorded = json.loads(live["metadata"].get("annotations", {})[STORAGE])
        return None if recorded is None else Storage.model_validate(recorded)
    except (KeyError, ValueError):
        return stated.storage


def stateful_set(owner: Owner, server: Server, live: Object | None) -> Object:
    """The server itself."""
    stated: EmbeddableServer = getattr(owner.spec.dependencies, server.name)
    storage = storage_of(owner, server, live)
    name = child_name(owner.name, server.name)
    labels = labels_of(owner.name, server.name)
    annotations = {SECRETS_HASH: owner.secrets_hash(_refs(owner, server))}
    data = [] if storage else [{"name": "data", "emptyDir": {}}]
    more = {"terminationGracePeriodSeconds": 30, "volumes": data}
    head = _head(owner, server.name, "apps/v1", "StatefulSet")
    record = json.dumps(storage and storage.model_dump(mode="json", by_alias=True, exclude_none=True))
    template = {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": pod_spec(_container(owner, server, stated), owner.spec, more),
    }
    memory = {STORAGE: record, TEMPLATE_HASH: digest_of(template)}
    found: Object = {
        **head,
        "metadata": {**head["metadata"], "annotations": memory},
        "spec": {
            "replicas": 1,
            "serviceName": name,
            "selector": {"matchLabels": selector_of(owner.name, server.name)},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
            "template": template,
        },
    }
    if storage is not None:
        found["spec"]["volumeClaimTemplates"] = [_claim(storage)]
    return found


def as_declared(made: Object, live: Object) -> bool:
    """Whether a StatefulSet was last declared with these pods."""
    before = (live["metadata"].get("annotations") or {}).get(TEMPLATE_HASH)
    return bool(before == made["metadata"]["annotations"][TEMPLATE_HASH])


def _refs(owner: Owner, server: Server) -> list[SecretRef]:
    if not server.secret:
        return []
    return [SecretRef(name=child_name(owner.name, server.name), key=PASSWORD_KEY)]


def _container(owner: Owner, server: Server, stated: EmbeddableServer) -> Object:
    check = {"exec": {"command": ["dev-backends", "check", server.name]}, "timeoutSeconds": 10}
    # A process for each probe takes seconds on a busy node, where a server that is cut off for it makes things worse.
    listens = {"tcpSocket": {"port": server.name}, "timeoutSeconds": 5}
    variable = f"{PREFIX}{server.name.upper()}_PASSWORD"
    env = [secret_variable(variable, ref) for ref in _refs(owner, server)]
    if server.name == "kafka":
        advertised = f"{child_name(owner.name, server.name)}:{server.port}"
        env.append({"name": f"{PREFIX}KAFKA_ADVERTISED", "value": advertised})
    return container(
        server.name,
        image_of(owner.spec, server.image, owner.release),
        owner.spec,
        {
            "args": ["dev-backends", server.name],
            "env": env,
            "ports": [{"name": server.name, "containerPort": server.port, "protocol": "TCP"}],
            "resources": resources_of(stated.resources, server.resources),
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            # That it answers is asked until it does, and not again.
            "startupProbe": {**check, "periodSeconds": 1, "failureThreshold": 180},
            "readinessProbe": {**listens, "periodSeconds": 10, "failureThreshold": 2},
            "livenessProbe": {**listens, "periodSeconds": 30, "failureThreshold": 4},
        },
    )


def _claim(storage: Storage) -> Object:
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage.size}}}
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}


def _head(owner: Owner, part: str, api_version: str, kind: str) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": child_name(owner.name, part),
            "namespace": owner.namespace,
            "labels": labels_of(owner.name, part),
        },
    }


def as_it_was(made: Object, live: Object) -> Object:
    """A StatefulSet with the image that it has, while nothing new may be rolled out."""
    image = live["spec"]["template"]["spec"]["containers"][0]["image"]
    template = made["spec"]["template"]
    only = {**template["spec"]["containers"][0], "image": image}
    held = {**template, "spec": {**template["spec"], "containers": [only]}}
    annotations = {**made["metadata"]["annotations"], TEMPLATE_HASH: digest_of(held)}
    return {
        **made,
        "metadata": {**made["metadata"], "annotations": annotations},
        "spec": {**made["spec"], "template": held},
    }
