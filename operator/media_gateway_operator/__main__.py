"""``python -m media_gateway_operator``: the operator as a process.

Exits with 0 after a signal, 75 when the lease was lost, 78 for a wrong setting, 1 for a defect.
"""

import argparse
import asyncio
import gc
import sys
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.settings import CoreSettings
from media_gateway.core.telemetry import configure_logging
from media_gateway_operator.app import assembled, reconcilers
from media_gateway_operator.kube.config import Access, find_access
from media_gateway_operator.settings import OperatorSettings, load_settings, settings_help

EXIT_CONFIG: Final = 78
"""EX_CONFIG of sysexits.h: restarting changes nothing, somebody must act."""

_log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m media_gateway_operator",
        description="Runs MediaGateways and IngestionJobs in a Kubernetes cluster, found by KUBECONFIG or the pod's "
        "service account.",
        epilog=settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    try:
        settings, access = load_settings(), find_access()
        configure_logging(
            CoreSettings(log_level=settings.log_level, log_format=settings.log_format), service="operator"
        )
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(settings, access))
    except NotConfiguredError as error:
        sys.stderr.write(f"{error.message}\n")
        return EXIT_CONFIG
    except RuntimeError:
        _log.exception("the operator ended")
        return 1
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    # Its TLS is not written in Python, which halves what a request costs.
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(settings: OperatorSettings, access: Access) -> None:
    # What is imported is never garbage: looking through it again and again would cost a tenth of the processor's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)
    async with assembled(settings, access, reconcilers(settings)) as operator:
        await operator.run()


if __name__ == "__main__":
    sys.exit(main())
