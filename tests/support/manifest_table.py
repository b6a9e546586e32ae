"""The table of manifests in ``tests/data/manifests``: one file a kind, read for API servers and for the models alike."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import REPOSITORY

FOLDER = REPOSITORY / "tests" / "data" / "manifests"

Object = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One manifest and what is to become of it."""

    kind: str
    title: str
    document: Object
    path: str = ""
    """Path that the refusal has to name."""
    message: str = ""
    """Part of the refusal; empty where the manifest is accepted."""
    models: str = ""
    """``accept`` where the models take, on purpose, what an API server refuses."""
    before: Object = field(default_factory=dict)
    """The object that is changed, for a change."""
    status: Object = field(default_factory=dict)
    filled: Object = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether an API server takes it."""
        return not self.message

    def __str__(self) -> str:
        return f"{self.kind}: {self.title}"


def merged(base: Any, change: Any) -> Any:
    """RFC 7386: null takes away."""
    if not isinstance(change, dict):
        return change
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def cases(section: str) -> list[Case]:
    """All cases of a section: ``accepted``, ``refused``, ``changes`` or ``defaults``."""
    return [case for path in sorted(FOLDER.glob("*.yaml")) for case in _cases(path, section)]


def _cases(path: Path, section: str) -> Iterator[Case]:
    table = _table(path)
    for number, row in enumerate(table[section]):
        name = row.get("name", f"{section}-{number}")
        before = _document(table, name, row.get("before", {}))
        if section == "changes":
            document = {**before, "spec": merged(before["spec"], row["after"])}
        else:
            document = _document(table, name, row.get("set", {}))
        document["spec"].update(dict.fromkeys(row.get("set_null", ())))
        yield Case(
            kind=table["kind"],
            title=row["case"],
            document=merged(document, row.get("document", {})),
            path=row.get("field", ""),
            message=row.get("message", ""),
            models=row.get("models", ""),
            before=before,
            status=row.get("status", {}),
            filled=row.get("filled", {}),
            absent=tuple(row.get("absent", ())),
        )


@cache
def _table(path: Path) -> Object:
    table: Object = yaml.safe_load(path.read_text(encoding="utf-8"))
    return table


def _document(table: Object, name: str, change: Object) -> Object:
    return {
        "apiVersion": "mediagateway.io/v1alpha1",
        "kind": table["kind"],
        "metadata": {"name": name},
        "spec": merged(deepcopy(table["base"]), change),
    }
