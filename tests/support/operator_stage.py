"""Where the operator is put to the test: a namespace of its own, a faulty proxy, workloads that get on by themselves."""

import itertools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.fake_workloads import FakeWorkloads
from tests.support.kube_api import KubeApi, Upstream
from tests.support.kube_exchange import Seen
from tests.support.kube_proxy import FaultProxy
from tests.support.operator_process import QUICK, OperatorProcess
from tests.support.operator_scenario import (
    Afternoon,
    differences,
    drop_namespace,
    end_state,
    namespace_named,
)
from tests.support.waiting import eventually

_numbers = itertools.count(1)

CALM_S: Final = 1.5
"""How long nothing is written before a namespace counts as settled."""


@dataclass
class Stage:
    """One test's share of an API server.

    Attributes
    ----------
    api : KubeApi
        To the API server itself.
    proxy : FaultProxy
        The operator's way to it.
    """

    api: KubeApi
    namespace: str
    proxy: FaultProxy
    workloads: FakeWorkloads
    folder: Path
    settings: Mapping[str, str] = field(default_factory=lambda: dict(QUICK))

    def operator(
        self, identity: str = "operator-0", *, proxy: FaultProxy | None = None, token_file: Path | None = None
    ) -> OperatorProcess:
        """An operator that works in this namespace only; not started yet."""
        return OperatorProcess(
            kubeconfig=(proxy or self.proxy).kubeconfig(self.folder, token_file=token_file),
            folder=self.folder,
            namespace=self.namespace,
            identity=identity,
            settings={"watch_namespaces": self.namespace, **self.settings},
        )

    def afternoon(self, timeout_s: float = 30.0) -> Afternoon:
        """The scenario in this namespace."""
        return Afternoon(self.api, self.namespace, self.workloads, timeout_s)

    def created(self) -> dict[str, set[str]]:
        """Uids by path of the objects that the operator created, as the server answered (heard by the operator or not)."""
        found: dict[str, set[str]] = {}
        for seen in self.proxy.writes():
            if seen.created and "/events" not in seen.path:
                found.setdefault(seen.path, set()).add(seen.uid)
        return found

    def writes_since(self, number: int) -> list[Seen]:
        """Writes from a request on, Leases and Events left out."""
        return [one for one in self.proxy.writes(number) if "/events" not in one.path]

    async def settled(self, timeout_s: float = 30.0) -> None:
        """Wait until nothing has been written for `CALM_S`."""
        calm_since = time.monotonic()

        def calm() -> bool:
            last = max((one.at for one in self.writes_since(0)), default=0.0)
            return time.monotonic() - max(last, calm_since) > CALM_S

        await eventually(calm, timeout_s=timeout_s, interval_s=0.1)

    async def reached(self, golden: Mapping[str, Any], timeout_s: float = 30.0) -> None:
        """Wait until the namespace looks as it must, and fail with what differs."""

        async def alike() -> bool:
            lines = differences(golden, await end_state(self.api, self.namespace))
            assert not lines, "\n".join(lines)
            return True

        await eventually(alike, timeout_s=timeout_s, interval_s=0.1)


@asynccontextmanager
async def stage(kubeconfig: Path, folder: Path, name: str = "stage") -> AsyncIterator[Stage]:
    """Set one up; the namespace is deleted at the end, without waiting."""
    namespace = f"{name}-{next(_numbers)}"
    async with KubeApi(kubeconfig) as api, FaultProxy(Upstream.of(kubeconfig)) as proxy:
        await api.create(namespace_named(namespace))
        try:
            async with FakeWorkloads(api, namespace) as workloads:
                yield Stage(api, namespace, proxy, workloads, folder)
        finally:
            with suppress(Exception):
                await drop_namespace(api, namespace)
