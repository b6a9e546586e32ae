"""Every generated file of the charts, as text.

Used by ``python -m scripts.charts`` and by the tests. Reads ``crds/``, each chart's ``values.yaml`` and README, and the
version of the distribution; writes nothing.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts.charts.readme import with_table
from scripts.charts.schema import values_schema
from scripts.charts.values import ChartError, read_values

__all__ = ["ChartError", "leftovers", "outputs"]

CHARTS = ("media-gateway", "media-gateway-operator")
CRD_CHART = "media-gateway-operator"


def outputs(root: Path) -> dict[Path, str]:
    """Path and content of each generated file.

    Raises
    ------
    ChartError
        A source is wrong; the message names it.
    """
    definitions = {file: file.read_text("utf-8") for file in sorted((root / "crds").glob("*.yaml"))}
    parsed = [yaml.safe_load(text) for text in definitions.values()]
    specs = {crd["spec"]["names"]["plural"]: _spec_schema(crd) for crd in parsed}
    result: dict[Path, str] = {}
    for chart in CHARTS:
        folder = root / "charts" / chart
        values = read_values(folder / "values.yaml")
        schema = values_schema(chart, values, specs)
        result[folder / "values.schema.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        result[folder / "README.md"] = with_table((folder / "README.md").read_text("utf-8"), values, specs)
        result[folder / "Chart.yaml"] = _with_version(
            (folder / "Chart.yaml").read_text("utf-8"), _version(root)
        )
    for file, text in definitions.items():
        result[_templates(root) / file.name] = _crd_template(file.name, text)
    return result


def leftovers(root: Path, wanted: Iterable[Path]) -> list[Path]:
    """Copies of definitions that are no longer in ``crds/``."""
    return sorted(set(_templates(root).glob("*.yaml")) - set(wanted))


def _templates(root: Path) -> Path:
    return root / "charts" / CRD_CHART / "templates/crds"


def _spec_schema(crd: Mapping[str, Any]) -> dict[str, Any]:
    stored = next(version for version in crd["spec"]["versions"] if version["storage"])
    schema: dict[str, Any] = stored["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def _version(root: Path) -> str:
    text = (root / "components/media_gateway/__init__.py").read_text("utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise ChartError("components/media_gateway/__init__.py names no __version__")
    return match[1]


def _with_version(chart: str, version: str) -> str:
    text = re.sub(r"^version: .*$", f"version: {version}", chart, flags=re.MULTILINE)
    return re.sub(r"^appVersion: .*$", f'appVersion: "{version}"', text, flags=re.MULTILINE)


def _crd_template(name: str, text: str) -> str:
    head, marker, spec = text.partition("\nspec:\n")
    if not marker:
        raise ChartError(f"crds/{name}: 'spec:' must come last, in a line of its own")
    metadata = yaml.safe_load(head)["metadata"]
    annotations = "".join(
        f"    {json.dumps(key)}: {json.dumps(value)}\n"
        for key, value in metadata.get("annotations", {}).items()
    )
    keep = "    {{- if .Values.crds.keep }}\n    helm.sh/resource-policy: keep\n    {{- end }}\n"
    if annotations:
        block = f"  annotations:\n{annotations}{keep}"
    else:
        block = (
            "  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n"
        )
    return (
        f"{{{{- /* Copied from crds/{name} by `make charts`. */ -}}}}\n"
        "{{- if .Values.crds.enabled }}\n"
        "apiVersion: apiextensions.k8s.io/v1\n"
        "kind: CustomResourceDefinition\n"
        "metadata:\n"
        f"  name: {metadata['name']}\n"
        "  labels:\n"
        '    {{- include "media-gateway-operator.labels" . | nindent 4 }}\n'
        f"{block}"
        "spec:\n"
        # A message or description may hold braces; Helm must not take them for its own.
        + re.sub(r"\{\{|\}\}", lambda braces: f'{{{{ "{braces[0]}" }}}}', spec.rstrip("\n"))
        + "\n{{- end }}\n"
    )
