"""Debian packages the cluster runs on, installed when they are missing."""

import os
import shutil
from pathlib import Path

from tests.cluster.machine.commands import ClusterError, environment, run, say

PROGRAMS = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "go": "golang",
    "ip": "iproute2",
    "ipset": "ipset",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "nsenter": "util-linux",
    "runc": "runc",
    "sysctl": "procps",
}
"""Program: the Debian package it comes in."""

FILES = {"/usr/lib/cni/bridge": "containernetworking-plugins"}
"""The same for files that are no program on the path."""


def missing(*programs: str) -> list[str]:
    """Packages that are needed for some programs (all, if none is named) and not installed."""
    lacking = [
        PROGRAMS[name]
        for name in programs or PROGRAMS
        if shutil.which(name, path=environment()["PATH"]) is None
    ]
    if not programs:
        lacking += [package for file, package in FILES.items() if not Path(file).exists()]
    return sorted(lacking)


def require(*programs: str) -> None:
    """Install what is missing, and say so.

    Raises
    ------
    ClusterError
        If something is missing and this is no Debian, or not root.
    """
    lacking = missing(*programs)
    if not lacking:
        return
    names = " ".join(lacking)
    if shutil.which("apt-get") is None:
        raise ClusterError(f"install {names}: this machine has no apt-get, so it can't be done here")
    if os.geteuid() != 0:
        raise ClusterError(
            f"missing Debian packages; as root: apt-get install --no-install-recommends {names}"
        )
    say(f"installing Debian packages: {names}")
    quiet = {**environment(), "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", timeout_s=300, env=quiet)
    run("apt-get", "install", "-qqy", "--no-install-recommends", *lacking, timeout_s=900, env=quiet)
