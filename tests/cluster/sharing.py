"""Several runs may use one cluster at the same time; whichever is last takes down what a run has started."""

import fcntl
from pathlib import Path
from typing import IO

STARTED_BY_A_RUN = "started-by-a-run"


class Use:
    """One run's use of a cluster.

    Parameters
    ----------
    folder
        The cluster's work folder; kept by whoever takes the cluster down.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._mark = folder / STARTED_BY_A_RUN
        self._users: IO[str] = (folder / "users.lock").open("w")
        fcntl.flock(self._users, fcntl.LOCK_SH)

    def starts(self) -> None:
        """Note that no person asked for the cluster."""
        self._mark.touch()

    def is_to_stop(self) -> bool:
        """Whether this is the last run to use a cluster that a run has started."""
        try:
            # The lock becomes exclusive only if nobody shares it.
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return self._mark.exists()

    def end(self) -> None:
        """Let go."""
        self._users.close()
