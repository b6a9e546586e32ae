"""Whatever the bytes are: readers give items, never exceptions, lose no good line, and continue anywhere."""

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, strategies as st

from media_gateway.core.domain.specs import CsvOptions
from media_gateway.ingestion.formats import END, FormatReader
from media_gateway.ingestion.formats.csv_rows import CsvReader
from media_gateway.ingestion.formats.json_documents import JsonReader
from media_gateway.ingestion.formats.ndjson import NdjsonReader
from media_gateway.ingestion.formats.plain_values import json_text
from media_gateway.ingestion.formats.xmltv import XmltvReader
from media_gateway.ingestion.sources import BadItem, RawRecord
from tests.support.ingestion_sources import films, ndjson, read_all, source_of

READERS: list[FormatReader] = [
    NdjsonReader(4096),
    CsvReader(CsvOptions(), 4096),
    JsonReader(None, 4096),
    JsonReader("records", 4096),
    XmltvReader(4096),
]
VALID = [
    ndjson(films(5)),
    b"id,title\n1,One\n2,Two\n",
    json.dumps(films(5)).encode(),
    json.dumps({"records": films(5)}).encode(),
    b"<tv><programme channel='a'><title>One</title></programme><programme channel='a'/></tv>",
]

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), json_values, max_size=4)
damage = st.tuples(st.integers(0, 400), st.binary(max_size=6), st.integers(0, 20))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: type(reader).__name__)
@given(data=st.binary(max_size=300))
def test_any_bytes_give_items_and_no_exception(reader: FormatReader, data: bytes) -> None:
    for parsed in reader.read(io.BytesIO(data)):
        assert (parsed.payload is None) == bool(parsed.problem)


@pytest.mark.parametrize(
    ("reader", "data"), list(zip(READERS, VALID, strict=True)), ids=lambda value: type(value).__name__
)
@given(hits=st.lists(damage, max_size=4))
def test_damaged_files_give_items_no_exception_and_continue_after_any_item(
    reader: FormatReader, data: bytes, hits: list[tuple[int, bytes, int]]
) -> None:
    for place, put, drop in hits:
        data = data[:place] + put + data[place + drop :]
    everything = list(reader.read(io.BytesIO(data)))
    for index, parsed in enumerate(everything):
        rest = [] if parsed.position == END else list(reader.read(io.BytesIO(data), parsed.position))
        expected = everything[index + 1 :]
        assert [(r.payload, r.problem, r.position) for r in rest] == [
            (e.payload, e.problem, e.position) for e in expected
        ]


@given(records=st.lists(objects, max_size=12), bad=st.lists(st.integers(0, 11), max_size=3))
def test_good_lines_are_all_read_and_bad_ones_all_told(records: list[dict[str, Any]], bad: list[int]) -> None:
    lines = [json.dumps(record).encode() for record in records]
    spoiled = {number for number in bad if number < len(lines)}
    body = b"\n".join(b"{" + line if number in spoiled else line for number, line in enumerate(lines))
    parsed = list(NdjsonReader(1_000_000).read(io.BytesIO(body)))
    assert [one.payload for one in parsed] == [None if n in spoiled else r for n, r in enumerate(records)]
    assert [one.line for one in parsed if one.payload is None] == [number + 1 for number in sorted(spoiled)]


@given(
    records=st.lists(objects, max_size=12), indent=st.none() | st.integers(0, 2), window=st.integers(1, 40)
)
def test_a_json_list_reads_the_same_through_any_window(
    records: list[dict[str, Any]], indent: int | None, window: int
) -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(window if size is None or size > 1024 else size)

    data = json.dumps(records, indent=indent).encode()
    assert [one.payload for one in JsonReader(None, 1_000_000).read(Trickle(data))] == records


text_cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20)


@given(rows=st.lists(st.tuples(text_cells, text_cells), max_size=8))
def test_what_a_csv_writer_writes_is_read_again(rows: list[tuple[str, str]]) -> None:
    import csv

    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("a", "b"), *rows])
    parsed = list(CsvReader(CsvOptions(), 1_000_000).read(io.BytesIO(buffer.getvalue().encode())))
    assert [one.payload for one in parsed] == [{"a": a, "b": b} for a, b in rows]


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


