"""The definitions of the custom resources: generated, bounded, described, and of one mind with the models."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from media_gateway.core.domain.spec_types import Rule, Spec
from media_gateway.core.domain.specs import parse_manifest
from media_gateway.core.errors import InvalidInputError
from media_gateway_operator.crds import __main__ as generator
from media_gateway_operator.crds.definitions import CUSTOM_RESOURCES, CustomResource
from media_gateway_operator.crds.schema import structural_schema
from media_gateway_operator.ingestionjob import outcome, reasons as job_reasons
from media_gateway_operator.mediagateway import reasons as gateway_reasons
from tests.support.manifest_table import Case, cases
from tests.support.processes import REPOSITORY

Node = dict[str, Any]

KINDS = {resource.kind: resource for resource in CUSTOM_RESOURCES}


SCHEMAS: dict[str, Node] = {
    kind: resource.document()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for kind, resource in KINDS.items()
}


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every schema in a schema, by its path."""
    yield path, node
    for name, member in node.get("properties", {}).items():
        yield from nodes(member, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from nodes(node[key], f"{path}[]")


@cache
def all_nodes() -> list[tuple[str, Node]]:
    return [
        (f"{resource.kind}{path}", node)
        for resource in CUSTOM_RESOURCES
        for part in ("spec", "status")
        for path, node in nodes(SCHEMAS[resource.kind]["properties"][part], f".{part}")
    ]


def read(case: Case) -> BaseModel:
    """The manifest as the programs read it."""
    if case.kind == "IngestionJob":
        return parse_manifest(case.document)
    return KINDS[case.kind].spec.model_validate_json(json.dumps(case.document.get("spec")), strict=True)


# Names of the other kinds are the API server's to check: no program reads them before it has.
TABLE = [
    case
    for section in ("accepted", "refused")
    for case in cases(section)
    if case.kind == "IngestionJob" or not case.path.startswith("metadata")
]


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_models_take_what_an_api_server_takes_and_nothing_else(case: Case) -> None:
    if case.accepted or case.models == "accept":
        read(case)
    else:
        with pytest.raises((InvalidInputError, ValidationError)):
            read(case)


def test_the_table_is_large_and_its_cases_are_told_apart() -> None:
    table = [*cases("accepted"), *cases("refused"), *cases("changes"), *cases("defaults")]
    assert len(table) >= 150
    assert {case.kind for case in table} == set(KINDS)
    titles = [(case.kind, case.accepted, case.title) for case in table if not case.filled]
    assert len(titles) == len(set(titles))
    assert all(case.path for case in cases("refused"))


def test_only_decimal_numbers_are_taken_more_kindly_by_the_models() -> None:
    # A number without quotes keeps its digits in a manifest on a laptop; an API server knows texts only.
    assert {case.message for case in TABLE if case.models} == {"must be of type string"}


def rules() -> list[tuple[type[Spec], Rule]]:
    def below(model: type[Spec]) -> Iterator[type[Spec]]:
        for one in model.__subclasses__():
            yield one
            yield from below(one)

    return [(model, rule) for model in set(below(Spec)) for rule in model.RULES]


def test_every_rule_is_checked_by_the_models_unless_it_is_about_a_change() -> None:
    found = rules()
    assert len(found) > 40
    for model, rule in found:
        assert ("oldSelf" in rule.cel) == (rule.holds is None), (model, rule)


def test_every_rule_of_the_models_stands_in_a_definition_with_its_words() -> None:
    told = {rule["message"] for _, node in all_nodes() for rule in node.get("x-kubernetes-validations", ())}
    assert {rule.message for model, rule in rules() if not model.__module__.startswith("tests")} <= told


def test_every_refused_rule_has_a_case_in_the_table() -> None:
    # A rule nobody has seen refuse anything may well be one that never does.
    said = [case.message for case in (*cases("refused"), *cases("changes")) if case.message]
    silent = {
        rule["message"]
        for _, node in all_nodes()
        for rule in node.get("x-kubernetes-validations", ())
        if not any(part in rule["message"] for part in said)
    }
    assert silent <= {
        "names must not be empty",
        "names must not be longer than 60 characters",
        "names must not be longer than 63 characters",
        "names must not be longer than 128 characters",
        "names must not be longer than 200 characters",
        "must be the name of a PriorityClass",
    }


def test_everything_is_bounded() -> None:
    loose = []
    for path, node in all_nodes():
        kind = node.get("type")
        if kind == "string" and not node.keys() & {"maxLength", "enum"}:
            loose.append(path)
        if kind == "array" and "maxItems" not in node:
            loose.append(path)
        if "additionalProperties" in node and "maxProperties" not in node:
            loose.append(path)
    assert loose == []


def test_schemas_are_structural() -> None:
    for path, node in all_nodes():
        if node.get("x-kubernetes-int-or-string"):
            assert "type" not in node, path
            continue
        assert node["type"] in {"object", "array", "string", "integer", "boolean"}, path
        assert not node.keys() & {"$ref", "anyOf", "oneOf", "allOf", "title", "const", "nullable"}, path
        assert "x-kubernetes-preserve-unknown-fields" not in node, path
        assert not ({"properties", "additionalProperties"} <= node.keys()), path


def test_every_member_is_described() -> None:
    bare = [path for path, node in all_nodes() if not path.endswith("[]") and not node.get("description")]
    assert bare == []
    assert [path for path, node in all_nodes() if "``" in node.get("description", "")] == []


def test_a_status_has_no_defaults_and_a_concurrency_policy_has_none() -> None:
    # A default would make a status say what nobody found, and concurrencyPolicy appear without a schedule.
    found = [path for path, node in all_nodes() if "default" in node]
    assert [path for path in found if path.split(".")[1] == "status"] == []
    assert [path for path in found if path.endswith("concurrencyPolicy")] == []


@pytest.mark.parametrize("resource", CUSTOM_RESOURCES, ids=lambda one: one.kind)
def test_defaults_are_what_the_models_have(resource: CustomResource) -> None:
    def filled(node: Node, value: Any) -> Any:
        if isinstance(value, list):
            return [filled(node.get("items", {}), one) for one in value]
        if not isinstance(value, dict):
            return value
        result = dict(value)
        for name, member in node.get("properties", {}).items():
            if name not in result and "default" in member:
                result[name] = member["default"]
            if name in result:
                result[name] = filled(member, result[name])
        return result

    for case in cases("accepted"):
        if case.kind == resource.kind:
            spec = case.document["spec"]
            complete = filled(SCHEMAS[resource.kind]["properties"]["spec"], spec)
            assert resource.spec.model_validate(complete) == resource.spec.model_validate(spec)


def test_lists_of_named_things_are_merged_by_name() -> None:
    keyed = {
        path: node["x-kubernetes-list-map-keys"]
        for path, node in all_nodes()
        if node.get("x-kubernetes-list-type") == "map"
    }
    for kind in KINDS:
        assert keyed[f"{kind}.status.conditions"] == ["type"]
    assert keyed["RateLimitPolicy.spec.limits"] == ["name"]
    assert keyed["MediaGateway.status.components"] == ["name"]


@pytest.mark.parametrize("resource", CUSTOM_RESOURCES, ids=lambda one: one.kind)
def test_a_definition_fits_the_annotation_that_kubectl_apply_makes(resource: CustomResource) -> None:
    assert len(json.dumps(resource.document(), separators=(",", ":"))) < 262_144


def test_released_names_stay() -> None:
    assert {
        (one.kind, one.name, one.short_name, tuple(column.name for column in one.columns))
        for one in CUSTOM_RESOURCES
    } == {
        ("MediaGateway", "mediagateways.mediagateway.io", "mgw",
         ("Ready", "Version", "Components", "SLA", "Age", "Reason", "Message", "P95", "Actuator")),
        ("IngestionJob", "ingestionjobs.mediagateway.io", "ingest",
         ("Phase", "Schedule", "Progress", "Last Success", "Age", "Reason", "Rate", "Next", "Cursor")),
        ("LoRATrainingJob", "loratrainingjobs.mediagateway.io", "lora",
         ("Phase", "Progress", "Loss", "Adapter", "Age", "Attempt", "ETA", "Reason", "Node")),
        ("RateLimitPolicy", "ratelimitpolicies.mediagateway.io", "rlp",
         ("Target", "Mode", "Enforced", "Ack", "Limits", "Age", "Revision", "Overridden-By", "Reason")),
    }  # fmt: skip
    for one in CUSTOM_RESOURCES:
        version = one.document()["spec"]["versions"][0]
        assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
        assert version["subresources"] == {"status": {}}
        assert one.document()["spec"]["names"]["categories"] == ["all", "media-gateway"]


def test_the_files_are_what_the_models_say() -> None:
    assert {
        path.name: path.read_text("utf-8") for path in (REPOSITORY / "crds").glob("*.yaml")
    } == generator.files()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["crds", *arguments])
    return generator.main()


