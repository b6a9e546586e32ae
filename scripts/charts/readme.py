"""The table of values in a chart's README, between two markers.

Used by `outputs`; everything outside the markers is written by hand.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from scripts.charts.values import ChartError, Value

BEGIN: Final = "<!-- values: generated from values.yaml by `make charts` -->"
END: Final = "<!-- /values -->"


def with_table(readme: str, values: Value, specs: Mapping[str, dict[str, Any]]) -> str:
    """The README with a fresh table.

    Raises
    ------
    ChartError
        A marker is missing.
    """
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ChartError(f"a chart's README needs the lines {BEGIN!r} and {END!r}")
    lines = ["| value | type | default | meaning |", "|---|---|---|---|", *_rows(values, specs)]
    return f"{head}{begin}\n" + "\n".join(lines) + f"\n{end}{tail}"


def _rows(value: Value, specs: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    if value.owned:
        for child in value.children:
            yield from _rows(child, specs)
        return
    yield _row(value.path, _type(value), value.default, value.description)
    if value.crd:
        for name, field in specs[value.crd]["properties"].items():
            row = (field.get("type", "any"), field.get("default"), field.get("description", ""))
            yield _row(f"{value.path}.{name}", *row)


def _type(value: Value) -> str:
    types = value.extra.get("type", value.type or "any")
    return " or ".join(types) if isinstance(types, list) else str(types)


def _row(path: str, type_: str, default: Any, description: str) -> str:
    shown = "–" if default is None else f"`{json.dumps(default, ensure_ascii=False)}`"
    cells = (f"`{path}`", type_, shown, " ".join(description.split()))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
