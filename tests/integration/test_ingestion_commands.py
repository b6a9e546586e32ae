"""``media-gateway ingest`` in this process: what it prints and which status it ends with."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from media_gateway.cli.ingest import app
from tests.support.ingestion import bad_film, film, manifest, write_ndjson

Ingest = Callable[..., Any]


@pytest.fixture
def ingest(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ingest]:
    """Runs the command on the servers of the test."""
    monkeypatch.setenv("MEDIA_GATEWAY_DATABASE_URL", database_url)
    monkeypatch.setenv("MEDIA_GATEWAY_REDIS_URL", redis_url)
    monkeypatch.setenv("MEDIA_GATEWAY_STATE_DIR", str(tmp_path / "state"))
    # Loggers keep the stream they were configured with, and the one of a command invoked here is closed at its end.
    monkeypatch.setattr("media_gateway.cli.ingest.configure_logging", lambda *_, **__: None)
    yield lambda *arguments: CliRunner().invoke(app, arguments)
    structlog.reset_defaults()


def job_file(folder: Path, document: dict[str, Any]) -> str:
    path = folder / "job.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_run_prints_what_became_of_the_records_and_delivers_their_events(ingest: Ingest, tmp_path: Path):
    job = job_file(tmp_path, manifest(write_ndjson(tmp_path / "f.ndjson", map(film, range(1, 21)))))

    first, second = ingest("run", job), ingest("run", job)

    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    assert "Complete" in first.stdout
    assert "20 read, 20 written, 0 unchanged, 0 rejected" in first.stdout
    assert "20 read, 0 written, 20 unchanged, 0 rejected" in second.stdout
    assert "20 vectors are left to the service" in first.stderr


def test_commands_show_a_dry_run_and_what_it_rejected(ingest: Ingest, tmp_path: Path):
    path = write_ndjson(tmp_path / "f.ndjson", [film(1), bad_film(2)])
    job = job_file(tmp_path, manifest(path, errorPolicy={"maxErrorPercent": 50}))

    ran = ingest("run", job, "--dry-run")

    assert ran.exit_code == 0, ran.output
    assert "(dry run)" in ran.stdout
    assert "1 valid, 1 rejected" in ran.stdout
    assert re.search(r"dead-letters \S+ --state-dir \S+", ran.stdout)
    run_id = ran.stdout.split()[1]
    shown = json.loads(ingest("show", run_id).stdout)
    assert (shown["state"], shown["progress"]["read"], shown["progress"]["failed"]) == ("Complete", 2, 1)
    letters = ingest("dead-letters", run_id).stdout.splitlines()
    assert [(json.loads(line)["line"], json.loads(line)["field"]) for line in letters] == [
        (2, "release_year")
    ]
    assert run_id in ingest("list").stdout


SECRET_JOB = {
    "type": "HTTP",
    "http": {
        "url": "https://catalogue.example",
        "auth": {"type": "Bearer", "secretRef": {"name": "films", "key": "token"}},
    },
}


@pytest.mark.parametrize(
    ("document", "status", "said"),
    [
        pytest.param("kind: [", 64, "no YAML", id="broken yaml"),
        pytest.param(json.dumps({**manifest(Path("f")), "kind": "Other"}), 64, "kind", id="wrong kind"),
        pytest.param(json.dumps(manifest(Path("/absent/f.ndjson"))), 64, "/absent/f.ndjson", id="no file"),
        pytest.param(json.dumps(manifest(Path("f"), suspend=True)), 64, "spec.suspend", id="suspended"),
        pytest.param(
            json.dumps({**manifest(Path("f")), "spec": {"source": SECRET_JOB}}),
            78,
            "MEDIA_GATEWAY_SECRET_FILMS_TOKEN",
            id="no secret",
        ),
    ],
)
def test_status_says_whether_running_it_again_can_help(
    ingest: Ingest, tmp_path: Path, *, document: str, status: int, said: str
):
    job = tmp_path / "job.yaml"
    job.write_text(document)

    result = ingest("run", str(job), "--no-wait")

    assert result.exit_code == status, result.output
    assert said in result.stderr


def test_over_the_error_budget_the_status_is_65(ingest: Ingest, tmp_path: Path):
    job = job_file(tmp_path, manifest(write_ndjson(tmp_path / "f.ndjson", [film(1), bad_film(2)])))

    result = ingest("run", job, "--no-wait")

    assert result.exit_code == 65, result.output
    assert "1 of 2 records were rejected" in result.stderr
    assert "line 2: release_year: " in result.stderr
    assert "dead-letters" in result.stdout


def test_first_reasons_of_rejections_are_shown_with_their_lines(ingest: Ingest, tmp_path: Path):
    path = write_ndjson(tmp_path / "f.ndjson", [film(1), *map(bad_film, range(2, 6))])

    result = ingest(
        "run", job_file(tmp_path, manifest(path, errorPolicy={"maxErrorPercent": 90})), "--no-wait"
    )

    assert result.exit_code == 0, result.output
    shown = [line for line in result.stdout.splitlines() if ": release_year: " in line]
    assert [line.strip().partition(":")[0] for line in shown] == ["line 2", "line 3", "line 4"]


def test_database_out_of_reach_is_retryable(
    ingest: Ingest, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MEDIA_GATEWAY_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port}/none")
    job = job_file(tmp_path, manifest(write_ndjson(tmp_path / "f.ndjson", [film(1)])))
    assert ingest("run", job).exit_code == 1


def test_database_without_the_schema_of_this_release_is_told_apart(
    ingest: Ingest, postgres_server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MEDIA_GATEWAY_DATABASE_URL", postgres_server_url)
    job = job_file(tmp_path, manifest(write_ndjson(tmp_path / "f.ndjson", [film(1)])))

    result = ingest("run", job)

    assert result.exit_code == 78, result.output
    assert "media-gateway migrate" in result.stderr


def test_unknown_job_is_an_error_of_one_line(ingest: Ingest):
    result = ingest("show", "01a206c3-cf73-78fe-8a8a-ff8c21aa72c0")
    assert result.exit_code == 69
    assert result.stderr.strip().splitlines()[-1].startswith("there is no ingestion job")
