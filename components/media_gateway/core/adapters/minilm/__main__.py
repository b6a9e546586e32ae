"""The building process that `background.build_in_subprocess` starts; no command for people.

``python -m media_gateway.core.adapters.minilm MODELS_PATH [WHEEL]`` writes one JSON object a line and ends when its
standard input closes, which happens when the process that started it is gone.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from media_gateway.core.adapters.minilm.build import build_model
from media_gateway.core.errors import MediaGatewayError


def main() -> int:
    """Build and report; 0 when the model is there."""
    # Whatever else prints goes to standard error, so that standard output carries the report alone.
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(**what: Any) -> None:
        print(json.dumps(what), file=report, flush=True)

    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(10)  # requests are more urgent
    try:
        build_model(
            Path(sys.argv[1]),
            wheel=Path(sys.argv[2]) if len(sys.argv) > 2 else None,
            progress=lambda doing, share: say(doing=doing, share=share),
        )
    except MediaGatewayError as error:
        say(error=error.code, message=error.message)
        return 1
    return 0


def _end_with_parent() -> None:
    os.read(0, 1)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # this process and the download it may have started
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
