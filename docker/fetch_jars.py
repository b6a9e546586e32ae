"""Fetch the jars of a list from a Maven repository, each with its SHA-256: the builder stage of dev-backends-kafka.

Run as ``fetch_jars.py REPOSITORY LIST TARGET CACHE``. A line of the list is a digest and the path in the repository.
``scripts/lock-kafka`` writes it.
"""

import hashlib
import os
import shutil
import ssl
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

CA_BUNDLE = Path("/run/ca-bundle.pem")
TIMEOUT_S = 60.0
AT_ONCE = 8


def main(repository: str, listed: Path, target: Path, cache: Path) -> None:
    """Fill ``target``."""
    lines = [line.split() for line in listed.read_text().splitlines() if line and not line.startswith("#")]
    target.mkdir(parents=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        fetch = partial(_fetch, repository.rstrip("/"), target, cache)
        for failure in filter(None, pool.map(fetch, lines)):
            sys.exit(failure)


def _fetch(repository: str, target: Path, cache: Path, line: list[str]) -> str | None:
    """What is wrong, or None."""
    digest, path = line
    kept = cache / digest
    if not kept.exists():
        context = ssl.create_default_context(
            cafile=str(CA_BUNDLE) if CA_BUNDLE.exists() and CA_BUNDLE.stat().st_size else None
        )
        try:
            with urllib.request.urlopen(f"{repository}/{path}", timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310
                content = answer.read()
        except OSError as error:
            return f"{path}: {error}"
        if hashlib.sha256(content).hexdigest() != digest:
            return f"{path} has not the expected SHA-256 {digest}"
        part = cache / f".{digest}.{os.getpid()}"
        part.write_bytes(content)
        part.replace(kept)
    shutil.copyfile(kept, target / path.rpartition("/")[2])
    return None


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
