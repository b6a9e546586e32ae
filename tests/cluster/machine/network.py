"""The cluster's network namespace and the one cable that leads into it.

The namespace has no default route, so no pod reaches further than this machine's end of the cable. This machine
reaches everything inside (API server, pods, services) by one route.
"""

import ipaddress
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.machine.commands import ClusterError, attempt, run

RANGE = ipaddress.IPv4Network("198.18.0.0/15")
"""Set aside for testing networks (RFC 2544): neither the internet nor a company's network uses it."""

PREFIX = "mgwc"


@dataclass(frozen=True, slots=True)
class Network:
    """One of the places that a cluster can take on this machine."""

    slot: int

    @property
    def name(self) -> str:
        """Name of the namespace, of this machine's end of the cable and of the cluster's control group."""
        return f"{PREFIX}{self.slot}"

    @property
    def whole(self) -> ipaddress.IPv4Network:
        """Everything inside."""
        return list(RANGE.subnets(new_prefix=18))[self.slot]

    @property
    def services(self) -> ipaddress.IPv4Network:
        """The first half: cluster addresses of Services."""
        return next(self.whole.subnets(new_prefix=19))

    @property
    def pods(self) -> ipaddress.IPv4Network:
        """Addresses of the node's pods."""
        return list(self.whole.subnets(new_prefix=24))[32]

    @property
    def cable(self) -> ipaddress.IPv4Network:
        """The two ends of the cable."""
        return list(self.whole.subnets(new_prefix=30))[-1]

    @property
    def host_address(self) -> str:
        """This machine as seen from inside."""
        return str(self.cable[1])

    @property
    def node_address(self) -> str:
        """The node, its API server and its DNS server."""
        return str(self.cable[2])

    @property
    def api_address(self) -> str:
        """The Service `kubernetes`: always the first of the range."""
        return str(self.services[1])

    @property
    def dns_address(self) -> str:
        """The Service `kube-dns`."""
        return str(self.services[10])

    @property
    def handle(self) -> Path:
        """The namespace as a file, to be entered with `nsenter --net`."""
        return Path("/run/netns") / self.name

    def entered(self, *command: str | Path) -> list[str]:
        """A command line that runs inside.

        `ip netns exec` would mount another /sys, in which the kubelet finds no control groups.
        """
        return ["nsenter", f"--net={self.handle}", *map(str, command)]


def taken_by(work: Path) -> Network | None:
    """The place a work folder's cluster has taken, even if the folder itself is gone."""
    for link in _links():
        if link.get("ifalias") == str(work) and str(link["ifname"]).startswith(PREFIX):
            return Network(int(str(link["ifname"]).removeprefix(PREFIX)))
    return None


def take(work: Path) -> Network:
    """Take a free place; creating the link claims it, so two starts at the same time get two places."""
    used = _routed()
    for slot in range(8):
        network = Network(slot)
        if not any(network.whole.overlaps(other) for other in used) and _claim(network, work):
            _furnish(network)
            return network
    raise ClusterError(
        f"every place for a cluster on this machine is taken (`ip link` shows {PREFIX}0 to {PREFIX}7, or other routes "
        f"use {RANGE}): take one down with `make cluster-down` in its clone"
    )


def release(network: Network) -> None:
    """Remove the cable, its route and the namespace with everything that was configured in it."""
    if any(link["ifname"] == network.name for link in _links()):
        run("ip", "link", "delete", network.name)
    if network.handle.exists():
        run("ip", "netns", "delete", network.name)


def _claim(network: Network, work: Path) -> bool:
    name = network.name
    if network.handle.exists() and not any(link["ifname"] == name for link in _links()):
        run("ip", "netns", "delete", name)  # left by a start that was cut off
    if not attempt("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}n"):
        return False
    run("ip", "link", "set", "dev", name, "alias", work)
    return True


def _furnish(network: Network) -> None:
    name, inner = network.name, f"{network.name}n"
    run("ip", "netns", "add", name)
    run("ip", "link", "set", inner, "netns", name)
    run("ip", "address", "add", f"{network.host_address}/30", "dev", name)
    run("ip", "link", "set", name, "up")
    run("ip", "-n", name, "link", "set", "lo", "up")
    run("ip", "-n", name, "address", "add", f"{network.node_address}/30", "dev", inner)
    run("ip", "-n", name, "link", "set", inner, "up")
    run(*network.entered("sysctl", "-qw", "net.ipv4.ip_forward=1"))
    run("ip", "route", "add", str(network.whole), "via", network.node_address, "dev", name)


def _links() -> list[dict[str, Any]]:
    # Without the class of a foreign link type `ip` may print an empty object.
    return [link for link in json.loads(run("ip", "-j", "link", "show")) if "ifname" in link]


def _routed() -> list[ipaddress.IPv4Network]:
    answer = subprocess.run(
        ["ip", "-j", "-4", "route", "show", "table", "all"], capture_output=True, check=True
    )
    targets = {route.get("dst", "default") for route in json.loads(answer.stdout or b"[]")}
    return [ipaddress.IPv4Network(target, strict=False) for target in targets if target != "default"]
