"""Programs of the system, run with a failure that says what was run and what it answered."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class ClusterError(Exception):
    """The cluster can't do what was asked; the message says what to do about it."""


def run(*arguments: str | Path, timeout_s: float = 120.0, **options: Any) -> str:
    """Run a program to its end and give its standard output.

    Parameters
    ----------
    *arguments
        Program and arguments.
    timeout_s
        When to give up.
    **options
        Passed on to `subprocess.run`.

    Raises
    ------
    ClusterError
        If the program is missing, fails or takes too long.
    """
    command = [str(argument) for argument in arguments]
    options.setdefault("env", environment())
    try:
        done = subprocess.run(
            command,
            check=False,
            text=True,
            timeout=timeout_s,
            capture_output=True,
            **options,
        )
    except FileNotFoundError:
        raise ClusterError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{spoken(command)} took longer than {timeout_s:g} s") from None
    if done.returncode:
        raise ClusterError(
            f"{spoken(command)} failed ({done.returncode}): {_end(done.stderr or done.stdout)}"
        )
    return str(done.stdout)


def environment() -> dict[str, str]:
    """The caller's environment, with the folders that half of Debian's network programs live in.

    A user's path has them not, and `su` keeps the user's path.
    """
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": os.pathsep.join((path, "/usr/local/sbin", "/usr/sbin", "/sbin"))}


def attempt(*arguments: str | Path, timeout_s: float = 30.0, **options: Any) -> bool:
    """Run a program whose failure is an answer.

    Returns
    -------
    Whether it succeeded.
    """
    try:
        run(*arguments, timeout_s=timeout_s, **options)
    except ClusterError:
        return False
    return True


def spoken(command: Sequence[str]) -> str:
    """A command line as a person would quote it, shortened."""
    line = " ".join(command)
    return f"`{line}`" if len(line) <= 200 else f"`{line[:200]} …`"


def _end(text: str) -> str:
    return text.strip()[-2000:] or "no output"


def say(message: str) -> None:
    """Tell the person at the terminal what happens now."""
    print(message, flush=True)
