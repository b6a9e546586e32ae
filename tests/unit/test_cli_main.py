"""The command line as a whole: fast and complete help, one line for an error, telling exit codes."""

import importlib
import inspect
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from media_gateway import __version__
from media_gateway.cli.console import EXIT_CODES, exit_code
from media_gateway.cli.environment import state_option
from media_gateway.cli.main import COMMANDS, build, main
from media_gateway.core.errors import (
    ConflictError,
    InvalidInputError,
    MediaGatewayError,
    NotConfiguredError,
    UnavailableError,
)
from media_gateway.core.settings import CoreSettings


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "media_gateway.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_lists_every_command_without_importing_any_service() -> None:
    program = (
        "import sys; from media_gateway.cli.main import main; sys.argv = ['media-gateway', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'sqlalchemy', 'pydantic', 'numpy', 'tantivy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    for name in COMMANDS:
        assert f" {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_list_is_the_commands_own_first_line(name: str) -> None:
    module, _, attribute = COMMANDS[name].target.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    if isinstance(target, typer.Typer):
        return
    first = (inspect.getdoc(target) or "").splitlines()[0]
    assert first.split(":")[0].rstrip(".") == COMMANDS[name].summary.split(":")[0].rstrip(".")


def test_version_is_printed() -> None:
    assert run("--version").stdout.strip() == __version__


def test_a_wrong_setting_ends_a_command_with_one_line_and_78(tmp_path: Path) -> None:
    done = run("token", "--state-dir", str(tmp_path / "state"), MEDIA_GATEWAY_LOG_LEVEL="loud")
    assert done.returncode == 78
    assert "MEDIA_GATEWAY_LOG_LEVEL" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    done = run("--debug", "token", "--state-dir", str(tmp_path / "state"), MEDIA_GATEWAY_LOG_LEVEL="loud")
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotConfiguredError("x"), 78),
        (InvalidInputError("x"), 64),
        (ConflictError("x"), 78),
        (UnavailableError("x"), 1),
        (MediaGatewayError("x"), 70),
    ],
)
def test_exit_codes_tell_whether_trying_again_can_help(error: MediaGatewayError, code: int) -> None:
    assert exit_code(error) == code


def test_an_unexpected_error_is_one_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_arguments: list[str]) -> typer.Typer:
        raise KeyError("bug")

    monkeypatch.setattr("media_gateway.cli.main.build", broken)
    monkeypatch.setattr(sys, "argv", ["media-gateway", "status"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 70
    assert "internal error: KeyError" in capsys.readouterr().err


def test_only_the_called_command_is_imported() -> None:
    app = build(["token"])
    assert len(app.registered_commands) + len(app.registered_groups) == len(COMMANDS)


def test_an_unknown_component_is_named_beside_the_known_ones(tmp_path: Path) -> None:
    done = run("up", "--components", "discovry", "--state-dir", str(tmp_path / "state"))
    assert done.returncode == 64
    assert "'discovry'" in done.stderr
    assert "discovery, gateway, ingestion" in done.stderr


def test_a_state_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    done = run("token", "--state-dir", str(blocker / "state"))
    assert done.returncode == 78
    assert str(blocker / "state") in done.stderr


def test_generated_secret_is_kept_and_closed_to_others(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert run("token", "--state-dir", str(state)).returncode == 0
    secret = state / "secrets" / "auth"
    first = secret.read_text()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert run("token", "--state-dir", str(state)).returncode == 0
    assert secret.read_text() == first


def test_every_exit_code_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    for row in EXIT_CODES:
        assert f"| {row.code} | {row.meaning} |" in text


def test_no_component_named_is_a_usage_error(tmp_path: Path) -> None:
    done = run("up", "--components", "", "--state-dir", str(tmp_path / "state"))
    assert (done.returncode, "no component named" in done.stderr) == (64, True)


def test_an_unknown_revision_is_told_beside_the_known_ones_before_any_server_starts(tmp_path: Path) -> None:
    done = run("migrate", "--revision", "9999", "--state-dir", str(tmp_path / "state"))
    assert done.returncode == 64
    assert "'9999'" in done.stderr
    assert "0001" in done.stderr
    assert not (tmp_path / "state" / "postgres").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SERVICE_HOST", "999.1.1.1"),
        ("WEBHOOK_SECRETS", '{"streamflix": "short"}'),
        ("DATABASE_URL", "mysql://user:hunter2@host/db"),
        ("AUTH_SECRET", "hunter2"),
    ],
)
def test_a_wrong_setting_of_any_component_stops_up_before_any_server_starts(
    tmp_path: Path, variable: str, value: str
) -> None:
    done = run(
        "up", "--no-demo", "--state-dir", str(tmp_path / "state"), **{f"MEDIA_GATEWAY_{variable}": value}
    )
    assert done.returncode == 78
    assert done.stderr.startswith(f"MEDIA_GATEWAY_{variable}: ")
    assert "hunter2" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "state" / "postgres").exists()


def test_the_web_kit_loads_no_driver() -> None:
    program = (
        "import sys, media_gateway.core.web\n"
        "heavy = {'sqlalchemy', 'redis', 'numpy', 'asyncpg'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)


def test_suggested_commands_find_the_same_state_folder(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    assert state_option(CoreSettings(state_dir=folder)) == f" --state-dir '{folder}'"
    assert state_option(CoreSettings()) == ""
