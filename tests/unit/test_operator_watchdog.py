"""The thread beside the event loop: it works while the loop does not."""

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys, time
from media_gateway_operator.engine.watchdog import Watchdog

async def main():
    lost = False
    with Watchdog(asyncio.get_running_loop(), lambda: lost):
        await asyncio.sleep(0.8)
        lost = {lost}
        time.sleep({blocked_s})
        await asyncio.sleep(0.8)
    print("ended by itself")

asyncio.run(main())
"""


def run(**values: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(**values)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_lost_lease_ends_the_process_although_the_loop_is_blocked():
    done = run(lost=True, blocked_s=30)
    assert done.returncode == 75
    assert "the lease is lost" in done.stderr
    assert "ended by itself" not in done.stdout


@pytest.mark.parametrize(("blocked_s", "told"), [(3.0, True), (0.0, False)])
def test_what_holds_the_loop_up_is_named(blocked_s, told):
    done = run(lost=False, blocked_s=blocked_s)
    assert done.returncode == 0
    assert ("the event loop is held up" in done.stdout + done.stderr) is told
    if told:
        assert "time.sleep" in done.stdout + done.stderr or "in main" in done.stdout + done.stderr