def test_drift_is_told_and_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(tmp_path / "new")) == 0
    folder = tmp_path / "new"
    assert run(monkeypatch, "--check", str(folder)) == 0
    (folder / "ingestionjobs.mediagateway.io.yaml").write_text("old")
    (folder / "gone.mediagateway.io.yaml").write_text("old")
    assert run(monkeypatch, "--check", str(folder)) == 1
    said = capsys.readouterr().err
    assert "gone.mediagateway.io.yaml" in said
    assert "ingestionjobs.mediagateway.io.yaml" in said
    assert f"run: python -m media_gateway_operator.crds {folder}" in said
    assert run(monkeypatch, str(folder)) == 0
    assert {path.name for path in folder.iterdir()} == generator.files().keys()
    assert run(monkeypatch, "--check", str(folder)) == 0


def test_what_a_structural_schema_can_not_say_is_refused() -> None:
    class Choice(Spec):
        value: int | str

    class Loose(Spec):
        value: tuple[int, str]

    with pytest.raises(ValueError, match="no choice of types"):
        structural_schema(Choice, defaults=True)
    with pytest.raises(ValueError, match="prefixItems"):
        structural_schema(Loose, defaults=True)


def manifests() -> list[Any]:
    """Every manifest of a kind of ours in the samples and in the documents."""
    found = []
    for path in sorted((REPOSITORY / "samples").glob("*.yaml")):
        found += [(path.name, one) for one in yaml.safe_load_all(path.read_text("utf-8"))]
    for path in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]:
        for block in re.findall(r"^```yaml\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE):
            found += [(path.name, one) for one in yaml.safe_load_all(block)]
    return [
        pytest.param(one, id=f"{name}:{one['kind']}:{one['metadata']['name']}")
        for name, one in found
        if isinstance(one, dict) and one.get("kind") in KINDS
    ]


@pytest.mark.parametrize("document", manifests())
def test_every_sample_and_every_example_in_the_documents_can_be_read(document: Node) -> None:
    read(Case(document["kind"], "", document))


def reasons_of(module: ModuleType) -> set[str]:
    return {value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}


def test_the_reference_tells_every_reason() -> None:
    text = (REPOSITORY / "docs" / "custom-resources.md").read_text("utf-8")
    known = reasons_of(gateway_reasons) | reasons_of(job_reasons)
    known |= {reason for reason, _ in outcome.EXIT_MEANINGS.values()}
    assert {reason for reason in known if f"`{reason}`" not in text} == set()


def test_the_reference_tells_every_condition_and_name() -> None:
    text = (REPOSITORY / "docs" / "custom-resources.md").read_text("utf-8")
    for resource in CUSTOM_RESOURCES:
        assert f"`{resource.kind}`" in text
        assert f"`{resource.short_name}`" in text
        conditions = SCHEMAS[resource.kind]["properties"]["status"]["properties"]["conditions"]["description"]
        for name in conditions.rstrip(".").split(", "):
            assert f"`{name}`" in text, name
