"""Volumes that exist before they are claimed: the default storage class has folders of this machine to give away."""

from pathlib import Path
from typing import Any

from tests.cluster.machine.control_plane import NODE

COUNT = 64
"""A volume is used once: what its claim's pods wrote stays in it."""

CLASS = "standard"
"""As kind calls its own."""


def storage_objects(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Make the folders, and give path and manifest of what offers them."""
    classes, volumes = "/apis/storage.k8s.io/v1/storageclasses", "/api/v1/persistentvolumes"
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": default},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    return [(classes, storage_class), *((volumes, _volume(folder / f"{n:02}")) for n in range(COUNT))]


def _volume(folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True)
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"local-{folder.name}"},
        "spec": {
            "storageClassName": CLASS,
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            # A local volume, unlike a host path, is given to the group that the pod asks for.
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
