"""Small sources of every kind for the source tests, and how to read them."""

import bz2
import gzip
import json
import sqlite3
from collections.abc import Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from media_gateway.core.domain.specs import IngestionJob, parse_manifest
from media_gateway.ingestion.sources import Secrets, Source, SourceItem, open_source
from tests.support.models import CACHE

DEMO_CACHE = CACHE / "demo"
"""Kept between runs; the wheel is downloaded once a machine."""


def job(source: dict[str, Any], **spec: object) -> IngestionJob:
    return parse_manifest(
        {
            "apiVersion": "mediagateway.io/v1alpha1",
            "kind": "IngestionJob",
            "metadata": {"name": "films"},
            "spec": {"source": source, **spec},
        }
    )


def source_of(
    source: dict[str, Any], *, secrets: dict[str, str] | None = None, cursor_field: str | None = None
) -> Source:
    return open_source(
        job(source).spec.source,
        secrets=Secrets(environ=secrets or {}),
        cursor_field=cursor_field,
        cache_path=DEMO_CACHE,
    )


async def read_all(
    source: Source, checkpoint: str | None = None, cursor: str | None = None
) -> list[SourceItem]:
    async with aclosing(source.read(checkpoint, cursor)) as items:
        return [item async for item in items]


def films(count: int, first: int = 1) -> list[dict[str, Any]]:
    return [
        {"id": number, "title": f"Film {number} – “ü”", "changed": f"2026-01-{number % 28 + 1:02d}T00:00:00Z"}
        for number in range(first, first + count)
    ]


def ndjson(records: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def file_source(path: Path, kind: str, **more: object) -> dict[str, Any]:
    return {"type": "File", "format": kind, "file": {"path": str(path)}, **more}


def write_files(folder: Path) -> dict[str, dict[str, Any]]:
    """One file source of each format and packing, most with a broken record inside."""
    records = films(30)
    lines = ndjson(records[:20]) + b'{"id": broken}\n' + b"\xff\xfe broken bytes\n" + ndjson(records[20:])
    (folder / "a.ndjson").write_bytes(lines + b'{"id": 31, "title": "half')
    (folder / "a.ndjson.gz").write_bytes(gzip.compress(lines))
    (folder / "a.ndjson.bz2").write_bytes(bz2.compress(lines))
    rows = "".join(f'{r["id"]},"{r["title"]}, part\n two"\r\n' for r in records)
    (folder / "a.csv").write_text(f"id,title\r\n{rows}99\r\n100,last\r\n", encoding="utf-8", newline="")
    texts = [json.dumps(record) for record in records]
    (folder / "list.json").write_text(f"[{','.join([*texts[:9], '7', *texts[9:]])}]", encoding="utf-8")
    (folder / "page.json").write_text(json.dumps({"data": {"films": records}}), encoding="utf-8")
    programmes = "".join(f'<programme channel="one"><title>{r["title"]}</title></programme>' for r in records)
    (folder / "guide.xml").write_text(f"<tv>{programmes}</tv>", encoding="utf-8")
    (folder / "many").mkdir()
    for number in range(3):
        (folder / "many" / f"{number}.ndjson").write_bytes(ndjson(films(7, number * 7)))
    write_parquet(folder / "a.parquet", records)
    return {
        "ndjson": file_source(folder / "a.ndjson", "NDJSON"),
        "gzip": file_source(folder / "a.ndjson.gz", "NDJSON"),
        "bzip2": file_source(folder / "a.ndjson.bz2", "NDJSON"),
        "csv": file_source(folder / "a.csv", "CSV"),
        "json list": file_source(folder / "list.json", "JSON"),
        "json records path": file_source(folder / "page.json", "JSON", json={"recordsPath": "data.films"}),
        "xmltv": file_source(folder / "guide.xml", "XMLTV"),
        "folder": file_source(folder / "many", "NDJSON"),
        "glob": file_source(folder / "many" / "*.ndjson", "NDJSON"),
        "parquet": file_source(folder / "a.parquet", "Parquet"),
    }


def write_parquet(path: Path, records: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(records), path, row_group_size=8)


def write_database(path: Path, count: int = 30) -> str:
    """A SQLite file with a table of films; its address."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE films (id INTEGER PRIMARY KEY, title TEXT, changed TEXT)")
        rows = [(r["id"], r["title"], r["changed"] if r["id"] % 10 else None) for r in films(count)]
        connection.executemany("INSERT INTO films VALUES (?, ?, ?)", rows)
    connection.close()
    return f"sqlite:///{path}"
