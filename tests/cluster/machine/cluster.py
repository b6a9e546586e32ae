"""Brings the cluster up, says what runs, restarts a part of it."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.machine import cgroups, control_plane, network, node, processes
from tests.cluster.machine.api import Api
from tests.cluster.machine.commands import ClusterError, attempt, say
from tests.cluster.machine.control_plane import CONTEXT, NODE, Papers, Settings
from tests.cluster.machine.images import load_image, pause_archive
from tests.cluster.machine.packages import require
from tests.cluster.machine.places import Places
from tests.cluster.machine.programs import Programs, programs
from tests.cluster.machine.storage import storage_objects
from tests.cluster.machine.teardown import clear, remember_sysctls

CONTROL_PLANE_PROGRAMS = ("ip", "nsenter", "sysctl")


@dataclass(frozen=True, slots=True)
class Status:
    """What there is of a cluster."""

    running: bool
    """Every process that was started lives."""
    has_node: bool
    """Pods can run; without it there is only the API."""
    address: str | None
    """Of the node, as seen from this machine."""
    processes: dict[str, bool]
    """Whether each process lives."""


def status(places: Places) -> Status:
    """Look at the processes of a work folder's cluster."""
    taken = network.taken_by(places.work)
    alive = {name: processes.is_alive(processes.recorded(places, name)) for name in processes.names(places)}
    complete = (places.work / "complete").exists()
    running = taken is not None and complete and all(alive.values())
    return Status(running, "kubelet" in alive, taken.node_address if taken else None, alive)


def up(places: Places, cache: Path, *, with_node: bool = True) -> Programs:
    """Start the cluster unless it runs; what is left of a broken one is removed first.

    Parameters
    ----------
    places
        Where its files go.
    cache
        Where its programs are built.
    with_node
        Whether pods can run in it; without, it is API server, etcd and controllers.

    Raises
    ------
    ClusterError
        If it can't run here, or a part of it doesn't get ready.
    """
    _check_machine()
    require(*(() if with_node else CONTROL_PLANE_PROGRAMS))
    built = programs(cache)
    with places.alone():
        found = status(places)
        if found.running and (found.has_node or not with_node):
            say(f"the cluster is up already (context {CONTEXT}): export KUBECONFIG={places.kubeconfig}")
            return built
        if clear(places):
            say("removed what was left of an earlier cluster")
        places.make()
        try:
            _start(Settings(places, network.take(places.work), built), with_node=with_node)
        except BaseException:
            clear(places)
            raise
    say(f"the cluster is up (context {CONTEXT}): export KUBECONFIG={places.kubeconfig}")
    return built


def _check_machine() -> None:
    if sys.platform != "linux":
        raise ClusterError(
            "this cluster runs on Linux only; elsewhere use kind, or name a cluster with KUBECONFIG"
        )
    if os.geteuid() != 0:
        raise ClusterError("this cluster needs root (namespaces, mounts): run the command again with sudo")


def _start(settings: Settings, *, with_node: bool) -> None:
    places = settings.places
    for file in places.log.iterdir():
        file.unlink()
    issued = control_plane.papers(settings)
    api = Api(settings.network, str(issued.authority), issued.admin)
    start = _Start(settings, api, cgroups.create(settings.network.name))
    start.launch(control_plane.command_lines(settings, issued), "etcd", "kube-apiserver")
    if with_node:
        remember_sysctls(places)
        start.launch(node.command_lines(settings, issued), "containerd")
    # What follows gives up, or waits long, when it finds no API server.
    start.wait(lambda: api.get("/readyz") == "ok", "starting the API server", 90)
    start.launch(control_plane.command_lines(settings, issued), "kube-controller-manager", "kube-scheduler")
    if with_node:
        _start_node(start, issued)
    start.wait(lambda: api.get("/api/v1/namespaces/default/serviceaccounts/default"), "the controllers", 60)
    (places.work / "complete").touch()


def _start_node(start: "_Start", issued: Papers) -> None:
    settings, api = start.settings, start.api
    commands = node.command_lines(settings, issued)
    socket = settings.places.containerd_socket
    start.wait(lambda: attempt("ctr", "--address", socket, "version"), "containerd", 30)
    start.launch(commands, "kubelet", "coredns")
    load_image(
        settings.places, pause_archive(settings.programs["pause"], settings.places.state / "pause.tar")
    )
    objects = [*node.dns_objects(settings.network), *storage_objects(settings.places.state / "volumes")]
    for path, manifest in objects:
        api.apply(path, manifest)
    start.wait(lambda: api.get(f"/api/v1/nodes/{NODE}"), "the node's registration", 60)
    start.launch(commands, "kube-proxy")
    if _has_address_sets(settings.network):
        start.launch(commands, "network-policies")
    else:
        say("this kernel has no address sets (ip_set): NetworkPolicy is not enforced in this cluster")
    start.wait(lambda: _is_ready(api), "the node", 60)


def _has_address_sets(inside: network.Network) -> bool:
    created = attempt(*inside.entered("ipset", "create", "probe", "hash:ip"))
    return created and attempt(*inside.entered("ipset", "destroy", "probe"))


@dataclass(slots=True)
class _Start:
    """A start under way: whatever was launched so far has to stay alive."""

    settings: Settings
    api: Api
    group: Path
    launched: list[processes.Record] = field(default_factory=list)

    def launch(self, commands: Mapping[str, Sequence[str | Path]], *names: str) -> None:
        for name in names:
            command = self.settings.network.entered(*commands[name])
            self.launched.append(processes.start(self.settings.places, name, command, self.group))

    def wait(self, probe: Callable[[], Any], what: str, timeout_s: float) -> None:
        """Call the probe until it gives something true; no answer from a server counts as "not yet"."""
        deadline = time.monotonic() + timeout_s
        while True:
            with suppress(OSError):
                if probe():
                    return
            for record in self.launched:
                _check_alive(self.settings.places, record)
            if time.monotonic() > deadline:
                raise ClusterError(f"{what} took longer than {timeout_s:g} s; see {self.settings.places.log}")
            time.sleep(0.1)


def _check_alive(places: Places, record: processes.Record) -> None:
    if not processes.is_alive(record):
        log = places.log / f"{record.name}.log"
        lines = log.read_text(errors="replace").strip().splitlines()[-5:]
        raise ClusterError(
            "\n".join([f"{record.name} ended while the cluster started; {log} ends with:", *lines])
        )


def _is_ready(api: Api) -> bool:
    found: dict[str, Any] | None = api.get(f"/api/v1/nodes/{NODE}")
    conditions = found["status"].get("conditions", ()) if found else ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
