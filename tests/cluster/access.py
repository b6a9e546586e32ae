"""A cluster as the tests see it, whoever provides it."""

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml


class Ability(StrEnum):
    """What a cluster can do beyond answering API requests."""

    NODE = "node"
    """Runs pods."""
    IMAGES = "images"
    """Takes image archives from this machine."""
    NETWORK_POLICY = "network_policy"
    """Enforces NetworkPolicy."""
    REACHABLE = "reachable"
    """This machine reaches pods and Services by their addresses."""
    CONTROL = "control"
    """Parts of its control plane can be restarted."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster."""

    provider: str
    """`kubeconfig`, `kind` or `machine`."""
    kubeconfig: Path
    context: str
    abilities: frozenset[Ability]
    kubectl: Path
    helm: Path
    load: Callable[[Path], None] = field(compare=False)
    tag: Callable[[str, str], None] | None = field(default=None, compare=False)

    def can(self, *abilities: str) -> bool:
        """Whether it has every one of some abilities."""
        return self.abilities >= {Ability(each) for each in abilities}

    def load_image(self, archive: Path) -> None:
        """Make the images of an archive available to pods (``imagePullPolicy`` has to be ``IfNotPresent``)."""
        assert Ability.IMAGES in self.abilities, f"{self.provider} takes no image archives"
        self.load(archive)

    def tag_image(self, image: str, name: str) -> None:
        """Give an image that was loaded another name beside its own."""
        assert self.tag is not None, f"{self.provider} takes no image archives"
        self.tag(image, name)

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which kubectl, helm and the operator find the cluster."""
        path = os.pathsep.join(
            (str(self.kubectl.parent), str(self.helm.parent), os.environ.get("PATH", os.defpath))
        )
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}


class KubectlError(AssertionError):
    """What kubectl said when it failed; an `AssertionError`, so that waiting for it to succeed is possible."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl on one cluster; answers of ``get``, ``apply`` and the like come parsed."""

    cluster: Cluster
    namespace: str | None = None
    """Where commands act that name no other."""

    async def __call__(self, *arguments: str, document: Any = None, timeout_s: float = 60.0) -> Any:
        """Run a command that can answer in JSON, and give the parsed answer.

        One object, or a list of them if the document was a list; None if there was no answer.

        Parameters
        ----------
        *arguments
            As on the command line, without ``-o json``.
        document
            What it reads with ``-f -``: a manifest, several, or text.
        timeout_s
            When to give up.

        Raises
        ------
        KubectlError
            With what it said, if it fails.
        """
        said = await self.text(*arguments, "-o", "json", document=document, timeout_s=timeout_s)
        answers = list(_parsed(said))
        return answers if isinstance(document, list) else next(iter(answers), None)

    async def text(self, *arguments: str, document: Any = None, timeout_s: float = 60.0) -> str:
        """Run any command and give what it printed."""
        command = [str(self.cluster.kubectl), "--context", self.cluster.context]
        if self.namespace is not None:
            command += ["--namespace", self.namespace]
        process = await asyncio.create_subprocess_exec(
            *command, *arguments, env=self.cluster.environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(timeout_s):
                out, err = await process.communicate(_written(document))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {err.decode().strip()}")
        return out.decode()

    def within(self, namespace: str) -> "Kubectl":
        """The same in another namespace."""
        return Kubectl(self.cluster, namespace)


@asynccontextmanager
async def fresh_namespace(kubectl: Kubectl) -> AsyncIterator[Kubectl]:
    """A namespace in which pods have to be restricted; its deletion is begun at the end, and not waited for."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await kubectl("create", "-f", "-", document=document)
    try:
        yield kubectl.within(name)
    finally:
        await asyncio.shield(kubectl.text("delete", "namespace", name, "--wait=false"))


def _parsed(said: str) -> Iterator[Any]:
    # kubectl prints one document after the other, with nothing in between.
    while said := said.strip():
        one, end = json.JSONDecoder().raw_decode(said)
        yield one
        said = said[end:]


def _written(document: Any) -> bytes:
    if document is None:
        return b""
    if isinstance(document, str):
        return document.encode()
    several: Iterable[Any] = document if isinstance(document, list) else [document]
    return yaml.safe_dump_all(several).encode()
