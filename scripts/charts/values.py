"""Reads a chart's ``values.yaml`` with what its comments say of each value.

Used by `outputs`. The file is the only source of the chart's schema and of its README table::

    # -- What the value means; may go on
    # over several lines.
    # @schema {"minimum": 1}
    replicaCount: 2

A type is taken from the default; ``@schema`` adds to it, and must be given where the default says nothing (``null``, ``{}``,
``[]``). An object with keys is a level of ours: no other key may be given in it, unless its ``@schema`` says so.
``@crd PLURAL`` takes the schema from the spec of a custom resource definition.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

_TYPES: Final = {
    "tag:yaml.org,2002:str": "string",
    "tag:yaml.org,2002:int": "integer",
    "tag:yaml.org,2002:bool": "boolean",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:map": "object",
    "tag:yaml.org,2002:seq": "array",
}


class ChartError(Exception):
    """A chart's source can't be read; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a chart.

    Attributes
    ----------
    path : str
        Dotted: ``image.tag``; empty for the whole file.
    type : str
        JSON Schema's name for the type of the default; empty for ``null``.
    default : Any
        As in the file.
    description : str
        Of one line.
    extra : dict[str, Any]
        What ``@schema`` adds.
    crd : str
        Plural of the custom resource whose spec this is; mostly empty.
    children : Sequence[Value]
        The values below, in the file's order.
    """

    path: str
    type: str
    default: Any
    description: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    crd: str = ""
    children: Sequence["Value"] = ()

    @property
    def owned(self) -> bool:
        """Whether it is a level of the chart's own: an object whose keys are the values below it."""
        return bool(self.children) and "additionalProperties" not in self.extra


def read_values(file: Path) -> Value:
    """The values of a chart, as a tree.

    Raises
    ------
    ChartError
        A value has no description, or its type can't be known.
    """
    text = file.read_text("utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ChartError(f"{file}: must be a mapping")
    return _Reader(file, text.splitlines()).value(root, "", -1)


class _Reader:
    def __init__(self, file: Path, lines: Sequence[str]) -> None:
        self._file = file
        self._lines = lines

    def value(self, node: yaml.Node, path: str, line: int) -> Value:
        description, extra, crd = self._comment(line, path)
        type_ = _TYPES.get(node.tag, "")
        children: list[Value] = []
        # Below @schema and @crd lie examples or defaults of somebody else's shape, which need no words of ours.
        if isinstance(node, yaml.MappingNode) and not crd and "additionalProperties" not in extra:
            for key, child in node.value:
                children.append(self.value(child, f"{path}.{key.value}".lstrip("."), key.start_mark.line))
        if path and not children and not description:
            raise ChartError(f"{self._file}:{line + 1}: {path} needs a line '# -- …' that says what it means")
        empty = not isinstance(node, yaml.ScalarNode) and not node.value
        if not crd and not extra and (not type_ or empty):
            raise ChartError(
                f"{self._file}:{line + 1}: {path} needs '# @schema …': its default tells no type"
            )
        default = yaml.safe_load(yaml.serialize(node))
        return Value(path, type_, default, description, extra, crd, children)

    def _comment(self, line: int, path: str) -> tuple[str, dict[str, Any], str]:
        block: list[str] = []
        while line > 0 and self._lines[line - 1].lstrip().startswith("#"):
            line -= 1
            block.insert(0, self._lines[line].strip().removeprefix("#").strip())
        begin = max((i for i, text in enumerate(block) if text.startswith("-- ")), default=len(block))
        words: list[str] = []
        extra: dict[str, Any] = {}
        crd = ""
        for text in block[begin:]:
            if match := re.fullmatch(r"@schema (.+)", text):
                try:
                    extra = json.loads(match[1])
                except ValueError as error:
                    raise ChartError(f"{self._file}: {path}: @schema is no JSON object: {error}") from error
            elif match := re.fullmatch(r"@crd (\S+)", text):
                crd = match[1]
            else:
                words.append(text.removeprefix("-- "))
        return " ".join(words), extra, crd
