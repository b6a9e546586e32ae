"""Rules of ingestion runs that need no server."""

from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, strategies as st

from media_gateway.cli.ingest_progress import describe, duration
from media_gateway.core.domain.events import Event
from media_gateway.core.domain.specs import load_manifest
from media_gateway.core.errors import (
    ConflictError,
    InvalidInputError,
    MediaGatewayError,
    NotConfiguredError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from media_gateway.ingestion.demo import demo_job
from media_gateway.ingestion.exit_codes import EXIT_CODES, exit_code
from media_gateway.ingestion.runs import Counts, DeadLetter, RunCancelledError, RunFailedError, storable
from media_gateway.ingestion.schemas import PageQuery, job_cursor, letter_cursor, read_cursor, write_cursor
from media_gateway.ingestion.services.meter import Progress
from media_gateway.ingestion.services.relays import _event, dead_letter_row
from media_gateway.ingestion.services.runs import check_job, spec_hash
from media_gateway.ingestion.services.vectors import embedding_text
from media_gateway.ingestion.store_vectors import Document
from tests.support.ingestion import file_job

SAMPLES = Path(__file__).parents[2] / "samples"


@given(st.text(st.characters(codec=None), max_size=3000), st.integers(1, 4096))
def test_whatever_was_read_can_be_stored_within_its_limit(text: str, limit: int):
    stored = storable(text, limit)
    assert len(stored.encode()) <= limit
    assert "\0" not in stored


@given(st.text(max_size=30))
def test_page_cursors_come_back_as_they_went(value: str):
    assert read_cursor(write_cursor(value)) == value


@pytest.mark.parametrize("cursor", ["!", "a", "YWJj", "\u00fc", write_cursor("9" * 40), write_cursor("-1")])
def test_cursors_of_others_are_refused(cursor: str):
    query = PageQuery(cursor=cursor)
    with pytest.raises(InvalidInputError, match="cursor"):
        job_cursor(query)
    with pytest.raises(InvalidInputError, match="cursor"):
        letter_cursor(query)


def test_manifest_with_another_batch_size_is_the_same_job_and_another_mapping_is_not():
    job = file_job(Path("f.ndjson"))
    assert spec_hash(job) == spec_hash(file_job(Path("f.ndjson"), batchSize=99, parallelism=3))
    assert spec_hash(job) != spec_hash(file_job(Path("f.ndjson"), mapping={"preset": "tmdb"}))
    assert spec_hash(job) != spec_hash(file_job(Path("f.ndjson"), dryRun=True))
    assert spec_hash(job) != spec_hash(file_job(Path("g.ndjson")))


def test_demo_that_ships_is_the_sample():
    sample = load_manifest(SAMPLES / "ingestionjob-demo.yaml")
    assert spec_hash(demo_job()) == spec_hash(sample)
    check_job(demo_job())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInputError("x"), 64),
        (RunFailedError("ErrorBudgetExceeded", "x"), 65),
        (RunCancelledError("x"), 65),
        (UnauthenticatedError("x"), 77),
        (PermissionDeniedError("x"), 77),
        (NotConfiguredError("x"), 78),
        (UnavailableError("x"), 1),
        (ConflictError("x"), 1),
        (MediaGatewayError("x"), 70),
    ],
)
def test_exit_code_of_each_error(error: MediaGatewayError, code: int):
    assert exit_code(error) == code
    assert code in {row.code for row in EXIT_CODES}


def test_no_retryable_error_has_a_status_that_says_it_is_final():
    for row in EXIT_CODES:
        assert not (64 <= row.code <= 78 and any(kind.retryable for kind in row.errors))


def test_embedding_text_has_title_year_genres_people_and_overview():
    document = Document(
        id=uuid4(),
        content_type="movie",
        title="Alien",
        original_title="Alien",
        overview="In space no one can hear you scream.",
        release_year=1979,
        genres=["horror", "science_fiction"],
        keywords=["spaceship"],
        directors=["Ridley Scott"],
        actors=["Sigourney Weaver", "Tom Skerritt"],
    )
    assert embedding_text(document) == (
        "Alien (1979). horror science fiction movie. Directed by Ridley Scott. With Sigourney Weaver, Tom Skerritt. "
        "spaceship. In space no one can hear you scream."
    )
    document.overview = "Sigourney Weaver meets an alien on a spaceship."
    assert embedding_text(document) == (
        "Alien (1979). horror science fiction movie. Directed by Ridley Scott. With Tom Skerritt. "
        "Sigourney Weaver meets an alien on a spaceship."
    )


def test_dead_letter_reaches_its_topic_as_it_was_written():
    run_id = uuid4()
    letter = DeadLetter(line=7, position="7", source_id="x", field="title", reason="missing", excerpt="{}")
    key, body = dead_letter_row(run_id, letter, "films.rejected")
    event = _event(body)
    assert key == event.key == str(run_id)
    assert event.topic == "films.rejected"
    assert event.data["line"] == 7
    assert isinstance(event, Event)


def test_progress_in_words():
    counts = Counts(read=1234, created=1000, updated=200, skipped=30, failed=4)
    progress = Progress(
        counts=counts, percent=12.0, rate_per_second=500.4, remaining_s=125.0, waiting_for="Postgres"
    )
    assert describe(progress) == (
        "1,234 read, 1,200 written, 30 unchanged, 4 rejected, 500/s, 2 min 5 s left, waiting: Postgres"
    )
    assert [duration(s) for s in (0.4, 59, 3600, 5400)] == ["0 s", "59 s", "1 h 0 min", "1 h 30 min"]
