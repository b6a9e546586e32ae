"""Manifests: what is accepted, what is refused and how the wrong field is named, and a schema a cluster can take."""

import json
from pathlib import Path
from typing import Any

import pytest

from media_gateway.core.domain.specs import IngestionJob, load_manifest, parse_manifest
from media_gateway.core.errors import InvalidInputError, NotConfiguredError
from media_gateway.ingestion.mapping import Mapper
from media_gateway.ingestion.sources import RawRecord, Secrets, open_source
from tests.support.ingestion_sources import read_all

SAMPLES = sorted((Path(__file__).parents[2] / "samples").glob("**/ingestionjob-*.yaml"))
SECRET = {"name": "s", "key": "k"}


def document(source: Any = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "mediagateway.io/v1alpha1",
        "kind": "IngestionJob",
        "metadata": {"name": "films"},
        "spec": {"source": source or {"type": "Demo", "demo": {}}, **spec},
    }


def http(**more: Any) -> dict[str, Any]:
    return {"type": "HTTP", "http": {"url": "https://api.example/films", **more}}


def refused(value: Any) -> list[str]:
    with pytest.raises(InvalidInputError) as caught:
        parse_manifest(value)
    assert all(error.message for error in caught.value.errors)
    return [error.field for error in caught.value.errors]


def test_a_short_manifest_gets_the_documented_defaults() -> None:
    job = parse_manifest(document())
    spec = job.spec
    assert (spec.mode, spec.batch_size, spec.parallelism, spec.backoff_limit) == ("Full", 10, 1, 3)
    assert spec.sinks.catalog.enabled
    assert spec.sinks.vectors.enabled
    assert spec.sinks.events.enabled
    assert (spec.sinks.vectors.collection, spec.sinks.vectors.dimension) == ("media_content", 384)
    assert spec.dedupe.keys == ("id",)
    assert (spec.error_policy.max_error_percent, spec.error_policy.dead_letter_topic) == (1, None)
    assert (spec.starting_deadline_seconds, spec.pre_running_deadline_seconds) == (600, 600)
    assert (spec.successful_runs_history_limit, spec.failed_runs_history_limit) == (3, 1)
    assert (spec.source.format, spec.source.name, job.source_name) == ("NDJSON", "films", "films")
    assert not spec.suspend
    assert not spec.dry_run


