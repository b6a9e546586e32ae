"""Other users of this machine, for tests that run as root."""

import os
import pwd
import subprocess
import sys
import sysconfig

import pytest

from tests.support.processes import REPOSITORY

running_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give root up")


def python_of_others(user: str) -> str | None:
    """A Python of this version that another user can run with our packages; None if there is none."""
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        check = [candidate, "-c", "import media_gateway.core.adapters.embedded.server"]
        try:
            done = subprocess.run(check, user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[], env=packages(),
                                  check=False, capture_output=True, cwd="/")  # fmt: skip
        except PermissionError:
            continue
        if done.returncode == 0:
            return candidate
    return None


def packages() -> dict[str, str]:
    paths = (REPOSITORY, REPOSITORY / "components", sysconfig.get_path("purelib"))
    return {"PYTHONPATH": ":".join(map(str, paths)), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
