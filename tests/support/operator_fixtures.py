"""Fixtures of the tests that drive the operator as a process against an API server of their own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane import ControlPlane, install_crds
from tests.support.kube_api import KubeApi
from tests.support.operator_scenario import end_state
from tests.support.operator_stage import Stage, stage
from tests.support.servers import run_here


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """An API server for the session, the CRDs of this tree installed; its programs are built if they are not yet."""
    from tests.cluster.machine.places import cache_folder
    from tests.cluster.machine.programs import programs
    from tests.cluster.providers import chosen

    if (provider := chosen().name) != "machine":
        pytest.skip(f"{provider}: an API server of the tests' own is built with the machine cluster only")

    async def begin(plane: ControlPlane) -> None:
        await plane.ready()
        async with KubeApi(plane.kubeconfig) as api:
            await install_crds(api)

    with ControlPlane(programs(cache_folder())) as plane:
        run_here(begin(plane))
        yield plane


@pytest.fixture
async def own_stage(
    control_plane: ControlPlane, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Stage]:
    """A namespace, a proxy and fake workloads."""
    name = request.node.originalname.replace("_", "-").removeprefix("test-")[:30].rstrip("-")
    async with stage(control_plane.kubeconfig, tmp_path, name) as own:
        yield own


@pytest.fixture(scope="session")
def golden(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> "Golden":
    """The scenario without any fault: what it leads to, and what it took."""

    async def play() -> Golden:
        folder = tmp_path_factory.mktemp("golden")
        async with stage(control_plane.kubeconfig, folder, "golden") as own, own.operator():
            await own.afternoon().play()
            await own.settled()
            state = await end_state(own.api, own.namespace)
            return Golden(state, len(own.writes_since(0)), len(own.proxy.seen))

    return run_here(play())


class Golden:
    """The faultless run.

    Attributes
    ----------
    state : dict
        End state of its namespace.
    writes, requests : int
        How many there were.
    """

    def __init__(self, state: dict[str, Any], writes: int, requests: int) -> None:
        self.state = state
        self.writes = writes
        self.requests = requests
