"""One cluster for the whole run, started before the first test that needs it and taken down at the end.

A cluster that ran before stays. Under xdist the controller does this and tells the workers. Importing this file
costs next to nothing, because `make test` collects this folder too.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.report import Report

if TYPE_CHECKING:
    from tests.cluster.access import Cluster, Kubectl
    from tests.cluster.installation import Platform
    from tests.cluster.sharing import Use

KEEP = "MEDIA_GATEWAY_CLUSTER_KEEP"

INSTALLING = frozenset({"test_charts", "test_helm", "test_rollout", "test_stories"})
"""Files that install the operator for the whole cluster, so one after the other."""

CLUSTER = pytest.StashKey["Cluster"]()
USE: pytest.StashKey["Use"] = pytest.StashKey()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker("cluster")  # here, so that no test is forgotten


def pytest_collection_finish(session: pytest.Session) -> None:
    config = session.config
    if config.option.collectonly or hasattr(config, "workerinput"):
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    # Not in fixtures: the first time Kubernetes is built, and a test has two minutes.
    if "control_plane" in wanted:
        _build(config)
    if "cluster" in wanted:
        _begin(config, with_images="images" in wanted)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    from tests.cluster.providers import to_text

    _build(node.config)
    # Only the workers know what they will run; whoever names this folder wants the cluster.
    node.workerinput["cluster"] = to_text(_begin(node.config, with_images=True))


def pytest_unconfigure(config: pytest.Config) -> None:
    if USE in config.stash:
        use = config.stash[USE]
        del config.stash[USE]
        if use.is_to_stop() and os.environ.get(KEEP) != "1":
            from tests.cluster.providers import chosen

            chosen().stop()
        use.end()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if CLUSTER in config.stash and not hasattr(config, "workerinput"):
        report = Report.of(terminalreporter.stats, config.stash[CLUSTER])
        terminalreporter.section("cluster")
        for line in report.lines():
            terminalreporter.write_line(line)
        report.write()


def _build(config: pytest.Config) -> None:
    from tests.cluster.machine.commands import ClusterError
    from tests.cluster.machine.places import cache_folder
    from tests.cluster.machine.programs import programs

    try:
        with _heard(config):
            programs(cache_folder())
    except ClusterError as error:
        raise pytest.UsageError(str(error)) from error


def _begin(config: pytest.Config, *, with_images: bool) -> "Cluster":
    from tests.cluster.machine.commands import ClusterError
    from tests.cluster.machine.places import work_folder
    from tests.cluster.providers import chosen
    from tests.cluster.sharing import Use

    if CLUSTER not in config.stash:
        try:
            with _heard(config):
                provider = chosen()
                use = config.stash[USE] = Use(work_folder())
                was_up = provider.is_up()
                cluster = config.stash[CLUSTER] = provider.start()
                if not was_up:
                    use.starts()  # a start clears the folder, so not before it
                if with_images and cluster.can("images"):
                    _load_images(cluster)
        except ClusterError as error:
            raise pytest.UsageError(str(error)) from error
    return config.stash[CLUSTER]


def _load_images(cluster: "Cluster") -> None:
    from tests.cluster.images import SCRIPT, build

    if SCRIPT.exists():
        for archive in build(on_debian=cluster.provider != "kind"):
            cluster.load_image(archive)


@contextmanager
def _heard(config: pytest.Config) -> Iterator[None]:
    """Let the person at the terminal see what takes so long."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield
        return
    with capture.global_and_fixture_disabled():
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file on one worker, in their order; they share what they have started."""
    # Not --dist loadgroup, which does not see groups with pytest 9.2 (pytest-xdist issue 1386).
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = Path(nodeid.partition("::")[0]).stem
            return "installing" if file in INSTALLING else file

    return ByFile(config, log)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> "Cluster":
    """The cluster of the run."""
    from tests.cluster.providers import from_text

    config = request.config
    told = getattr(config, "workerinput", {}).get("cluster")
    if told is not None and CLUSTER not in config.stash:
        config.stash[CLUSTER] = from_text(told)
    if CLUSTER not in config.stash:
        raise pytest.UsageError(
            "distributed cluster tests need their folder named: pytest tests/cluster -n 2"
        )
    return config.stash[CLUSTER]


@pytest.fixture(scope="session")
def images(cluster: "Cluster") -> None:
    """The project's images are in the cluster."""
    if not cluster.can("images"):
        pytest.skip(f"{cluster.provider}: no images can be loaded into this cluster")


@pytest.fixture(scope="session")
def platform(cluster: "Cluster", images: None) -> "Iterator[Platform]":
    """The operator in two namespaces, with the samples in one of them: as a first user has them."""
    from tests.cluster.installation import installed

    with installed(cluster) as found:
        yield found


@pytest.fixture(autouse=True)
def _able(request: pytest.FixtureRequest) -> None:
    needed = [name for mark in request.node.iter_markers("needs") for name in mark.args]
    if needed:
        cluster = request.getfixturevalue("cluster")
        lacking = [name for name in needed if not cluster.can(name)]
        if lacking:
            pytest.skip(f"{cluster.provider}: this cluster lacks {', '.join(lacking)}")


@pytest.fixture(scope="session")
def kubectl(cluster: "Cluster") -> "Kubectl":
    """kubectl on the cluster, in no particular namespace."""
    from tests.cluster.access import Kubectl

    return Kubectl(cluster)


@pytest.fixture
async def namespace(kubectl: "Kubectl") -> AsyncIterator[str]:
    """A fresh namespace in which pods have to be restricted, deleted afterwards without waiting for it."""
    from tests.cluster.access import fresh_namespace

    async with fresh_namespace(kubectl) as own:
        assert own.namespace is not None
        yield own.namespace


@pytest.fixture
def kube(kubectl: "Kubectl", namespace: str) -> "Kubectl":
    """kubectl in the fresh namespace."""
    return kubectl.within(namespace)
