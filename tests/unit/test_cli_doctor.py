"""`media-gateway doctor`: finds what would stop `up`, and says what to do."""

import socket
from pathlib import Path

import pytest

from media_gateway.cli import doctor
from media_gateway.cli.doctor import Finding, Level, examine
from media_gateway.core.adapters.embedded import redis
from media_gateway.core.errors import NotConfiguredError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDIA_GATEWAY_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def findings(what: str, **kwargs: int) -> list[Finding]:
    return [finding for finding in examine(**kwargs) if finding.what == what]


def test_a_machine_that_passes_the_tests_has_no_failures_but_ports(state: Path) -> None:
    failures = [f for f in examine() if f.level is Level.FAIL and f.what != "port"]
    assert failures == []
    assert not state.exists(), "it only looks"


def test_every_problem_comes_with_advice(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NO_DISK_BYTES", 10**18)
    monkeypatch.setattr(doctor, "LOW_MEMORY_BYTES", 10**18)
    monkeypatch.setattr(doctor, "MIN_OPEN_FILES", 10**9)
    problems = [f for f in examine() if f.level is not Level.OK]
    assert {"disk space", "memory", "open files"} <= {f.what for f in problems}
    assert all(f.advice for f in problems)


def test_a_taken_port_is_named_with_the_option_that_moves_it(state: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        offset = listener.getsockname()[1] - 8081
        taken = [f for f in findings("port", port_offset=offset) if f.level is Level.FAIL]
    assert taken
    assert "discovery" in taken[0].found
    assert "--port-offset" in taken[0].advice


def test_a_wrong_setting_is_named(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_GATEWAY_DATABASE_POOL_SIZE", "many")
    (finding,) = findings("settings")
    assert finding.level is Level.FAIL
    assert "MEDIA_GATEWAY_DATABASE_POOL_SIZE" in finding.found


def test_a_missing_redis_is_explained(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise NotConfiguredError("install it so and so")

    monkeypatch.setattr(redis, "installed_binary", nowhere)
    (finding,) = findings("Redis")
    assert (finding.level, finding.advice) == (Level.FAIL, "install it so and so")


def test_servers_given_by_address_need_no_binaries(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_GATEWAY_DATABASE_URL", "postgresql://db.example/x")
    (finding,) = findings("Postgres")
    assert "MEDIA_GATEWAY_DATABASE_URL" in finding.found


def test_a_state_folder_of_a_newer_release_fails(state: Path) -> None:
    state.mkdir(mode=0o700)
    (state / "version.json").write_text('{"format": 99}')
    (finding,) = findings("state folder")
    assert finding.level is Level.FAIL
    assert "newer" in finding.found


def test_a_state_folder_that_others_can_read_is_warned_about(state: Path) -> None:
    state.mkdir()
    state.chmod(0o755)
    (finding,) = findings("state folder")
    assert (finding.level, finding.advice) == (Level.WARN, f"chmod 700 {state}")


def test_the_exit_code_says_whether_up_should_work(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer import Exit

    for level, code in ((Level.WARN, 0), (Level.FAIL, 1)):
        found = [Finding(level, "thing", "not so good", "do this"), Finding(Level.OK, "other", "fine")]
        monkeypatch.setattr(doctor, "examine", lambda _offset, found=found: iter(found))
        with pytest.raises(Exit) as ended:
            doctor.command()
        assert ended.value.exit_code == code
        assert "-> do this" in capsys.readouterr().out


def test_a_misspelt_variable_is_a_warning_with_the_name_it_may_mean(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIA_GATEWAY_WEBHOOK_SECRET", "x")
    (finding,) = findings("variable")
    assert finding.level is Level.WARN
    assert (
        finding.found
        == "MEDIA_GATEWAY_WEBHOOK_SECRET is no setting; did you mean MEDIA_GATEWAY_WEBHOOK_SECRETS?"
    )
