"""Reads a file of judged queries: JSON Lines, or CSV with one right answer a row. Called by the command and the tests."""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from media_gateway.cli.evaluation.matching import Relevant
from media_gateway.core.errors import InvalidInputError
from media_gateway.core.validation import message_of

UNCLASSIFIED = "unclassified"
"""Class of a query that names none."""

OVERALL = "overall"
"""All queries together; no class may be called so."""

COLUMNS = ("query", "title", "year", "class")
"""Of a CSV file; the class may be absent."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000)]


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query and its right answers.

    Attributes
    ----------
    line : int
        Where it stands in the file, from 1.
    filters : Mapping | None
        Sent with the query as they are.
    """

    line: int
    text: str
    kind: str
    relevant: tuple[Relevant, ...]
    filters: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Pairs:
    """The queries of a file, in its order; ``sha256`` of its bytes tells whether two measurements may be compared."""

    path: Path
    sha256: str
    queries: tuple[JudgedQuery, ...]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _RelevantLine(_Line):
    id: Annotated[UUID, Field(strict=False)] | None = None
    title: Text | None = None
    year: Annotated[int, Field(ge=1800, le=2100)] | None = None
    grade: Annotated[float, Field(gt=0, le=100, strict=False)] = 1.0

    @model_validator(mode="after")
    def _names_a_film(self) -> Self:
        if self.id is None and self.title is None:
            raise ValueError("must have an id, or a title with or without a year")
        return self

    def relevant(self) -> Relevant:
        """An id is exact: what stands beside it is for readers."""
        if self.id is not None:
            return Relevant(self.id, None, None, self.grade)
        return Relevant(None, self.title, self.year, self.grade)


class _QueryLine(_Line):
    query: Text
    kind: Text = Field(default=UNCLASSIFIED, alias="class")
    relevant: list[_RelevantLine] = Field(min_length=1)
    filters: dict[str, Any] | None = None


def read_pairs(path: Path) -> Pairs:
    """Read a file of judged queries; ``.csv`` is CSV, anything else JSON Lines.

    Raises
    ------
    InvalidInputError
        The file can't be read, is empty, or a line is wrong: the message names file, line and field.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{path}: {(error.strerror or 'it can not be read').lower()}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        _refuse(path, line, "", "not UTF-8")
    queries = tuple(_csv_queries(path, text) if path.suffix.lower() == ".csv" else _json_queries(path, text))
    if not queries:
        raise InvalidInputError(f"{path}: no query in it")
    return Pairs(path, hashlib.sha256(content).hexdigest(), queries)


def _json_queries(path: Path, text: str) -> Iterator[JudgedQuery]:
    seen: dict[bytes, int] = {}
    # Only a line feed ends a line here: a title may hold a character that Python takes for a line's end too.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            raw = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            _refuse(path, number, "", f"not JSON ({error})")
        read = _checked(path, number, raw)
        same = orjson.dumps([read.query, read.kind, read.filters], option=orjson.OPT_SORT_KEYS)
        if same in seen:
            _refuse(path, number, "query", f"the same query as in line {seen[same]}")
        seen[same] = number
        answers = tuple(one.relevant() for one in read.relevant)
        if len(set(answers)) < len(answers):
            _refuse(path, number, "relevant", "names a film twice")
        yield JudgedQuery(number, read.query, read.kind, answers, read.filters)


def _csv_queries(path: Path, text: str) -> Iterator[JudgedQuery]:
    """Rows of one query and class are one query with several right answers, at the place of the first row."""
    together: dict[tuple[str, str], tuple[int, dict[Relevant, None]]] = {}
    for number, row in _rows(path, text):
        answer = {"title": row["title"]} | ({"year": _year(row["year"])} if row["year"] else {})
        kind = row.get("class") or UNCLASSIFIED
        read = _checked(path, number, {"query": row["query"], "class": kind, "relevant": [answer]})
        _, answers = together.setdefault((read.query, read.kind), (number, {}))
        answers[read.relevant[0].relevant()] = None
    for (query, kind), (number, answers) in together.items():
        yield JudgedQuery(number, query, kind, tuple(answers))


def _rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        if not columns:
            return
        _check_columns(path, columns)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(columns):
                _refuse(path, reader.line_num, "", f"{len(row)} values for {len(columns)} columns")
            yield reader.line_num, {name: cell.strip() for name, cell in zip(columns, row, strict=True)}
    except csv.Error as error:
        _refuse(path, reader.line_num, "", f"not CSV ({error})")


def _check_columns(path: Path, columns: list[str]) -> None:
    for name in columns:
        if name not in COLUMNS:
            _refuse(path, 1, name, f"unknown column; known are {', '.join(COLUMNS)}")
        if columns.count(name) > 1:
            _refuse(path, 1, name, "the column appears twice")
    for name in COLUMNS[:-1]:
        if name not in columns:
            _refuse(path, 1, name, "the column is missing")


def _year(cell: str) -> int | str:
    # What is no year is refused where every field is checked.
    return int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 10 else cell


def _checked(path: Path, number: int, raw: Any) -> _QueryLine:
    try:
        line = _QueryLine.model_validate(raw)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        _refuse(path, number, ".".join(map(str, problem["loc"])), message_of(problem))
    if line.kind == OVERALL:
        _refuse(path, number, "class", f"{OVERALL!r} is what all queries together are called")
    return line


def _refuse(path: Path, number: int, field: str, message: str) -> NoReturn:
    raise InvalidInputError(f"{path}: line {number}: " + (f"{field}: " if field else "") + message)
