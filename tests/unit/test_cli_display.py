"""What `up` shows and logs: plain lines without a terminal, a log that stays small."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from media_gateway.cli.log_file import RotatingFile
from media_gateway.cli.progress import Steps


def lines_of(*, terminal: bool) -> tuple[Steps, io.StringIO]:
    out = io.StringIO()
    return Steps(Console(file=out, force_terminal=terminal, width=100, highlight=False)), out


@pytest.mark.parametrize("terminal", [False, True])
def test_a_step_is_shown_with_its_outcome(*, terminal: bool) -> None:
    steps, out = lines_of(terminal=terminal)
    with steps.shown(), steps.step("Postgres") as step:
        step.say("half way", share=0.5)
        step.say("ready")
    assert "Postgres" in out.getvalue()
    assert "ready" in out.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_failed_step_is_not_shown_as_done(*, terminal: bool) -> None:
    steps, out = lines_of(terminal=terminal)
    with pytest.raises(RuntimeError), steps.shown(), steps.step("Postgres"):
        raise RuntimeError
    assert "not done" in out.getvalue()


def test_without_a_terminal_there_are_no_control_characters() -> None:
    steps, out = lines_of(terminal=False)
    with steps.shown(), steps.step("Postgres") as step:
        step.say("[bold]as it is[/bold]")
    steps.line("see [here]")
    assert "\x1b" not in out.getvalue()
    assert "[bold]as it is[/bold]" in out.getvalue()
    assert "see [here]" in out.getvalue()


def test_the_log_never_grows_beyond_twice_its_limit_and_tears_no_line(tmp_path: Path) -> None:
    path = tmp_path / "up.log"
    log = RotatingFile(path, limit_bytes=1_000)
    for number in range(200):
        log.write(f"line {number:04d} with some more text\n")
    kept = [path, path.with_name("up.log.1")]
    assert all(file.stat().st_size <= 1_000 for file in kept)
    text = "".join(file.read_text() for file in reversed(kept))
    assert text.endswith("line 0199 with some more text\n")
    assert all(line.endswith("more text") for line in text.splitlines())
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lone_surrogate_does_not_stop_the_log(tmp_path: Path) -> None:
    log = RotatingFile(tmp_path / "up.log")
    log.write("caf\ud800\n")
    assert (tmp_path / "up.log").read_text() == "caf\\ud800\n"
