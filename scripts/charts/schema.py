"""``values.schema.json`` of a chart, from its values and the custom resource definitions.

Used by `outputs`. Helm checks the merged values against it before it renders anything, so a mistyped key is refused by name.
"""

from collections.abc import Mapping
from typing import Any, Final

from scripts.charts.values import ChartError, Value

Schema = dict[str, Any]

_KEPT: Final = (
    "type", "description", "default", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems",
    "maxItems", "minProperties", "maxProperties", "required",
)  # fmt: skip
"""Of an OpenAPI schema in a definition; the rest is the API server's own (``x-kubernetes-…``, ``format``)."""


def values_schema(chart: str, values: Value, specs: Mapping[str, Schema]) -> Schema:
    """The JSON Schema (draft 7) of a chart's values.

    Parameters
    ----------
    specs
        Plural of a custom resource to the schema of its spec.
    """
    schema = _schema(values, specs)
    # A parent chart hands its `global` down to every subchart.
    schema["properties"]["global"] = {
        "type": "object",
        "description": "Values of a parent chart; not read here.",
    }
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": f"Values of {chart}", **schema}


def from_openapi(source: Mapping[str, Any]) -> Schema:
    """A definition's OpenAPI schema as JSON Schema that refuses unknown fields, as the API server only warns of them.

    Rules in CEL stay behind: the API server has them, and says which one was broken.
    """
    result = {key: source[key] for key in _KEPT if key in source}
    if source.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
    if source.get("nullable"):
        result["type"] = [result["type"], "null"]
    if "properties" in source:
        result["properties"] = {name: from_openapi(child) for name, child in source["properties"].items()}
        result["additionalProperties"] = False
    elif isinstance(source.get("additionalProperties"), dict):
        result["additionalProperties"] = from_openapi(source["additionalProperties"])
    if "items" in source:
        result["items"] = from_openapi(source["items"])
    return result


def _schema(value: Value, specs: Mapping[str, Schema]) -> Schema:
    words = {"description": value.description} if value.description else {}
    if value.crd:
        if value.crd not in specs:
            raise ChartError(f"{value.path}: there is no custom resource definition {value.crd!r} in crds/")
        # What is required stands in the resource: the chart fills some of it in, and the API server asks for the rest.
        spec = {**from_openapi(specs[value.crd]), **words}
        spec.pop("required", None)
        return spec
    schema: Schema = {**words, **({"type": value.type} if value.type else {}), **value.extra}
    if value.owned:
        schema["additionalProperties"] = False
        schema["properties"] = {
            child.path.rpartition(".")[2]: _schema(child, specs) for child in value.children
        }
    return schema