@pytest.mark.parametrize("suffix", PACKERS)
async def test_a_packed_file_that_was_cut_off_gives_what_there_is_and_says_so(
    tmp_path: Path, suffix: str
) -> None:
    # Incompressible enough that half of the file holds many lines.
    lines = ndjson([{"id": n, "title": str(hash((n, "x"))) * 20} for n in range(30_000)])
    packed = PACKERS[suffix](lines)
    path = tmp_path / f"films.ndjson{suffix}"
    path.write_bytes(packed[: len(packed) // 2])
    source = source_of({"type": "File", "file": {"path": str(path)}})
    items = await read_all(source)
    bad = [item for item in items if isinstance(item, BadItem)]
    assert bad
    assert "compressed file" in bad[-1].reason
    assert len(items) > 1 or suffix == ".xz"
    assert await read_all(source, items[-1].checkpoint) == []
    path.write_bytes(b"no packed file at all")
    (item,) = await read_all(source)
    assert isinstance(item, BadItem)


async def test_one_bad_line_in_each_hundred_is_told_with_its_line(tmp_path: Path) -> None:
    lines = ndjson(films(20_000)).splitlines(keepends=True)
    expected = list(range(100, 20_001, 100))
    for line in expected:
        lines[line - 1] = lines[line - 1][:-5] + b"\n"
    (tmp_path / "films.ndjson").write_bytes(b"".join(lines))
    items = await read_all(source_of({"type": "File", "file": {"path": str(tmp_path / "films.ndjson")}}))
    assert [item.line for item in items if isinstance(item, BadItem)] == expected
    assert sum(isinstance(item, RawRecord) for item in items) == 20_000 - len(expected)


async def test_a_file_that_changed_since_the_checkpoint_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "films.ndjson"
    path.write_bytes(ndjson(films(5)))
    source = source_of({"type": "File", "file": {"path": str(path)}})
    checkpoint = (await read_all(source))[3].checkpoint
    path.write_bytes(ndjson(films(3, 100)))
    items = await read_all(source, checkpoint)
    assert [item.payload["id"] for item in items if isinstance(item, RawRecord)] == [100, 101, 102]


async def test_an_incremental_read_leaves_out_what_is_not_newer(tmp_path: Path) -> None:
    path = tmp_path / "films.ndjson"
    records: list[dict[str, Any]] = [
        {"id": 1, "seen": {"at": 9}},
        {"id": 2, "seen": {"at": 10}},
        {"id": 4, "seen": {"at": 11}},
    ]
    path.write_bytes(ndjson(records))
    source = source_of({"type": "File", "file": {"path": str(path)}}, cursor_field="seen.at")
    items = await read_all(source, None, "9")
    assert [(i.payload["id"], i.cursor) for i in items if isinstance(i, RawRecord)] == [(2, "10"), (4, "11")]


@pytest.mark.parametrize("after", [None, "2025-12-31"])
@pytest.mark.parametrize(
    "seen", [{}, {"at": None}, {"at": ""}, {"at": True}, {"at": [1]}, {"at": "soon"}, {"at": 7}]
)
async def test_a_record_that_can_not_be_compared_by_the_cursor_is_refused_by_the_fields_name(
    tmp_path: Path, seen: dict[str, Any], after: str | None
) -> None:
    path = tmp_path / "films.ndjson"
    good = [{"id": number, "seen": {"at": f"2026-01-0{number}"}} for number in (1, 2)]
    path.write_bytes(ndjson([good[0], {"id": 9, "seen": seen}, good[1]]))
    source = source_of({"type": "File", "file": {"path": str(path)}}, cursor_field="seen.at")
    first, bad, last = await read_all(source, None, after)
    assert [item.payload["id"] for item in (first, last) if isinstance(item, RawRecord)] == [1, 2]
    assert isinstance(bad, BadItem)
    assert (bad.field, bad.line, bad.payload) == ("seen.at", 2, {"id": 9, "seen": seen})
    assert bad.excerpt.startswith('{"id":9,')


@pytest.mark.parametrize(
    ("kind", "data", "shown"),
    [
        ("NDJSON", b'{"id": 1, "id": 1e400}\n', '{"id": 1, "id": 1e400}'),
        ("JSON", b'{"results": [[1e400, null, true]]}', '["1e400",null,true]'),
        ("JSON", b'{"results": [null]}', "null"),
    ],
)
async def test_what_is_kept_of_a_bad_record_is_its_text_or_json(
    tmp_path: Path, kind: str, data: bytes, shown: str
) -> None:
    path = tmp_path / "films"
    path.write_bytes(data)
    more: dict[str, Any] = {"json": {"recordsPath": "results"}} if kind == "JSON" else {}
    (item,) = await read_all(source_of({"type": "File", "format": kind, "file": {"path": str(path)}, **more}))
    assert isinstance(item, BadItem)
    assert item.excerpt == shown


def test_json_for_people_has_every_value() -> None:
    values = {
        1: [float("inf"), b"a\xff", 2**70],
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "p": Decimal("1.10"),
    }
    assert json_text(values) == (
        '{"1":["inf","a\ufffd",1180591620717411303424],"at":"2026-01-01 00:00:00+00:00","p":"1.10"}'
    )
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert json_text(deep).startswith("(nested too deeply")


def test_a_list_that_breaks_off_gives_the_records_before_the_break() -> None:
    reader = JsonReader(None, 1_000_000)
    *whole, broken = reader.read(io.BytesIO(b'[{"id": 1},\n{"id": 2},\n{"id": 3, "ti'))
    assert [one.payload for one in whole] == [{"id": 1}, {"id": 2}]
    assert (broken.payload, broken.line) == (None, 3)
    assert broken.problem.startswith("the rest of the file can't be read")


async def test_leaving_a_read_early_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "films.ndjson"
    path.write_bytes(ndjson(films(5000)))
    before = psutil.Process().num_fds()
    items = source_of({"type": "File", "file": {"path": str(path)}}).read(None, None)
    assert isinstance(await anext(items), RawRecord)
    await items.aclose()
    assert psutil.Process().num_fds() <= before
