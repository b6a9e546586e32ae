"""The transcript of the README, run against a real installation and compared with what it says."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

MARK = "<!-- transcript"

VOLATILE = (
    (re.compile(r'"id": "[0-9a-f-]{36}"'), '"id": "…"'),
    (re.compile(r'"search_time_ms": [0-9.]+'), '"search_time_ms": …'),
    # Term statistics count documents that were replaced until their segment is merged away.
    (re.compile(r'("relevance_score": [0-9]\.[0-9])[0-9]*'), r"\1…"),
)
"""What differs from one installation and one answer to the next."""


def commands(document: Path) -> list[tuple[str, str]]:
    """The commands of the marked block, each with the output printed below it."""
    block = (
        document.read_text(encoding="utf-8").split(MARK, 1)[1].split("```console\n", 1)[1].split("```", 1)[0]
    )
    steps = [step for step in re.split(r"^\$ ", block, flags=re.MULTILINE) if step.strip()]
    return [_step(step) for step in steps]


def _step(step: str) -> tuple[str, str]:
    lines = step.splitlines()
    length = next(n for n, line in enumerate(lines, 1) if not line.endswith("\\"))
    return "\n".join(lines[:length]), "\n".join(lines[length:]).strip()


async def said(command: str, addresses: Mapping[str, str]) -> str:
    """What a command prints, run in a shell with other addresses in place of the documented ones."""
    for documented, real in addresses.items():
        command = command.replace(documented, real)
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    return out.decode().strip()


def steady(text: str) -> str:
    """A text with its volatile parts masked."""
    for pattern, mask in VOLATILE:
        text = pattern.sub(mask, text)
    return text
