"""Turns a pydantic model into a structural OpenAPI v3 schema, as an API server wants it.

Called by `definitions`. References are put in place, `null` goes away (absent is how Kubernetes says it), keys of maps
are bounded by rules, docstrings become descriptions. Knows nothing of any one kind.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from media_gateway.core.domain.spec_types import IN_CODE, VALIDATIONS

Node = dict[str, Any]

_KEPT = (
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
_KNOWN = {
    *_KEPT,
    *IN_CODE,
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "items",
    "properties",
    "propertyNames",
    "title",
    "x-kubernetes-int-or-string",
    VALIDATIONS,
}


def structural_schema(model: type[BaseModel], *, defaults: bool) -> Node:
    """The schema of an object.

    Parameters
    ----------
    model
        Its members' docstrings are the descriptions.
    defaults
        Whether the API server shall fill in what is not given; never in a status, which says only what was found.

    Raises
    ------
    ValueError
        The model uses something that a structural schema can't say.
    """
    document = model.model_json_schema(by_alias=True, schema_generator=_Documented)
    return _Converter(document.pop("$defs", {}), defaults=defaults).convert(document)


@cache
def member_docs(model: type[BaseModel]) -> Mapping[str, str]:
    """Docstrings below the members of a model, its bases' among them."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not issubclass(cls, BaseModel) or cls is BaseModel:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        assert isinstance(body, ast.ClassDef)
        for member, text in zip(body.body, body.body[1:], strict=False):
            match member, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(docstring))),
                ):
                    found[name] = inspect.cleandoc(docstring)
                case _:
                    pass
    return found


class _Documented(GenerateJsonSchema):
    """Pydantic's own, with members' docstrings as descriptions."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        for name, text in member_docs(model).items():
            field = model.model_fields.get(name)
            if field is not None:
                found["properties"][field.alias or name]["description"] = text
        return found


class _Converter:
    def __init__(self, definitions: Mapping[str, Node], *, defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def convert(self, node: Node) -> Node:
        node = self._resolved(node)
        unknown = node.keys() - _KNOWN
        if unknown:
            raise ValueError(f"a structural schema has no {', '.join(sorted(unknown))}")
        if node.get("x-kubernetes-int-or-string"):
            return _int_or_string(node)
        result = {key: node[key] for key in _KEPT if key in node}
        if "const" in node:
            result["enum"] = [node["const"]]
        if "description" in node:
            result["description"] = _prose(node["description"])
        rules = [*node.get(VALIDATIONS, ()), *self._key_rules(node)]
        if any(json.dumps(node.get("pattern")) in rule["rule"] for rule in rules):
            del result["pattern"]  # the rule says the same, in words
        if rules:
            result[VALIDATIONS] = rules
        result |= self._members(node)
        if self._defaults:
            result |= _default(node, result)
        return result

    def _members(self, node: Node) -> Node:
        result: Node = {}
        if "properties" in node:
            result["properties"] = {name: self.convert(member) for name, member in node["properties"].items()}
        for key in ("items", "additionalProperties"):
            if isinstance(node.get(key), dict):
                result[key] = self.convert(node[key])
        return result

    def _resolved(self, node: Node) -> Node:
        """Without references and without null; what stands beside them wins over what they say."""
        rules: list[Any] = list(node.get(VALIDATIONS, ()))
        while True:
            if "$ref" in node:
                target = self._definitions[node["$ref"].rpartition("/")[2]]
            elif "anyOf" in node:
                targets = [one for one in node["anyOf"] if one.get("type") != "null"]
                if len(targets) != 1:
                    raise ValueError(f"a structural schema has no choice of types: {targets}")
                target = targets[0]
            else:
                return {**node, VALIDATIONS: rules} if rules else node
            rules = [*target.get(VALIDATIONS, ()), *rules]
            node = {**target, **{key: value for key, value in node.items() if key not in {"$ref", "anyOf"}}}

    def _key_rules(self, node: Node) -> list[Node]:
        names = self._resolved(node.get("propertyNames", {}))
        found: list[Node] = []
        if "maxLength" in names:
            longest = names["maxLength"]
            found.append(
                {
                    "rule": f"self.all(key, size(key) <= {longest})",
                    "message": f"names must not be longer than {longest} characters",
                }
            )
        if names.get("minLength"):
            found.append({"rule": "self.all(key, size(key) > 0)", "message": "names must not be empty"})
        found += [
            {
                "rule": f"self.all(key, {re.sub(r'^self[.]', 'key.', rule['rule'])})",
                "message": f"names {rule['message']}",
            }
            for rule in names.get(VALIDATIONS, ())
        ]
        return found


def _int_or_string(node: Node) -> Node:
    found: Node = {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
        "pattern": node["pattern"],
        "maxLength": node["maxLength"],
    }
    if "description" in node:
        found["description"] = _prose(node["description"])
    return found


def _default(node: Node, converted: Node) -> Node:
    """What the API server fills in: single values, and objects in which there is something to fill in."""
    value = node.get("default")
    if value is None or value in ("", [], {}) or node.keys() & IN_CODE.keys():
        return {}
    if not isinstance(value, dict):
        return {"default": value}
    # Rules are tried on a default as it is written, before members' defaults are filled in; so all of them stand in it.
    members = converted.get("properties", {}).items()
    filled = {name: member["default"] for name, member in members if "default" in member}
    return {"default": filled} if filled else {}


def _prose(text: str) -> str:
    """Running text of a docstring: its lines joined, its markup of code as Markdown has it."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text.replace("``", "`"))]
    return "\n\n".join(part for part in paragraphs if part)
