"""Readers of formats: what they make of good files, and that broken ones give problems with line and reason."""

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_gateway.core.domain.specs import CsvOptions, JsonOptions, SourceSpec
from media_gateway.core.errors import InvalidInputError, NotConfiguredError
from media_gateway.ingestion.formats import END, FormatReader, Parsed, open_format
from media_gateway.ingestion.formats.csv_rows import CsvReader
from media_gateway.ingestion.formats.json_documents import JsonReader
from media_gateway.ingestion.formats.ndjson import NdjsonReader
from media_gateway.ingestion.formats.xmltv import XmltvReader

GUIDE = Path(__file__).parents[1] / "data" / "sources" / "guide.xml"
LIMIT = 4096
HALF = "the file ends in the middle of a record (not JSON: Unterminated string starting at at character 7)"


def read(reader: FormatReader, data: bytes) -> list[Parsed]:
    return list(reader.read(io.BytesIO(data)))


def told(parsed: list[Parsed]) -> list[object]:
    return [one.payload if one.payload is not None else (one.line, one.problem) for one in parsed]


def problems(reader: FormatReader, data: bytes) -> list[tuple[int | None, str]]:
    return [(one.line, one.problem) for one in read(reader, data) if one.payload is None]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n\n  \n", []),
        (b'{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        (b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}', [{"a": 1}, {"a": 2}]),
        (b'{"a": 1}\n[1]\n7\n"x"\nnull\n{"a": 2}\n', [
            {"a": 1}, (2, "not an object but a list"), (3, "not an object but a number"),
            (4, "not an object but a text"), (5, "not an object but null"), {"a": 2}]),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}\n', [(1, "the key 'c' appears twice")]),
        (b'{"a": NaN}\n', [(1, "NaN is not JSON")]),
        ('{"a": "é"}\n'.encode("iso-8859-1"), [(1, "byte 0xE9 at position 8 is not UTF-8")]),
        (b'{"a": 1}\n{"a": "ha', [{"a": 1}, (2, HALF)]),
        (b'{"a": ' + b"[" * 3000 + b"\n", [(1, "nested too deeply")]),
        (b'{"a": ' + b"9" * 4090 + b"}\n", [(1, "the line is longer than 4096 bytes")]),
        ('{"a": 1}\n'.encode("utf-16"), [(1, "the file is UTF-16; NDJSON is UTF-8")]),
    ],
)  # fmt: skip
def test_ndjson_lines_are_objects_or_problems(data: bytes, expected: list[object]) -> None:
    assert told(read(NdjsonReader(LIMIT), data)) == expected


def test_a_number_of_too_many_digits_is_a_problem_and_no_exception() -> None:
    ((line, problem),) = problems(NdjsonReader(100_000), b'{"a": ' + b"9" * 5000 + b"}\n")
    assert line == 1
    assert "not usable JSON" in problem


def test_a_line_that_is_much_too_long_is_passed_over_and_the_next_is_read() -> None:
    data = b'{"a": "' + b"x" * 3_000_000 + b'"}\n{"a": 2}\n'
    assert told(read(NdjsonReader(LIMIT), data)) == [(1, "the line is longer than 4096 bytes"), {"a": 2}]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"[]", []),
        (b"", []),
        (b' \n[ {"a": 1} , {"a": [1, "]"]} ]\n', [{"a": 1}, {"a": [1, "]"]}]),
        (b'{"a": 1}', [{"a": 1}]),
        (b'\xef\xbb\xbf[{"a": 1}]', [{"a": 1}]),
        (b'[{"a": 1},\n 7,\n {"a": 2}]', [{"a": 1}, (2, "not an object but a number"), {"a": 2}]),
        (b'[{"a": 1, "a": 2}, {"b": NaN}, {"c": 3}]', [
            (1, "the key 'a' appears twice"), (1, "NaN is not JSON"), {"c": 3}]),
        (b'[{"a": 1},\n{"a": ', [{"a": 1}, (2, "the rest of the file can't be read: not JSON: Expecting value")]),
        (b'[{"a": 1}', [{"a": 1}, (1, "the rest of the file can't be read: the file ends before the list does")]),
        (b'[{"a": 1} {"a": 2}]', [{"a": 1}, (1, "the rest of the file can't be read: a comma is missing")]),
        (b'[{"a": 1}] x', [{"a": 1}, (1, "the rest of the file can't be read: something stands after the end of the list")]),
        (b'[{"a": "\xe9"}]', [(1, "the rest of the file can't be read: it is not UTF-8")]),
        (b"7", [(None, "the document can't be read: there is no list of records at the records path")]),
        (b"[" + b"[" * 3000, [(1, "the rest of the file can't be read: nested too deeply")]),
    ],
)  # fmt: skip
def test_json_lists_are_read_element_by_element(data: bytes, expected: list[object]) -> None:
    assert told(read(JsonReader(None, LIMIT), data)) == expected


