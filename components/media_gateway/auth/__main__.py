"""``python -m media_gateway.auth``: auth in its own process."""

import signal
import sys

if __name__ == "__main__":
    # A container's first process ignores a signal that it has no handler for, and importing takes seconds.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    from media_gateway.auth.app import COMPONENT
    from media_gateway.core.web import run_component

    run_component(COMPONENT)
