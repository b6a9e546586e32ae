"""The job of an IngestionJob in this process: which status it ends with and what it says last."""

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from media_gateway.ingestion.job_run import run_job
from tests.support.ingestion import bad_film, film, manifest, write_ndjson


@pytest.fixture
def environment(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """As in a pod."""
    for name, value in {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "STATE_DIR": str(tmp_path / "state"),
        "INGESTION_FILE_DIR": str(tmp_path),
        "INGESTION_PATIENCE_S": "1",
    }.items():
        monkeypatch.setenv(f"MEDIA_GATEWAY_{name}", value)
    # The stream that it would log to is not this process's.
    monkeypatch.setattr("media_gateway.ingestion.job_run.configure_logging", lambda *_, **__: None)
    return monkeypatch


def document(folder: Path, *records: dict[str, Any], **spec: Any) -> Path:
    path = folder / "manifest.json"
    path.write_text(json.dumps(manifest(write_ndjson(folder / "f.ndjson", records), **spec)))
    return path


def ended(path: Path) -> tuple[int, dict[str, Any]]:
    """Status and last log entry."""
    with capture_logs() as logs:
        status = run_job(path)
    return status, dict(logs[-1])


def test_complete_run_ends_with_0_and_no_complaint(environment: pytest.MonkeyPatch, tmp_path: Path):
    with capture_logs() as logs:
        status = run_job(document(tmp_path, film(1), film(2)))
    assert status == 0
    assert not [entry for entry in logs if entry["log_level"] in {"warning", "error"}]
    (over,) = [entry for entry in logs if entry["event"] == "the run is over"]
    assert (over["read"], over["written"]) == (2, 2)


def test_dry_run_of_the_manifest_changes_nothing(environment: pytest.MonkeyPatch, tmp_path: Path):
    with capture_logs() as logs:
        status = run_job(document(tmp_path, film(1), dryRun=True))
    (over,) = [entry for entry in logs if entry["event"] == "the run is over"]
    assert (status, over["dry_run"], over["written"], over["unchanged"]) == (0, True, 0, 1)


def test_failed_run_ends_with_its_reason(environment: pytest.MonkeyPatch, tmp_path: Path):
    status, last = ended(document(tmp_path, film(1), bad_film(2)))
    assert (status, last["log_level"], last["exit_code"]) == (65, "error", 65)
    assert last["reason"] == "ErrorBudgetExceeded"
    assert "1 of 2 records were rejected" in last["event"]


@pytest.mark.parametrize(
    ("spec", "status", "said"),
    [
        pytest.param({"batchSize": 0}, 64, "spec.batchSize", id="wrong field"),
        pytest.param({"suspend": True}, 64, "spec.suspend", id="suspended"),
        pytest.param(
            {"source": {"type": "File", "file": {"path": "/etc/passwd"}}},
            64,
            "spec.source.file.path",
            id="file outside",
        ),
        pytest.param(
            {
                "source": {
                    "type": "HTTP",
                    "http": {
                        "url": "https://catalogue.example",
                        "auth": {"type": "Bearer", "secretRef": {"name": "films", "key": "token"}},
                    },
                }
            },
            78,
            "films",
            id="no secret",
        ),
    ],
)
def test_manifest_that_no_retry_helps_is_explained(
    environment: pytest.MonkeyPatch, tmp_path: Path, *, spec: dict[str, Any], status: int, said: str
):
    found, last = ended(document(tmp_path, film(1), **spec))
    assert (found, last["exit_code"]) == (status, status)
    assert said in last["event"]


@pytest.mark.parametrize(
    ("name", "value"), [("LOG_LEVEL", "loud"), ("PROGRESS_URL", "operator"), ("INGESTION_LEASE_S", "soon")]
)
def test_wrong_setting_is_named_in_the_last_line(
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    name: str,
    value: str,
):
    environment.setenv(f"MEDIA_GATEWAY_{name}", value)
    assert run_job(document(tmp_path, film(1))) == 78
    assert f"MEDIA_GATEWAY_{name}" in capsys.readouterr().err.splitlines()[-1]


def test_job_has_no_database_of_its_own(environment: pytest.MonkeyPatch, tmp_path: Path):
    environment.setenv("MEDIA_GATEWAY_DATABASE_URL", "embedded:")
    status, last = ended(document(tmp_path, film(1)))
    assert status == 78
    assert "MEDIA_GATEWAY_DATABASE_URL" in last["event"]


def test_database_that_stays_away_is_worth_another_try(
    environment: pytest.MonkeyPatch, tmp_path: Path, free_port: int
):
    environment.setenv("MEDIA_GATEWAY_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port}/none")
    status, last = ended(document(tmp_path, film(1)))
    assert (status, last["exit_code"]) == (1, 1)


def test_schema_of_an_earlier_release_is_told_apart(
    environment: pytest.MonkeyPatch, tmp_path: Path, postgres_server_url: str
):
    environment.setenv("MEDIA_GATEWAY_DATABASE_URL", postgres_server_url)
    status, last = ended(document(tmp_path, film(1)))
    assert status == 78
    assert "media-gateway migrate" in last["event"]


def test_unexpected_error_is_none_that_a_retry_helps(environment: pytest.MonkeyPatch, tmp_path: Path):
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    environment.setattr("media_gateway.ingestion.job_run.make_runner", broken)
    status, last = ended(document(tmp_path, film(1)))
    assert (status, last["event"]) == (70, "an unexpected error: RuntimeError")
