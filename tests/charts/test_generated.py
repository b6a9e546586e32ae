"""What the charts generate is current, and the generator says what it can't read."""

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from scripts.charts.outputs import outputs
from scripts.charts.schema import from_openapi
from scripts.charts.values import ChartError, read_values
from tests.charts.helm import CHARTS, GATEWAY, OPERATOR, ROOT, Helm


def test_generated_files_are_current():
    done = subprocess.run(
        [sys.executable, "-m", "scripts.charts", "--check"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_every_definition_has_a_copy_in_the_chart():
    definitions = {path.name for path in (ROOT / "crds").glob("*.yaml")}
    copies = {path.name for path in (CHARTS / OPERATOR / "templates/crds").glob("*.yaml")}
    assert len(definitions) == 4
    assert copies == definitions


def test_rendered_definitions_are_the_definitions(helm: Helm):
    rendered = {
        manifest["metadata"]["name"]: manifest["spec"]
        for manifest in helm.render(OPERATOR)
        if manifest["kind"] == "CustomResourceDefinition"
    }
    source = [yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "crds").glob("*.yaml")]
    assert rendered == {crd["metadata"]["name"]: crd["spec"] for crd in source}


@pytest.mark.parametrize("chart", [OPERATOR, GATEWAY])
def test_no_level_of_a_chart_takes_unknown_keys(chart):
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text("utf-8"))
    open_levels = []

    def visit(node: dict[str, Any], path: str) -> None:
        if "properties" in node and node.get("additionalProperties") is not False:
            open_levels.append(path)
        for name, child in node.get("properties", {}).items():
            visit(child, f"{path}.{name}")
        if isinstance(node.get("items"), dict):
            visit(node["items"], f"{path}[]")

    visit(schema, "")
    assert open_levels == []


def test_gateway_schema_has_every_field_of_the_spec():
    schema = json.loads((CHARTS / GATEWAY / "values.schema.json").read_text("utf-8"))
    (file,) = (ROOT / "crds").glob("*mediagateways*.yaml")
    version = yaml.safe_load(file.read_text("utf-8"))["spec"]["versions"][0]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert set(schema["properties"]["spec"]["properties"]) == set(spec["properties"])
    assert {"profile", "components", "dependencies"} <= set(spec["properties"])


def test_every_output_can_be_made_twice():
    assert outputs(ROOT) == outputs(ROOT)


def test_openapi_becomes_closed_json_schema():
    source = {
        "type": "object",
        "x-kubernetes-validations": [{"rule": "true"}],
        "required": ["a"],
        "properties": {
            "a": {"type": "string", "format": "date-time", "nullable": True},
            "b": {"x-kubernetes-int-or-string": True},
            "c": {"type": "object", "additionalProperties": {"type": "object", "properties": {"d": {}}}},
            "e": {"type": "array", "items": {"type": "object", "properties": {}}},
        },
    }
    assert from_openapi(source) == {
        "type": "object",
        "required": ["a"],
        "additionalProperties": False,
        "properties": {
            "a": {"type": ["string", "null"]},
            "b": {"type": ["integer", "string"]},
            "c": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"d": {}},
                },
            },
            "e": {
                "type": "array",
                "items": {"type": "object", "additionalProperties": False, "properties": {}},
            },
        },
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n", "values.yaml:1: a needs a line '# -- …' that says what it means"),
        ("b:\n  # nothing said\n  a: 1\n", "values.yaml:3: b.a needs a line '# -- …'"),
        ("# -- A.\na: {}\n", "values.yaml:2: a needs '# @schema …': its default tells no type"),
        ("# -- A.\na: []\n", "a needs '# @schema …'"),
        ("# -- A.\na: null\n", "a needs '# @schema …'"),
        ("# -- A.\n# @schema {type: integer}\na: null\n", "a: @schema is no JSON object"),
        ("- 1\n", "must be a mapping"),
    ],
)
def test_values_without_words_or_types_are_refused(tmp_path, text, message):
    file = tmp_path / "values.yaml"
    file.write_text(text)
    with pytest.raises(ChartError) as error:
        read_values(file)
    assert message in str(error.value)


def test_values_keep_their_words_types_and_order(tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(
        '# Not of it.\nb:\n  # -- One\n  # two.\n  # @schema {"minimum": 1}\n  a: 3\n# -- C.\nc: "x"\n'
    )
    root = read_values(file)
    (b, c) = root.children
    (a,) = b.children
    assert (a.path, a.type, a.default, a.description, a.extra) == (
        "b.a",
        "integer",
        3,
        "One two.",
        {"minimum": 1},
    )
    assert (c.path, c.type, c.default) == ("c", "string", "x")
    assert b.owned