def test_a_json_list_larger_than_the_window_is_read_with_its_lines() -> None:
    records = [{"id": number, "text": "ü" * 500} for number in range(2000)]
    data = json.dumps(records, ensure_ascii=False, indent=1).encode()
    parsed = read(JsonReader(None, LIMIT), data)
    assert told(parsed) == records
    assert parsed[1000].line == data.decode().split('"id": 1000,')[0].count("\n")


def test_records_inside_a_document_are_found_by_their_path() -> None:
    data = b'{"page": 1, "data": {"items": [{"a": 1}, null, {"a": 2}]}}'
    assert told(read(JsonReader("data.items", LIMIT), data)) == [
        {"a": 1}, (None, "not an object but null"), {"a": 2}]  # fmt: skip
    ((_, problem),) = problems(JsonReader("data.nothing", LIMIT), data)
    assert "no list of records" in problem
    with pytest.raises(InvalidInputError, match=r"spec\.source\.json\.recordsPath"):
        JsonReader("data[", LIMIT)


@pytest.mark.parametrize(
    ("options", "data", "expected"),
    [
        ({}, b"", []),
        ({}, b'id,title\n1,One\n\n2,"Two, and\nmore"\n', [{"id": "1", "title": "One"}, {"id": "2", "title": "Two, and\nmore"}]),
        ({}, b'\xef\xbb\xbfid,title\r\n1,"say ""hi"""\r\n', [{"id": "1", "title": 'say "hi"'}]),
        ({}, b"id,title\n1\n1,2,3\n4,ok\n", [
            (2, "1 columns where 2 are named"), (3, "3 columns where 2 are named"), {"id": "4", "title": "ok"}]),
        ({}, b"id,title\n1,\xe9\n2,ok\n", [(2, "byte 0xE9 at position 3 is not UTF-8"), {"id": "2", "title": "ok"}]),
        ({"encoding": "windows-1252"}, b"id,title\n1,\xe9\x80\n", [{"id": "1", "title": "é€"}]),
        ({}, b'id,title\n1,"half', [(2, "not CSV: unexpected end of data")]),
        ({}, b'id,title\n1,"a"b\n2,ok\n', [(2, "not CSV: ',' expected after '\"'"), {"id": "2", "title": "ok"}]),
        ({}, b"id,id\n1,2\n", [(1, "the header can't be used: the column 'id' appears twice")]),
        ({}, b"id,\n1,2\n", [{"id": "1", "column_2": "2"}]),
        ({"delimiter": ";", "quote": "'"}, b"id;title\n1;'a;b'\n", [{"id": "1", "title": "a;b"}]),
        ({"columns": ["x", "y"]}, b"1,2\n3,4\n", [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]),
        ({}, b"id,title\n" + b"x" * 5000 + b",1\n2,ok\n", [(2, "the line is longer than 4096 bytes"), {"id": "2", "title": "ok"}]),
        ({}, "id\n1\n".encode("utf-16"), [(1, "the header can't be used: the file is UTF-16")]),
    ],
)  # fmt: skip
def test_csv_rows_are_objects_or_problems(
    options: dict[str, Any], data: bytes, expected: list[object]
) -> None:
    assert told(read(CsvReader(CsvOptions.model_validate(options), LIMIT), data)) == expected


def test_xmltv_programmes_come_with_their_channel() -> None:
    film, episode = read(XmltvReader(LIMIT), GUIDE.read_bytes())
    assert film.line == 5
    assert film.payload is not None
    assert film.payload["title"] == "Der Himmel über Berlin"
    assert film.payload["channel"] == {
        "id": "arte.de",
        "name": "ARTE",
        "icon": "https://example.org/arte.png",
        "url": None,
    }
    assert film.payload["start"] == "2026-01-01T20:15:00+01:00"
    assert film.payload["credits"][1] == {"name": "Bruno Ganz", "role": "actor", "character": "Damiel"}
    assert (film.payload["kind"], film.payload["star_rating"], film.payload["length_minutes"]) == (
        "movie",
        8.0,
        128,
    )
    assert episode.payload is not None
    assert (episode.payload["kind"], episode.payload["season"], episode.payload["episode"]) == (
        "episode",
        2,
        5,
    )


