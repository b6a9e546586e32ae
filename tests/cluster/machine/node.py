"""The one node: containerd, kubelet, kube-proxy and the cluster's DNS server, with the settings they need here."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.machine.control_plane import NODE, Papers, Settings
from tests.cluster.machine.network import Network

PAUSE = "localhost/media-gateway-pause:1"


def command_lines(settings: Settings, issued: Papers) -> dict[str, Sequence[str | Path]]:
    """Programs by name, in the order in which they start; their configuration is written first."""
    programs, etc = settings.programs, settings.places.etc
    admin = settings.places.kubeconfig
    return {
        "containerd": ["containerd", "--config", _containerd(settings)],
        "coredns": [programs["coredns"], "-conf", _coredns(settings), "-quiet"],
        "kubelet": [
            programs["kubelet"], f"--config={_kubelet(settings, issued)}",
            f"--kubeconfig={etc / 'node.kubeconfig'}", f"--root-dir={settings.places.state / 'kubelet'}",
            f"--cert-dir={settings.places.state / 'kubelet-pki'}", f"--hostname-override={NODE}",
            f"--node-ip={settings.network.node_address}",
        ],
        "kube-proxy": [
            programs["kube-proxy"], f"--kubeconfig={admin}", "--proxy-mode=iptables",
            f"--cluster-cidr={settings.network.pods}", f"--hostname-override={NODE}",
            # Limits that hold for the whole machine are left as they are.
            "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ],
        "network-policies": [
            programs["network-policies"], f"--kubeconfig={admin}", f"--hostname-override={NODE}",
            f"--service-cluster-ip-range={settings.network.services}",
        ],
    }  # fmt: skip


def _containerd(settings: Settings) -> Path:
    state = settings.places.state
    cni = settings.places.etc / "cni"
    cni.mkdir(exist_ok=True)
    bridge = {
        "type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
        "ipam": {
            "type": "host-local", "ranges": [[{"subnet": str(settings.network.pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}], "dataDir": str(state / "ipam"),
        },
    }  # fmt: skip
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    network = {"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}
    (cni / "10-bridge.conflist").write_text(json.dumps(network))
    file = settings.places.etc / "containerd.toml"
    file.write_text(f"""\
version = 2
root = "{state}/containerd"
state = "{state}/containerd-run"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{settings.places.containerd_socket}"
[ttrpc]
  address = "{settings.places.containerd_socket}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Without CAP_SYS_RESOURCE a container may not be made more important than its parent.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{state}/runc"
""")
    return file


def _coredns(settings: Settings) -> Path:
    file = settings.places.etc / "Corefile"
    file.write_text(f""".:53 {{
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {settings.places.kubeconfig}
    }}
    cache 5
}}
""")
    return file


def _kubelet(settings: Settings, issued: Papers) -> Path:
    state = settings.places.state
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(issued.authority)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{settings.network.name}",
        "clusterDNS": [settings.network.dns_address],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{settings.places.containerd_socket}",
        # A test cluster is never the reason to throw pods out, only a full disk is.
        "enforceNodeAllocatable": [],
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": str(state / "pod-logs"),
        "registerWithTaints": [],
        "resolvConf": "",
        "tlsCertFile": str(issued.node.certificate),
        "tlsPrivateKeyFile": str(issued.node.key),
        "volumePluginDir": str(state / "volume-plugins"),
    }
    file = settings.places.etc / "kubelet.yaml"
    file.write_text(yaml.safe_dump(configuration))
    return file


def dns_objects(network: Network) -> list[tuple[str, dict[str, Any]]]:
    """The Service that pods ask for names, answered by the process on the node: path and manifest."""
    system = "/namespaces/kube-system"
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    service: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": network.dns_address, "ports": ports},
    }
    addresses: dict[str, Any] = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kube-dns", "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [network.node_address], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return [
        (f"/api/v1{system}/services", service),
        (f"/apis/discovery.k8s.io/v1{system}/endpointslices", addresses),
    ]