def test_a_sources_own_name_stands_before_the_jobs() -> None:
    job = parse_manifest(document({"type": "Demo", "demo": {}, "name": "other"}))
    assert job.source_name == job.spec.source.name == "other"


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({**document(), "kind": "Pod"}, "kind"),
        ({**document(), "apiVersion": "v1"}, "apiVersion"),
        ({**document(), "extra": 1}, "extra"),
        ({**document(), "metadata": {"name": "Films"}}, "metadata.name"),
        ({**document(), "metadata": {"name": "x" * 51}}, "metadata.name"),
        (document({"type": "FTP"}), "spec.source.type"),
        (document({"type": "HTTP"}), "spec.source"),
        (document({"type": "Demo", "demo": {}, "file": {"path": "x"}}), "spec.source"),
        (document({"type": "HTTP", "http": {"url": "ftp://x"}}), "spec.source.http.url"),
        (document(http(urll="x")), "spec.source.http.urll"),
        (document(http(auth={"type": "Header", "secretRef": SECRET})), "spec.source.http.auth"),
        (document(http(auth={"type": "Bearer"})), "spec.source.http.auth.secretRef"),
        (document(http(pagination={"type": "Cursor", "parameter": "c"})), "spec.source.http.pagination"),
        (document(http(rateLimit={"requestsPerSecond": 0})), "spec.source.http.rateLimit.requestsPerSecond"),
        (document({"type": "Database", "database": {"url": "sqlite:///x", "table": "t", "query": "q"}}), "spec.source.database"),
        (document({"type": "Database", "database": {"url": "postgresql://u:p@h/d", "table": "t"}}), "spec.source.database.url"),
        (document({"type": "Kafka", "kafka": {"brokers": [], "topic": "t"}}), "spec.source.kafka.brokers"),
        (document({"type": "Kafka", "format": "CSV", "kafka": {"brokers": ["h:1"], "topic": "t"}}), "spec.source"),
        (document({"type": "S3", "s3": {"bucket": "films", "accessKeyRef": SECRET}}), "spec.source.s3"),
        (document(mode="Incremental"), "spec"),
        (document(batchSize=0), "spec.batchSize"),
        (document(batchSize=10_001), "spec.batchSize"),
        (document(parallelism=65), "spec.parallelism"),
        (document(errorPolicy={"maxErrorPercent": 101}), "spec.errorPolicy.maxErrorPercent"),
        (document(schedule="TZ=UTC 0 * * * *"), "spec.schedule"),
        (document(schedule="0 * * *"), "spec.schedule"),
        (document(timeZone="Europe/Berlin"), "spec"),
        (document(concurrencyPolicy="Forbid"), "spec"),
        (document(schedule="0 * * * *", ttlSecondsAfterFinished=5), "spec"),
        (document(sinks={"catalog": {"enabled": False}, "vectors": {"enabled": False}, "events": {"enabled": False}}), "spec.sinks"),
        (document(sinks={"vectors": {"dimension": 5000}}), "spec.sinks.vectors.dimension"),
        (document(dedupe={"keys": []}), "spec.dedupe.keys"),
        (document(mapping={}), "spec.mapping"),
        (document(mapping={"preset": "imdb"}), "spec.mapping.preset"),
        (document(mapping={"fields": {"title": {"path": "a", "value": "b"}}}), "spec.mapping.fields.title"),
        (document(mapping={"fields": {"title": {"path": "a", "transform": "upper"}}}), "spec.mapping.fields.title.transform"),
        ([], ""),
        (None, ""),
        ("text", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_path(value: Any, field: str) -> None:
    assert refused(value) == [field]


def test_all_wrong_fields_are_told_at_once() -> None:
    value = document(http(url="x", timeoutSeconds=0), batchSize="many")
    assert refused(value) == ["spec.source.http.url", "spec.source.http.timeoutSeconds", "spec.batchSize"]


@pytest.mark.parametrize("schedule", ["0 * * * *", "*/15 6-18 * * 1-5", "0 0 1,15 * *", "5 4 * * SUN"])
def test_cron_schedules_are_accepted(schedule: str) -> None:
    job = parse_manifest(document(schedule=schedule, timeZone="Europe/Berlin", concurrencyPolicy="Replace"))
    assert job.spec.schedule == schedule


@pytest.mark.parametrize(("written", "kept"), [("0.5", "0.5"), (0.25, "0.25"), (4, "4"), ("0.011", "0.011")])
def test_rates_keep_their_digits(written: object, kept: str) -> None:
    job = parse_manifest(document(http(rateLimit={"requestsPerSecond": written})))
    assert job.spec.source.http is not None
    assert job.spec.source.http.rate_limit is not None
    assert job.spec.source.http.rate_limit.requests_per_second == kept


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_a_manifest_whose_mapping_can_be_used(path: Path) -> None:
    job = load_manifest(path)
    Mapper(job.spec)
    assert load_manifest(path) == job
    assert parse_manifest(job.model_dump(mode="json", by_alias=True, exclude_none=True)) == job


@pytest.mark.parametrize("name", ["file", "csv"])
async def test_sample_files_are_mapped_without_a_rejection(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    job = load_manifest(Path(f"samples/sources/ingestionjob-{name}.yaml"))
    mapper = Mapper(job.spec)
    items = await read_all(open_source(job.spec.source, secrets=Secrets()))
    records = [mapper.map(item.payload) for item in items if isinstance(item, RawRecord)]
    assert len(records) == len(items) >= 2
    assert records[0].title == "The General"
    assert records[0].offerings


def test_the_samples_name_their_secrets_and_hold_none() -> None:
    job = load_manifest(next(path for path in SAMPLES if "tmdb" in path.name))
    with pytest.raises(NotConfiguredError, match="MEDIA_GATEWAY_SECRET_TMDB_TOKEN"):
        open_source(job.spec.source, secrets=Secrets(environ={}))


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("a.yaml", b"kind: [", "no YAML or JSON"),
        ("a.yaml", b"kind: a\nkind: b", "'kind' appears twice"),
        ("a.json", b'{"kind": 1, "kind": 2}', "'kind' appears twice"),
        ("a.json", b"{", "no YAML or JSON"),
        ("a.yaml", b"\xff\xfe\x00", "no YAML or JSON"),
        ("a.yaml", b"a: 1\n---\nb: 2", "no YAML or JSON"),
        ("a.yaml", b"!!python/object/apply:os.system ['true']", "no YAML or JSON"),
        ("a.yaml", b"# " + b"x" * 1_048_576, "longer than"),
        ("a.yaml", b"", "manifest"),
        ("a.json", b"[" * 100_000, "no YAML or JSON"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused_with_its_reason(
    tmp_path: Path, name: str, body: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(body)
    with pytest.raises(InvalidInputError, match=reason):
        load_manifest(tmp_path / name)


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nothing\.yaml"):
        load_manifest(tmp_path / "nothing.yaml")


def test_the_schema_bounds_every_string_list_and_map() -> None:
    # An API server refuses validation rules whose cost it can't bound.
    loose: list[str] = []

    def walk(node: Any, path: str) -> None:
        if isinstance(node, list):
            for item in node:
                walk(item, path)
        if not isinstance(node, dict):
            return
        if node.get("type") == "string" and not node.keys() & {"maxLength", "enum", "const"}:
            loose.append(path)
        if node.get("type") == "array" and "maxItems" not in node:
            loose.append(path)
        if node.get("type") == "object" and node.get("additionalProperties") and "maxProperties" not in node:
            loose.append(path)
        for key, value in node.items():
            walk(value, f"{path}.{key}")

    schema = IngestionJob.model_json_schema()
    walk(schema, "")
    assert loose == []
    assert "number" not in json.dumps([s.get("type") for s in schema["$defs"].values()])


def test_secrets_come_from_the_environment_or_a_mounted_folder(tmp_path: Path) -> None:
    (tmp_path / "films-api").mkdir()
    (tmp_path / "films-api" / "token.v1").write_text("from the file\n")
    job = parse_manifest(
        document(http(auth={"type": "Bearer", "secretRef": {"name": "films-api", "key": "token.v1"}}))
    )
    assert job.spec.source.http is not None
    assert job.spec.source.http.auth is not None
    ref = job.spec.source.http.auth.secret_ref
    assert Secrets(tmp_path, {}).value(ref) == "from the file"
    variable = {"MEDIA_GATEWAY_SECRET_FILMS_API_TOKEN_V1": "from the environment"}
    assert Secrets(tmp_path, variable).value(ref) == "from the environment"
    with pytest.raises(NotConfiguredError, match="MEDIA_GATEWAY_SECRET_FILMS_API_TOKEN_V1"):
        Secrets(tmp_path / "nowhere", {}).value(ref)