BOMB = b"""<?xml version="1.0"?><!DOCTYPE tv [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<tv><programme channel="x"><title>&b;</title></programme></tv>"""
FETCH = b"""<!DOCTYPE tv [<!ENTITY x SYSTEM "file:///etc/passwd">]><tv><programme><title>&x;</title></programme></tv>"""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (BOMB, "it declares entities, which are refused"),
        (FETCH, "it declares entities, which are refused"),
        (b"<html></html>", "the root element is 'html', not 'tv'"),
        (b"<tv><programme><title>One</titel></programme></tv>", "not well-formed XML: mismatched tag"),
        (b"<tv><programme><title>One", "it ends in the middle of the document"),
        (b"", "it ends in the middle of the document"),
        (b"<tv>" + b"<a>" * 100, "nested too deeply"),
        (b"<tv><programme><title>" + b"x" * 300_000 + b"</title></programme></tv>", "an element is longer than 4096 bytes"),
        (b"<tv>\xff</tv>", "not well-formed XML: not well-formed (invalid token)"),
    ],
)  # fmt: skip
def test_a_guide_that_is_broken_or_dangerous_is_a_problem(data: bytes, reason: str) -> None:
    found = read(XmltvReader(LIMIT), data)
    assert found[-1].payload is None
    assert found[-1].problem == f"the rest of the file can't be read: {reason}"
    assert found[-1].position == END


def test_programmes_before_the_damage_are_kept() -> None:
    programme = b"<programme channel='x'><title>One</title></programme>"
    found = read(XmltvReader(LIMIT), b"<tv>" + programme * 3 + b"<programme")
    assert [one.payload is not None for one in found] == [True, True, True, False]


def parquet(path: Path) -> FormatReader:
    spec = SourceSpec.model_validate({"type": "File", "format": "Parquet", "file": {"path": str(path)}})
    return open_format(spec)


def test_parquet_rows_have_json_like_values(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    day = pa.array([17_897], pa.date32())
    table = pa.table(
        {
            "id": [1],
            "price": pa.array([Decimal("3.99")]),
            "day": day,
            "when": pa.array([1_546_300_800_000], pa.timestamp("ms", "UTC")),
            "genres": [["drama", "war"]],
            "ids": [{"imdb": "tt0000001"}],
            "raw": pa.array([b"text"]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    with (tmp_path / "a.parquet").open("rb") as file:
        (row,) = parquet(tmp_path).read(file)
    assert row.payload == {
        "id": 1,
        "price": "3.99",
        "day": "2019-01-01",
        "when": "2019-01-01T00:00:00+00:00",
        "genres": ["drama", "war"],
        "ids": {"imdb": "tt0000001"},
        "raw": "text",
    }


def test_a_broken_text_in_parquet_is_one_bad_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    good, bad = pa.array([b"one", b"three"]), pa.array([b"\xff\xfe"])
    texts = pa.concat_arrays([good[:1], bad, good[1:]]).view(pa.string())
    pq.write_table(pa.table({"id": [1, 2, 3], "title": texts}), tmp_path / "a.parquet")
    with (tmp_path / "a.parquet").open("rb") as file:
        rows = list(parquet(tmp_path).read(file))
    assert [row.payload and row.payload["title"] for row in rows] == ["one", None, "three"]
    assert rows[1].line == 2
    assert "title" in rows[1].problem


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_cut_parquet_file_is_a_problem(tmp_path: Path, keep: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": list(range(50))}), tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()[:keep]
    (row,) = read(parquet(tmp_path), data)
    assert row.payload is None
    assert "can't be read" in row.problem


def test_a_missing_parquet_package_is_told_by_the_extras_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "media_gateway.ingestion.formats.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotConfiguredError, match=r"media-gateway\[parquet\]"):
        parquet(tmp_path)


def test_options_reach_the_readers() -> None:
    assert JsonOptions.model_validate({"recordsPath": "a"}).records_path == "a"
