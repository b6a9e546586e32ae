"""etcd, API server, controllers and scheduler: their command lines and kubeconfigs."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.machine.api import PORT
from tests.cluster.machine.network import Network
from tests.cluster.machine.pki import Authority, Identity, token_keys
from tests.cluster.machine.places import Places
from tests.cluster.machine.programs import Programs

CONTEXT = "media-gateway-machine"
"""Name of the context in the kubeconfig; tests refuse contexts they don't know."""

NODE = "node1"

ETCD = "http://127.0.0.1:2379"
"""Inside the namespace, where no other process of this machine is."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What every part of one cluster is configured from."""

    places: Places
    network: Network
    programs: Programs


@dataclass(frozen=True, slots=True)
class Papers:
    """Every certificate and key of the cluster."""

    authority: Path
    server: Identity
    admin: Identity
    node: Identity
    kubelet_client: Identity
    tokens: Identity


def papers(settings: Settings) -> Papers:
    """Issue what the programs show each other, and write the kubeconfigs."""
    folder, network = settings.places.pki, settings.network
    authority = Authority(folder)
    service = "kubernetes.default.svc"
    addresses = ["localhost", "kubernetes", "kubernetes.default", service, f"{service}.cluster.local",
                 "127.0.0.1", network.api_address, network.node_address]  # fmt: skip
    issued = Papers(
        authority.certificate,
        authority.identity("kube-apiserver", addresses=addresses),
        authority.identity("admin", groups=["system:masters"]),
        authority.identity(f"system:node:{NODE}", ["system:nodes"], [NODE, network.node_address]),
        authority.identity("kube-apiserver-kubelet-client", groups=["system:masters"]),
        token_keys(folder),
    )
    _write(settings.places.kubeconfig, issued.authority, issued.admin, network)
    _write(settings.places.etc / "node.kubeconfig", issued.authority, issued.node, network)
    return issued


def command_lines(settings: Settings, issued: Papers) -> dict[str, Sequence[str | Path]]:
    """Programs by name, in the order in which they start."""
    programs, state = settings.programs, settings.places.state
    kubeconfig = f"--kubeconfig={settings.places.kubeconfig}"
    return {
        "etcd": [
            programs["etcd"], "--data-dir", state / "etcd", "--log-level", "warn",
            "--listen-client-urls", ETCD, "--advertise-client-urls", ETCD,
            "--listen-peer-urls", "http://127.0.0.1:2380",
            "--unsafe-no-fsync",  # nothing in a test cluster outlives a power cut
        ],
        "kube-apiserver": _server(settings, issued),
        "kube-controller-manager": [
            programs["kube-controller-manager"], kubeconfig, "--leader-elect=false",
            f"--service-account-private-key-file={issued.tokens.key}", f"--root-ca-file={issued.authority}",
            "--use-service-account-credentials=true",
        ],
        "kube-scheduler": [programs["kube-scheduler"], kubeconfig, "--leader-elect=false"],
    }  # fmt: skip


def _server(settings: Settings, issued: Papers) -> Sequence[str | Path]:
    network = settings.network
    return [
        settings.programs["kube-apiserver"], f"--etcd-servers={ETCD}",
        f"--advertise-address={network.node_address}", f"--secure-port={PORT}",
        f"--service-cluster-ip-range={network.services}",
        f"--cert-dir={settings.places.state / 'apiserver'}",
        f"--client-ca-file={issued.authority}",
        f"--tls-cert-file={issued.server.certificate}", f"--tls-private-key-file={issued.server.key}",
        f"--service-account-key-file={issued.tokens.certificate}",
        f"--service-account-signing-key-file={issued.tokens.key}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-client-certificate={issued.kubelet_client.certificate}",
        f"--kubelet-client-key={issued.kubelet_client.key}", "--kubelet-preferred-address-types=InternalIP",
    ]  # fmt: skip


def _write(file: Path, authority: Path, who: Identity, network: Network) -> None:
    def inline(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    server = f"https://{network.node_address}:{PORT}"
    cluster = {"server": server, "certificate-authority-data": inline(authority)}
    user = {"client-certificate-data": inline(who.certificate), "client-key-data": inline(who.key)}
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": "user"}}],
        "current-context": CONTEXT,
    }
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(document, sort_keys=False))
