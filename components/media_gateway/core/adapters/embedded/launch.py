"""Run as a script by `child.Child`: gives up root, ties the process to its parent, becomes the server.

A separate program, since Python code between fork and exec is unsafe in a process with threads, and since the kernel
forgets the parent-death signal when the uid changes, so that it must be set after that and before exec. Standard
library only: it runs with ``-I -S``.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
"""``prctl(2)``: the signal this process gets when the thread that made it ends."""

PARENT_GONE = 75
"""Exit status when the parent died before the tie was made (EX_TEMPFAIL of ``sysexits.h``)."""


def main(arguments: list[str]) -> None:
    """Become ``arguments[4:]``, tied to parent ``[0]`` by signal ``[1]``, as uid ``[2]`` and gid ``[3]`` (``-``: as is)."""
    parent_pid, death_signal, uid, gid, *command = arguments
    os.umask(0o077)
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != int(parent_pid):
        sys.exit(PARENT_GONE)
    os.execv(command[0], command)  # noqa: S606 - becoming the server, without a shell, is this program's purpose


if __name__ == "__main__":
    main(sys.argv[1:])
