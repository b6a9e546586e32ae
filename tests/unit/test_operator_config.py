"""Finding the API server, and the operator's settings: what is wrong is said by name."""

import base64
import ssl
from pathlib import Path

import pytest
import yaml

from media_gateway.core.errors import NotConfiguredError
from media_gateway_operator import __main__ as program
from media_gateway_operator.kube import config
from media_gateway_operator.kube.config import Access, find_access, from_kubeconfig
from media_gateway_operator.kube.kinds import Object
from media_gateway_operator.settings import PREFIX, OperatorSettings, load_settings
from tests.cluster.machine.pki import Authority


def write(path: Path, cluster: Object, user: Object, current: str = "c") -> Path:
    document = {
        "clusters": [{"name": "cl", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "cl", "user": "u"}}],
        "current-context": current,
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_token_and_server_of_the_current_context(tmp_path):
    access = from_kubeconfig(write(tmp_path / "k", {"server": "http://127.0.0.1:1/"}, {"token": "t"}))
    assert access.server == "http://127.0.0.1:1"
    assert access.headers() == {"Authorization": "Bearer t"}
    assert access.tls is None


@pytest.mark.parametrize("inline", [True, False])
def test_certificates_from_files_or_inline(tmp_path, inline):
    authority = Authority(tmp_path)
    admin = authority.identity("admin", groups=["system:masters"])

    def part(name: str, path: Path) -> dict[str, str]:
        if inline:
            return {f"{name}-data": base64.b64encode(path.read_bytes()).decode()}
        return {name: path.name}

    cluster = {"server": "https://127.0.0.1:1", **part("certificate-authority", authority.certificate)}
    user = {**part("client-certificate", admin.certificate), **part("client-key", admin.key)}
    access = from_kubeconfig(write(tmp_path / "k", cluster, user))
    assert access.tls is not None
    assert access.tls.verify_mode == ssl.CERT_REQUIRED
    assert len(access.tls.get_ca_certs()) == 1
    assert access.headers() == {}


def test_token_file_is_read_again_after_a_minute(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text("one")
    access = from_kubeconfig(write(tmp_path / "k", {"server": "http://x"}, {"tokenFile": "token"}))
    assert access.headers()["Authorization"] == "Bearer one"
    file.write_text("two")
    assert access.headers()["Authorization"] == "Bearer one"
    monkeypatch.setattr(config, "TOKEN_KEPT_S", -1.0)
    assert access.headers()["Authorization"] == "Bearer two"
    file.unlink()
    assert access.headers()["Authorization"] == "Bearer two", (
        "a file that is being replaced takes nothing away"
    )


BROKEN = {
    "no such context": ({"server": "http://x"}, {}, "other", "contexts has no entry named 'other'"),
    "no server": ({}, {}, "c", "cluster 'cl' has no https:// server"),
    "command": ({"server": "http://x"}, {"exec": {"command": "aws"}}, "c", "fetches credentials with a command"),
    "certificate": (
        {"server": "https://x", "certificate-authority-data": "bm8="}, {}, "c", "certificate or key can't be used"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("cluster", "user", "current", "message"), BROKEN.values(), ids=BROKEN)
def test_unusable_kubeconfig_says_which_part(tmp_path, cluster, user, current, message):
    with pytest.raises(NotConfiguredError, match="KUBECONFIG") as caught:
        from_kubeconfig(write(tmp_path / "k", cluster, user, current))
    assert message in caught.value.message


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_file_that_is_no_kubeconfig_is_refused(tmp_path, content):
    path = tmp_path / "k"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NotConfiguredError, match=r"KUBECONFIG: .*k "):
        from_kubeconfig(path)


def test_service_account_of_a_pod(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "SERVICE_ACCOUNT", tmp_path)
    authority = Authority(tmp_path)
    (tmp_path / "ca.crt").write_bytes(authority.certificate.read_bytes())
    (tmp_path / "token").write_text("t")
    access = find_access({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"})
    assert access.server == "https://[fd00::1]:443"
    assert access.headers() == {"Authorization": "Bearer t"}


def test_neither_file_nor_pod_says_what_to_set():
    with pytest.raises(NotConfiguredError, match="set KUBECONFIG"):
        find_access({})


def test_access_without_token_sends_none():
    assert Access("http://x").headers() == {}


@pytest.fixture
def variables(monkeypatch):
    def put(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)

    return put


def test_namespaces_are_separated_by_commas(variables):
    variables(watch_namespaces=" a, b,,a ")
    assert load_settings().watch_namespaces == ("a", "b")
    assert OperatorSettings.model_fields["watch_namespaces"].default == ()


def test_progress_address_is_that_of_the_service(variables):
    variables(namespace="system", service_name="op", progress_port="9000")
    assert load_settings().progress_address == "http://op.system.svc:9000"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"concurrency": "many"}, "MEDIA_GATEWAY_OPERATOR_CONCURRENCY: input should be a valid integer"),
        ({"port": "70000"}, "MEDIA_GATEWAY_OPERATOR_PORT: "),
        ({"lease_duration_s": "5"}, "lease_retry_s < lease_renew_deadline_s < lease_duration_s"),
        ({"backoff_base_s": "50", "backoff_max_s": "10"}, "backoff_base_s must not be over backoff_max_s"),
    ],
)
def test_wrong_setting_is_named(variables, values, message):
    variables(**values)
    with pytest.raises(NotConfiguredError) as caught:
        load_settings()
    assert message in caught.value.message


def test_two_replicas_never_have_the_same_name_by_default():
    assert OperatorSettings().identity != OperatorSettings().identity


def test_help_names_every_setting(capsys):
    with pytest.raises(SystemExit) as ended:
        program.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in OperatorSettings.model_fields:
        assert f"{PREFIX}{name.upper()}" in shown


def test_wrong_setting_ends_the_process_with_a_line_and_78(variables, capsys):
    variables(concurrency="0")
    assert program.main([]) == program.EXIT_CONFIG
    assert "MEDIA_GATEWAY_OPERATOR_CONCURRENCY" in capsys.readouterr().err


def test_every_setting_says_what_it_is_for():
    for name, field in OperatorSettings.model_fields.items():
        assert field.description, name
        assert field.examples, name
