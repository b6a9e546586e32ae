"""Files of judged queries: what is read, and how a wrong line is told."""

from pathlib import Path
from uuid import UUID

import pytest

from media_gateway.cli.evaluation.matching import Relevant
from media_gateway.cli.evaluation.pairs import read_pairs
from media_gateway.core.errors import InvalidInputError
from tests.support.judged import judged, write_lines

ID = "01a206e5-9bb0-73dd-b494-52cbb588cb29"


def test_json_lines_are_read_with_everything_that_stands_in_them(tmp_path: Path) -> None:
    line = {
        "query": "  80s horror ",
        "class": "kind",
        "relevant": [{"title": "The Shining", "year": 1980, "grade": 2}, {"id": ID, "title": "for readers"}],
        "filters": {"genres": ["horror"]},
    }
    path = write_lines(tmp_path / "q.jsonl", line, "", {"query": "alien", "relevant": [{"title": "Alien"}]})

    first, second = read_pairs(path).queries

    assert (first.line, first.text, first.kind) == (1, "80s horror", "kind")
    assert first.relevant == (
        Relevant(None, "The Shining", 1980, 2.0),
        Relevant(UUID(ID), None, None, 1.0),
    )
    assert first.filters == {"genres": ["horror"]}
    assert (second.line, second.kind, second.filters) == (3, "unclassified", None)


def test_csv_rows_of_one_query_are_one_query_with_several_right_answers(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text(
        '\ufeffquery,title,year,class\r\n"boy, wizard",Harry Potter,2001,plot\r\nalien,Alien,,\r\n\r\n'
        '"boy, wizard",The Worst Witch,1986,plot\r\n',
        encoding="utf-8",
        newline="",
    )

    first, second = read_pairs(path).queries

    assert (first.line, first.text, first.kind) == (2, "boy, wizard", "plot")
    assert first.relevant == (
        Relevant(None, "Harry Potter", 2001),
        Relevant(None, "The Worst Witch", 1986),
    )
    assert (second.kind, second.relevant) == ("unclassified", (Relevant(None, "Alien", None),))


def test_a_file_without_the_class_column_is_read(tmp_path: Path) -> None:
    path = tmp_path / "q.CSV"
    path.write_text("title,query,year\nAlien,alien,1979\n")
    (query,) = read_pairs(path).queries
    assert (query.text, query.relevant) == ("alien", (Relevant(None, "Alien", 1979),))


def test_the_digest_tells_files_apart(tmp_path: Path) -> None:
    one = read_pairs(write_lines(tmp_path / "1", judged("a", "A")))
    same = read_pairs(write_lines(tmp_path / "2", judged("a", "A")))
    other = read_pairs(write_lines(tmp_path / "3", judged("a", "B")))
    assert one.sha256 == same.sha256 != other.sha256


GOOD = {"title": "A"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param("{query", "line 2: not JSON", id="no JSON"),
        pytest.param("[1]", "line 2: input should be", id="no object"),
        pytest.param({"relevant": [GOOD]}, "line 2: query: required", id="no query"),
        pytest.param({"query": " ", "relevant": [GOOD]}, "line 2: query: ", id="blank query"),
        pytest.param({"query": 7, "relevant": [GOOD]}, "line 2: query: ", id="query no text"),
        pytest.param({"query": "a"}, "line 2: relevant: required", id="no relevant"),
        pytest.param({"query": "a", "relevant": []}, "line 2: relevant: ", id="nothing relevant"),
        pytest.param(
            {"query": "a", "relevant": [GOOD], "classs": "x"}, "line 2: classs: unknown field", id="unknown"
        ),
        pytest.param(
            {"query": "a", "relevant": [GOOD, {"title": "B", "imdb": "tt1"}]},
            "line 2: relevant.1.imdb: unknown field",
            id="unknown inside",
        ),
        pytest.param(
            {"query": "a", "relevant": [{"year": 1999}]}, "line 2: relevant.0: must have an id", id="no film"
        ),
        pytest.param(
            {"query": "a", "relevant": [{"id": "tt0078748"}]}, "line 2: relevant.0.id: ", id="no id of ours"
        ),
        pytest.param(
            {"query": "a", "relevant": [{"title": "A", "year": "1999"}]},
            "line 2: relevant.0.year: ",
            id="year as text",
        ),
        pytest.param(
            {"query": "a", "relevant": [{"title": "A", "grade": 0}]}, "line 2: relevant.0.grade: ", id="grade"
        ),
        pytest.param(
            {"query": "a", "relevant": [GOOD, GOOD]}, "line 2: relevant: names a film twice", id="twice"
        ),
        pytest.param({"query": "a", "relevant": [GOOD], "filters": 3}, "line 2: filters: ", id="filters"),
        pytest.param({"query": "a", "relevant": [GOOD], "class": "overall"}, "line 2: class: ", id="overall"),
        pytest.param(
            {"query": "first", "relevant": [GOOD]},
            "line 2: query: the same query as in line 1",
            id="repeated",
        ),
    ],
)
def test_a_wrong_line_is_told_with_file_line_and_field(tmp_path: Path, line: object, told: str) -> None:
    path = write_lines(tmp_path / "q.jsonl", {"query": "first", "relevant": [GOOD]}, line)
    with pytest.raises(InvalidInputError) as error:
        read_pairs(path)
    assert error.value.message.startswith(f"{path}: {told}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no query in it"),
        ("query,title,year\n", "no query in it"),
        ("query,title\na,A\n", "line 1: year: the column is missing"),
        ("query,title,year,colour\n", "line 1: colour: unknown column"),
        ("query,title,year,year\n", "line 1: year: the column appears twice"),
        ("query,title,year\na,A\n", "line 2: 2 values for 3 columns"),
        ("query,title,year\na,A,x\n", "line 2: relevant.0.year: "),
        ("query,title,year\n,A,1999\n", "line 2: query: "),
        ('query,title,year\n"a,A,1999\n', "line 2: not CSV"),
    ],
)
def test_a_wrong_csv_is_told_with_line_and_column(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "q.csv"
    path.write_text(text)
    with pytest.raises(InvalidInputError) as error:
        read_pairs(path)
    assert error.value.message.startswith(f"{path}: {told}")


def test_an_empty_file_one_that_is_not_there_and_one_of_bytes_are_errors(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty.jsonl", tmp_path / "binary.jsonl"
    empty.write_text("\n \n")
    binary.write_bytes(b'{"query": "a"}\n\xff\n')
    for path, told in (
        (empty, "no query in it"),
        (tmp_path / "absent", "no such file or directory"),
        (tmp_path, "is a directory"),
        (binary, "line 2: not UTF-8"),
    ):
        with pytest.raises(InvalidInputError) as error:
            read_pairs(path)
        assert error.value.message == f"{path}: {told}"
