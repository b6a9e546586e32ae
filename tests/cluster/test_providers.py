"""Which cluster the tests take, decided without one."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cluster import providers
from tests.cluster.access import Ability, Cluster
from tests.cluster.machine.commands import ClusterError
from tests.cluster.sharing import Use


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", providers.ALLOWED, providers.CHOSEN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(providers, "_tools", lambda: (Path("kubectl"), Path("helm")))


def kubeconfig(folder: Path, context: str) -> str:
    file = folder / "config"
    file.write_text(yaml.safe_dump({"kind": "Config", "current-context": context}))
    return str(file)


def test_given_cluster_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, "kind-media-gateway"))
    provider = providers.chosen()
    found = provider.start()
    assert (found.provider, found.context) == ("kubeconfig", "kind-media-gateway")
    assert provider.is_up()


@pytest.mark.parametrize("context", ["production", "kind-other", "", "media-gateway-machine-2"])
def test_context_that_is_not_for_tests_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: str
) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, context))
    with pytest.raises(ClusterError, match="MEDIA_GATEWAY_TEST_CONTEXTS"):
        providers.chosen().start()


def test_own_context_can_be_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, "staging"))
    monkeypatch.setenv(providers.ALLOWED, "other, staging")
    found = providers.chosen().start()
    assert found.abilities == {Ability.NODE}
    with pytest.raises(AssertionError, match="takes no image archives"):
        found.load_image(tmp_path)


def test_missing_kubeconfig_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/config")
    with pytest.raises(ClusterError, match=r"KUBECONFIG=/nowhere/config is no file"):
        providers.chosen().start()


def test_every_reason_is_given_when_there_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ClusterError) as refused:
        providers.chosen()
    assert [line.split(":")[0].strip() for line in str(refused.value).splitlines()[1:]] == [
        "kubeconfig", "kind", "machine",
    ]  # fmt: skip


def test_unknown_provider_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(providers.CHOSEN, "minikube")
    with pytest.raises(ClusterError, match="choose kubeconfig, kind or machine"):
        providers.chosen()


def test_workers_get_the_same_cluster(tmp_path: Path) -> None:
    text = providers.to_text(
        Cluster("kind", tmp_path / "config", "kind-media-gateway", frozenset(), Path("k"), Path("h"), print)
    )
    assert json.loads(text)
    found = providers.from_text(text)
    assert (found.provider, found.kubeconfig, found.context) == (
        "kind",
        tmp_path / "config",
        "kind-media-gateway",
    )
    assert found.can("images", "network_policy")


def test_last_run_takes_down_what_a_run_has_started(tmp_path: Path) -> None:
    first, second = Use(tmp_path), Use(tmp_path)
    first.starts()
    assert not first.is_to_stop()
    first.end()
    assert second.is_to_stop()
    second.end()


def test_cluster_that_a_person_has_started_stays(tmp_path: Path) -> None:
    use = Use(tmp_path)
    assert not use.is_to_stop()
    use.end()
