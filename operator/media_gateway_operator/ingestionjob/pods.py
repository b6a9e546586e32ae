"""The pods of an IngestionJob. Called by `manifests`; pure.

A pod reads its manifest and the source's secrets from files, has no right in the cluster, and runs where PodSecurity
``restricted`` is enforced. What ``spec.template`` says is added; it can't take any of that away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from media_gateway.core.domain.specs import IngestionJobSpec, SecretRef
from media_gateway.core.settings import PREFIX
from media_gateway_operator.crds.gateway import MediaGatewaySpec
from media_gateway_operator.ingestionjob.outcome import CONTAINER
from media_gateway_operator.kube.kinds import Object
from media_gateway_operator.mediagateway.components import ROWS
from media_gateway_operator.mediagateway.environment import Release, environment, image_of, secret_variable
from media_gateway_operator.mediagateway.pods import container, placement, pod_spec, resources_of

MANIFEST: Final = "mediagateway.io/manifest"
"""Annotation of the pods with the manifest they work on."""
GATEWAY_LABEL: Final = "mediagateway.io/gateway"
"""On the pods: name of the MediaGateway whose servers they use."""

MANIFEST_FOLDER: Final = "/etc/media-gateway/job"
SECRETS: Final = "/run/secrets/media-gateway"
TOKENS: Final = "/run/secrets/media-gateway-progress"
FILES: Final = "/var/lib/media-gateway/source"
"""Where the volume claim of a File source is mounted; its paths are relative to this."""
AUDIENCE: Final = "media-gateway-operator"
"""Of the tokens with which pods report progress."""

GRACE_S: Final = 60
"""A batch is finished and its checkpoint written within this."""
TOKEN_LIFETIME_S: Final = 3600

_ROW: Final = ROWS["ingestion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What the pods of a gateway's jobs have in common.

    Attributes
    ----------
    gateway : str
        Name of the MediaGateway.
    progress_address : str | None
        Where the pods report to, without the path; None asks for no reports.
    """

    gateway: str
    spec: MediaGatewaySpec
    release: Release
    progress_address: str | None = None

    def progress_url(self, namespace: str, name: str) -> str | None:
        """Where the pods of one job report to."""
        return self.progress_address and f"{self.progress_address}/v1/progress/{namespace}/{name}"


def secret_refs(spec: IngestionJobSpec) -> Mapping[str, Sequence[str]]:
    """Names of the Secrets that a spec speaks of, and the keys that are wanted of each."""
    found: dict[str, set[str]] = {}
    todo: list[Any] = [spec.source]
    while todo:
        value = todo.pop()
        if isinstance(value, SecretRef):
            found.setdefault(value.name, set()).add(value.key)
        elif isinstance(value, BaseModel):
            todo += [getattr(value, name) for name in type(value).model_fields]
    return {name: sorted(keys) for name, keys in sorted(found.items())}


def inside(spec: IngestionJobSpec) -> IngestionJobSpec:
    """A spec as the pods see it: files are where their volume claim is mounted."""
    file = spec.source.file
    if file is None:
        return spec
    mounted = file.model_copy(update={"path": f"{FILES}/{file.path.lstrip('/')}", "pvc": None})
    return spec.model_copy(update={"source": spec.source.model_copy(update={"file": mounted})})


def pod_template(
    spec: IngestionJobSpec, document: str, labels: Mapping[str, str], basis: Basis, progress_url: str | None
) -> Object:
    """The pod template of a job's Job.

    Parameters
    ----------
    document
        The manifest that the pods read.
    """
    template = spec.template
    component = basis.spec.components.ingestion
    mounts, volumes = _volumes(spec, progress_url)
    given = template.resources
    only = container(
        CONTAINER,
        template.image or component.image or image_of(basis.spec, "ingestion", basis.release),
        basis.spec,
        {
            "command": ["python", "-m", "media_gateway.ingestion.job", f"{MANIFEST_FOLDER}/manifest.json"],
            "env": _environment(spec, basis, progress_url),
            "resources": resources_of(given if given.requests or given.limits else None, _ROW.resources),
            "volumeMounts": mounts,
        },
    )
    around = {
        "restartPolicy": "Never",
        "serviceAccountName": template.service_account_name or "default",
        "terminationGracePeriodSeconds": GRACE_S,
        "volumes": volumes,
        **placement(template),
    }
    return {
        "metadata": {
            "labels": {**template.labels, **labels, GATEWAY_LABEL: basis.gateway},
            "annotations": {**template.annotations, MANIFEST: document},
        },
        "spec": pod_spec(only, basis.spec, around),
    }


def _environment(spec: IngestionJobSpec, basis: Basis, progress_url: str | None) -> list[Object]:
    found = {one["name"]: one for one in environment(basis.gateway, basis.spec, _ROW.needs)}
    for name, value in {f"{PREFIX}LOG_FORMAT": "json", f"{PREFIX}STATE_DIR": "/tmp/media-gateway"}.items():  # noqa: S108 - the pod's own
        found[name] = {"name": name, "value": value}
    # The component's settings (proxies, patience) hold for its jobs, too; what follows is how this pod is put together.
    for one in basis.spec.components.ingestion.env:
        found[one.name] = (
            {"name": one.name, "value": one.value or ""}
            if one.secret_ref is None
            else secret_variable(one.name, one.secret_ref)
        )
    own = {}
    if secret_refs(spec):
        own["SECRETS_DIR"] = SECRETS
    if spec.source.file is not None:
        own["INGESTION_FILE_DIR"] = FILES
    if progress_url:
        own |= {"PROGRESS_URL": progress_url, "PROGRESS_TOKEN_FILE": f"{TOKENS}/token"}
    for short, value in own.items():
        found[PREFIX + short] = {"name": PREFIX + short, "value": value}
    return list(found.values())


def _volumes(spec: IngestionJobSpec, progress_url: str | None) -> tuple[list[Object], list[Object]]:
    manifest = {"path": "manifest.json", "fieldRef": {"fieldPath": f"metadata.annotations['{MANIFEST}']"}}
    found: list[tuple[str, Object]] = [
        (MANIFEST_FOLDER, {"name": "job", "downwardAPI": {"items": [manifest]}})
    ]
    if refs := secret_refs(spec):
        sources = [
            {"secret": {"name": name, "items": [{"key": key, "path": f"{name}/{key}"} for key in keys]}}
            for name, keys in refs.items()
        ]
        found.append((SECRETS, {"name": "secrets", "projected": {"defaultMode": 0o440, "sources": sources}}))
    if spec.source.file is not None:
        # Read-only here, and not only where it is mounted: else the kubelet would give all its files to our group.
        claim = {"claimName": spec.source.file.pvc, "readOnly": True}
        found.append((FILES, {"name": "source", "persistentVolumeClaim": claim}))
    if progress_url:
        token = {"audience": AUDIENCE, "expirationSeconds": TOKEN_LIFETIME_S, "path": "token"}
        found.append(
            (TOKENS, {"name": "progress", "projected": {"sources": [{"serviceAccountToken": token}]}})
        )
    mounts = [{"name": volume["name"], "mountPath": path, "readOnly": True} for path, volume in found]
    return mounts, [volume for _, volume in found]
