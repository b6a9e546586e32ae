"""What the Dockerfile says that each target is made from. Used by ``scripts/images``; standard library only."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


class ImageError(Exception):
    """An image can't be built; the message says why."""


@dataclass
class Stage:
    """A stage of the Dockerfile: its text, the stages it builds on and the paths it copies from the repository."""

    text: list[str]
    stages: set[str]
    paths: list[str] = field(default_factory=list)
    is_target: bool = False


def read_stages(dockerfile: Path) -> dict[str, Stage]:
    """The stages by name, in order; ``""`` is what stands before the first."""
    stages = {"": Stage([], set())}
    current = stages[""]
    for line in _logical_lines(dockerfile.read_text(encoding="utf-8")):
        words = line.split()
        if words[0] == "FROM":
            current = stages[words[3]] = Stage([], {words[1]})
        elif words[0] == "COPY":
            origin = [word.removeprefix("--from=") for word in words[1:] if word.startswith("--from=")]
            current.stages.update(origin)
            if not origin:
                current.paths += [word for word in words[1:-1] if not word.startswith("--")]
        elif words[0] == "LABEL" and "org.opencontainers.image.title" in line:
            current.is_target = True
        current.text.append(line)
    return stages


def _logical_lines(text: str) -> Iterator[str]:
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in kept.replace("\\\n", " ").splitlines():
        if line.strip():
            yield " ".join(line.split())


def needed(stages: dict[str, Stage], target: str) -> list[str]:
    """Names of the stages that a target is made of, in the file's order."""
    found: set[str] = set()
    waiting = [target]
    while waiting:
        name = waiting.pop()
        if name in stages and name not in found:
            found.add(name)
            waiting += stages[name].stages
    return [name for name in stages if name in found or not name]


def digest(stages: dict[str, Stage], target: str, root: Path, *, base: str = "") -> str:
    """Of everything a target is made from: its part of the Dockerfile, the files it copies, the base."""
    whole = hashlib.sha256(base.encode())
    for name in needed(stages, target):
        for line in stages[name].text:
            whole.update(f"{line}\n".encode())
        for path in stages[name].paths:
            for file in _files(root / path):
                executable = os.access(file, os.X_OK)
                whole.update(f"{file.relative_to(root)} {executable} {file.stat().st_size}\n".encode())
                whole.update(file.read_bytes())
    return whole.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file
    else:
        raise ImageError(f"the Dockerfile copies {path}, which does not exist")
