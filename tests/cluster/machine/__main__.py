"""A Kubernetes of this clone's own on this machine, without Docker."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.machine import processes
from tests.cluster.machine.base_image import base_image
from tests.cluster.machine.cluster import status, up
from tests.cluster.machine.commands import ClusterError, say
from tests.cluster.machine.images import load_image
from tests.cluster.machine.places import Places, cache_folder, work_folder
from tests.cluster.machine.teardown import down
from tests.cluster.sharing import STARTED_BY_A_RUN


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    Exit status: 1 if it can't be done, and for `status` 3 if nothing runs.
    """
    options = _parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options, Places(work_folder()))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.machine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start it unless it runs")
    start.add_argument(
        "--control-plane-only", action="store_true", help="API server, etcd and controllers; no pods"
    )
    commands.add_parser("down", help="take it down; nothing but the logs is left")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("kubeconfig", help="print the path of its kubeconfig")
    commands.add_parser("base-image", help="build the Debian base of the images, and print its name")
    load = commands.add_parser("load-image", help="load image archives into the node")
    load.add_argument("archive", nargs="+", type=Path)
    again = commands.add_parser("restart", help="kill a process and start it again")
    again.add_argument("process")
    return parser


def _up(options: argparse.Namespace, places: Places) -> int:
    up(places, cache_folder(), with_node=not options.control_plane_only)
    (places.work / STARTED_BY_A_RUN).unlink(missing_ok=True)  # whoever asks for it keeps it
    return 0


def _down(_: argparse.Namespace, places: Places) -> int:
    say("the cluster is down" if down(places) else "no cluster was up")
    return 0


def _status(_: argparse.Namespace, places: Places) -> int:
    found = status(places)
    say(f"up, node address {found.address}" if found.running else "not up")
    for name, lives in found.processes.items():
        say(f"  {name}: {'running' if lives else 'ended'}")
    return 0 if found.running else 3


def _kubeconfig(_: argparse.Namespace, places: Places) -> int:
    say(str(places.kubeconfig))
    return 0


def _load_image(options: argparse.Namespace, places: Places) -> int:
    for archive in options.archive:
        load_image(places, archive)
    return 0


def _restart(options: argparse.Namespace, places: Places) -> int:
    processes.restart(places, options.process)
    return 0


def _base_image(_: argparse.Namespace, __: Places) -> int:
    say(base_image(cache_folder()))
    return 0


_COMMANDS = {
    "base-image": _base_image,
    "down": _down,
    "kubeconfig": _kubeconfig,
    "load-image": _load_image,
    "restart": _restart,
    "status": _status,
    "up": _up,
}

if __name__ == "__main__":
    sys.exit(main())
