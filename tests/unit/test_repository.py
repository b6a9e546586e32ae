"""Claims about the repository itself that no linter checks."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from media_gateway.core.domain.specs import load_manifest

ROOT = Path(__file__).parents[2]


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listing.stdout.splitlines()]


def test_operator_folder_never_shadows_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_lock_files_carry_hashes_and_no_address() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "--hash=sha256:" in text, path.name
        assert not re.search(r"://|--(extra-)?index-url|--find-links", text), path.name


def test_files_stay_small() -> None:
    too_long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in tracked("*.py")
        if path.exists() and (lines := len(path.read_text().splitlines())) > 400
    ]
    assert not too_long


def test_functions_stay_small() -> None:
    too_long = []
    for path in tracked("components/*.py", "operator/*.py"):
        for node in ast.walk(ast.parse(path.read_text())) if path.exists() else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > 50:
                    too_long.append(f"{path.relative_to(ROOT)}: {node.name}, {lines} lines")
    assert not too_long


def test_the_manifest_in_the_readme_is_one(tmp_path: Path) -> None:
    block = (ROOT / "README.md").read_text(encoding="utf-8").split("```yaml\n", 1)[1].split("```", 1)[0]
    manifest = tmp_path / "job.yaml"
    manifest.write_text(block)
    assert load_manifest(manifest).metadata.name == "my-films"


def test_the_demo_sample_is_the_job_that_up_runs() -> None:
    packaged = load_manifest(ROOT / "components/media_gateway/ingestion/demo-job.yaml")
    sample = load_manifest(ROOT / "samples/ingestionjob-demo.yaml")
    assert packaged.spec == sample.spec


@pytest.mark.parametrize("folder", ["unit", "contract", "integration", "support"])
def test_test_folders_are_packages(folder: str) -> None:
    assert (ROOT / "tests" / folder / "__init__.py").exists()


def test_every_lock_is_current() -> None:
    """Each dependency of ``pyproject.toml`` is pinned in the runtime lock."""
    text = (ROOT / "pyproject.toml").read_text()
    block = text.split("dependencies = [", 1)[1].split("\n]", 1)[0]
    names = {m.lower().replace("_", "-") for m in re.findall(r'"([A-Za-z0-9_-]+)', block)}
    pinned = {
        line.split("==")[0]
        for line in (ROOT / "requirements/runtime.txt").read_text().splitlines()
        if "==" in line
    }
    assert names <= pinned, names - pinned
