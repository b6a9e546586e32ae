"""Writes ``docs/configuration.md`` from the settings classes; ``--check`` fails when the file is out of date.

Run by ``make docs``. The settings are the only source: a variable that is not in the table does not exist.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from media_gateway.cli.components import COMPONENTS
from media_gateway.core.settings import PREFIX, CoreSettings

INTRODUCTION = """# Configuration

Every process reads these environment variables at its start and refuses to start when one is wrong, with one line that
names it. In a cluster the operator writes them from the MediaGateway resource; `media-gateway up` sets those that its
embedded servers need. Generated from the code by `make docs`; do not edit.
"""


def render() -> str:
    """The whole document, in Markdown."""
    parts = [INTRODUCTION, _section("All components", dict(CoreSettings.model_fields))]
    for name in sorted(COMPONENTS):
        settings = import_module(f"media_gateway.{name}.settings").Settings
        own = {n: f for n, f in settings.model_fields.items() if n not in CoreSettings.model_fields}
        if own:
            parts.append(_section(f"Component `{name}`", own))
    return "\n".join(parts)


def _section(title: str, fields: dict[str, FieldInfo]) -> str:
    rows = [_row(name, field) for name, field in fields.items()]
    return "\n".join(
        [f"## {title}", "", "| variable | default | meaning | example |", "|---|---|---|---|", *rows, ""]
    )


def _row(name: str, field: FieldInfo) -> str:
    example = field.examples[0] if field.examples else ""
    cells = [
        f"`{PREFIX}{name.upper()}`",
        _default(field),
        field.description or "",
        f"`{example}`" if example else "",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return "–" if value is None or value in ({}, ()) else f"`{value}`"


def main() -> int:
    """Write or check; 0 when the file is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if the file is out of date"
    )
    arguments = parser.parse_args()
    text = render()
    if not arguments.check:
        arguments.file.write_text(text, encoding="utf-8")
        return 0
    if arguments.file.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(
        f"{arguments.file} is out of date; run: python -m media_gateway.cli.reference {arguments.file}\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
