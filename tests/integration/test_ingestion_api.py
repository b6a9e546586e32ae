"""Jobs by HTTP, on the real service."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.tokens import mint_token
from tests.support.ingestion import bad_film, film, manifest, scalar, write_ndjson
from tests.support.ingestion_service import AUTH_SECRET, Api, service_settings, serving
from tests.support.waiting import eventually

JOBS = "/api/v1/ingestion/jobs"
NOBODY = "01a206c3-cf73-78fe-8a8a-ff8c21aa72c0"


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(service_settings(database_url, redis_url, tmp_path)) as api:
        yield api


async def finished(api: Api, job_id: str) -> dict[str, Any]:
    async def look() -> Any:
        document = (await api.call("GET", f"{JOBS}/{job_id}")).document
        return document if document["finished_at"] else None

    found: dict[str, Any] = await eventually(look, timeout_s=30)
    return found


async def test_job_given_by_http_is_done_in_the_background(api: Api, database: Database, tmp_path: Path):
    path = write_ndjson(tmp_path / "f.ndjson", [*map(film, range(1, 41)), bad_film(99)])
    document = manifest(path, errorPolicy={"maxErrorPercent": 5})

    given = await api.call("POST", JOBS, body=document)

    assert given.status == 202
    job = await finished(api, given.document["id"])
    assert (job["state"], job["origin"]) == ("Complete", "api")
    assert job["progress"] | {"read": 41, "written": 40, "failed": 1, "percent": 100.0} == job["progress"]
    assert await scalar(database, "SELECT count(*) FROM contents") == 40
    letters = (await api.call("GET", f"{JOBS}/{job['id']}/dead-letters")).document
    assert [(letter["line"], letter["field"]) for letter in letters["dead_letters"]] == [(41, "release_year")]
    sources = (await api.call("GET", "/api/v1/ingestion/sources")).document["sources"]
    assert [(source["name"], source["last_job"]["id"]) for source in sources] == [("films", job["id"])]


async def test_events_of_a_job_leave_the_outbox(api: Api, database: Database, tmp_path: Path):
    given = await api.call(
        "POST", JOBS, body=manifest(write_ndjson(tmp_path / "f.ndjson", map(film, range(5))))
    )
    await finished(api, given.document["id"])

    async def gone() -> bool:
        return not await scalar(database, "SELECT count(*) FROM outbox WHERE destination = 'events'")

    await eventually(gone)


async def test_dead_letters_and_jobs_come_in_pages(api: Api, tmp_path: Path):
    path = write_ndjson(tmp_path / "f.ndjson", map(bad_film, range(1, 8)))
    job: dict[str, Any] = {}
    for name in ("one", "two", "three"):
        document = manifest(path, errorPolicy={"maxErrorPercent": 100}) | {"metadata": {"name": name}}
        job = await finished(api, (await api.call("POST", JOBS, body=document)).document["id"])

    lines, cursor = [], ""
    while True:
        page = (await api.call("GET", f"{JOBS}/{job['id']}/dead-letters?limit=3{cursor}")).document
        lines += [letter["line"] for letter in page["dead_letters"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert lines == list(range(1, 8))
    first = (await api.call("GET", f"{JOBS}?limit=2")).document
    second = (await api.call("GET", f"{JOBS}?limit=2&cursor={first['next_cursor']}")).document
    assert [job["name"] for job in first["jobs"] + second["jobs"]] == ["three", "two", "one"]
    assert second["next_cursor"] is None


async def test_finished_job_can_not_be_cancelled(api: Api, tmp_path: Path):
    given = await api.call("POST", JOBS, body=manifest(write_ndjson(tmp_path / "f.ndjson", [film(1)])))
    await finished(api, given.document["id"])
    assert (await api.call("POST", f"{JOBS}/{given.document['id']}/cancel")).status == 409


async def test_job_of_an_absent_source_waits_and_can_be_cancelled(api: Api):
    source = {"type": "HTTP", "http": {"url": "http://127.0.0.1:1/films", "maxRetries": 0}}
    given = await api.call("POST", JOBS, body={**manifest(Path("f")), "spec": {"source": source}})
    job_id = given.document["id"]

    async def waits() -> bool:
        job = (await api.call("GET", f"{JOBS}/{job_id}")).document
        return job["state"] == "Running" and job["message"] is not None

    await eventually(waits, timeout_s=20)
    assert (await api.call("POST", f"{JOBS}/{job_id}/cancel")).status == 202
    assert (await finished(api, job_id))["state"] == "Cancelled"


async def test_job_can_not_read_files_outside_of_the_folder_for_them(api: Api):
    for path in ("../../etc/passwd", "/etc/passwd", "sub/../../x"):
        answer = await api.call("POST", JOBS, body=manifest(Path(path)))
        assert answer.status == 400, path
        assert answer.document["errors"][0]["field"] == "spec.source.file.path"


async def test_a_relative_path_is_one_of_the_folder_wherever_the_service_was_started(
    api: Api, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_ndjson(elsewhere / "f.ndjson", [film(1)])
    write_ndjson(tmp_path / "f.ndjson", [film(2), film(3)])
    monkeypatch.chdir(elsewhere)

    given = await api.call("POST", JOBS, body=manifest(Path("f.ndjson")))

    job = await finished(api, given.document["id"])
    assert (job["state"], job["progress"]["read"]) == ("Complete", 2)
    assert await scalar(database, "SELECT count(*) FROM source_records WHERE source_id = 'film-1'") == 0


async def test_job_can_not_open_databases_that_are_files_outside_of_the_folder(api: Api, tmp_path: Path):
    for url in (
        "sqlite:////etc/passwd",
        "sqlite:///../x.db",
        "sqlite:///file:/tmp/made.db?mode=rwc&uri=true",
        "sqlite://",
        "duckdb:///x.db",
    ):
        source = {"type": "Database", "database": {"url": url, "table": "films"}}
        answer = await api.call("POST", JOBS, body={**manifest(Path("f")), "spec": {"source": source}})
        assert answer.status == 400, url
        assert answer.document["errors"][0]["field"] == "spec.source.database.url"


async def test_a_file_that_can_not_be_read_is_told_by_its_own_reason(api: Api, tmp_path: Path):
    (tmp_path / "f.json").write_text("<html>Not found</html>")
    document = manifest(Path("f.json"))
    document["spec"]["source"]["format"] = "JSON"

    job = await finished(api, (await api.call("POST", JOBS, body=document)).document["id"])

    assert job["state"] == "Failed"
    assert "not JSON" in job["message"]


async def test_files_are_refused_without_a_folder_for_them(database_url: str, redis_url: str, tmp_path: Path):
    settings = service_settings(database_url, redis_url, tmp_path, ingestion_file_dir=None)
    async with serving(settings) as api:
        answer = await api.call("POST", JOBS, body=manifest(tmp_path / "f.ndjson"))
    assert answer.status == 400
    assert "MEDIA_GATEWAY_INGESTION_FILE_DIR" in answer.document["detail"]


async def test_jobs_are_only_for_callers_who_may(api: Api):
    stranger = Api(api.session, api.url, mint_token(AUTH_SECRET, "stranger"))
    unknown = Api(api.session, api.url, "no token")
    for method, path in (
        ("POST", JOBS),
        ("GET", JOBS),
        ("GET", f"{JOBS}/{NOBODY}"),
        ("GET", f"{JOBS}/{NOBODY}/dead-letters"),
        ("POST", f"{JOBS}/{NOBODY}/cancel"),
        ("GET", "/api/v1/ingestion/sources"),
    ):
        body: dict[str, Any] | None = {} if method == "POST" else None
        assert (await stranger.call(method, path, body=body)).status == 403, path
        assert (await unknown.call(method, path, body=body)).status == 401, path


BAD_BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"{}",
    b"\xff\xfe",
    b'{"apiVersion": "mediagateway.io/v1alpha1", "kind": "IngestionJob", "metadata": {"name": "x\\u0000"}, "spec": {}}',
    b'{"apiVersion": "mediagateway.io/v1alpha1", "kind": "IngestionJob", "metadata": {"name": "x"}, "spec": {"source": []}}',
    b'{"apiVersion": "mediagateway.io/v1alpha1", "kind": "IngestionJob", "metadata": {"name": "\\ud800"}, "spec": {}}',
    b'{"apiVersion": "mediagateway.io/v1alpha1", "kind": "IngestionJob", "metadata": {"name": "x", "y": 1}, "spec": {}}',
    (
        b'{"apiVersion": "mediagateway.io/v1alpha1", "kind": "IngestionJob", "metadata": {"name": "x"},'
        b' "spec": {"source": {"type": "File", "file": {"path": "f"}}, "batchSize": 1e400}}'
    ),
    (
        b'{"apiVersion": "mediagateway.io/v1alpha1", "kind": "IngestionJob", "metadata": {"name": "x"},'
        b' "spec": {"source": {"type": "File", "file": {"path": "f"}}, "batchSize": 99999999999999999999999}}'
    ),
    (
        b'{"apiVersion": "mediagateway.io/v1alpha1", "kind": "IngestionJob", "metadata": {"name": "x"},'
        b' "spec": {"source": {"type": "File", "file": {"path": "f\\ud800"}}}}'
    ),
    (
        b'{"apiVersion": "mediagateway.io/v1alpha1", "kind": "IngestionJob", "metadata": {"name": "x"},'
        b' "spec": {"source": {"type": "File", "file": {"path": "[\\u007f"}}, "mapping": {"fields": {"title": {"path": "[["}}}}}'
    ),
    b"[" * 100_000,
]


async def test_wrong_manifest_is_answered_with_a_problem_that_names_it(api: Api):
    for body in BAD_BODIES:
        answer = await api.call("POST", JOBS, data=body)
        assert answer.status == 400, body[:200]
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.document["code"] == "invalid_input"


async def test_wrong_addresses_are_answered_with_a_problem(api: Api):
    for path, status in (
        (f"{JOBS}?limit=0", 400),
        (f"{JOBS}?limit=101", 400),
        (f"{JOBS}?limit=x", 400),
        (f"{JOBS}?cursor=%00", 400),
        (f"{JOBS}?cursor=!!", 400),
        (f"{JOBS}?cursor=YWJj", 400),
        (f"{JOBS}?unknown=1", 400),
        (f"{JOBS}/nonsense", 400),
        (f"{JOBS}/{NOBODY}", 404),
        (f"{JOBS}/{NOBODY}/dead-letters", 404),
        (f"{JOBS}/{NOBODY}/dead-letters?cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", 400),
    ):
        answer = await api.call("GET", path)
        assert answer.status == status, path
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_large_manifest_is_refused(api: Api):
    assert (await api.call("POST", JOBS, data=b" " * 10_000_000)).status == 413
