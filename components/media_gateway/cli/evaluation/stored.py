"""Values that a ranking has reached, kept in a file, so that a change that worsens it is noticed.

Called by the command (``--record``, ``--check``) and by the test of the demo set.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from media_gateway.cli.evaluation.pairs import Pairs
from media_gateway.cli.evaluation.report import Report
from media_gateway.core.errors import InvalidInputError
from media_gateway.core.validation import message_of

TOLERANCE = 0.01
"""By how much a measure may fall unless its file says otherwise: in a class of fifty queries, one film found a few places
further down, which the order of equal scores alone can bring about."""


class StoredValue(BaseModel):
    """A measure and by how much it may fall."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: Annotated[float, Field(ge=0, le=1)]
    tolerance: Annotated[float, Field(ge=0, le=1)] = TOLERANCE


class StoredValues(BaseModel):
    """What was reached with which file of queries, at which depth; by class and measure."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pairs_sha256: str
    depth: int
    classes: dict[str, dict[str, StoredValue]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A measure of a class that is worse than stored; ``now`` is None if it was not measured at all."""

    kind: str
    measure: str
    stored: StoredValue
    now: float | None


def stored_for(path: Path, pairs: Pairs, depth: int) -> StoredValues:
    """Read stored values that a measurement with these queries at this depth may be compared with.

    Raises
    ------
    InvalidInputError
        The file can't be read, is none of ``--record``'s, or was recorded with other queries or at another depth.
    """
    stored = _read(path)
    if stored.pairs_sha256 != pairs.sha256:
        raise InvalidInputError(f"{path}: these values are of another file of queries; --record them again")
    if stored.depth != depth:
        raise InvalidInputError(f"{path}: these values are of depth {stored.depth}, not {depth}")
    return stored


def _read(path: Path) -> StoredValues:
    try:
        return StoredValues.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{path}: {(error.strerror or 'it can not be read').lower()}") from error
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise InvalidInputError(f"{path}: {where + ': ' if where else ''}{message_of(problem)}") from error


def worse_than(stored: StoredValues, report: Report) -> list[Finding]:
    """Measures of the first variant that are below their stored value by more than its tolerance."""
    now = {found.name: found.measures for found in report.variants[0].classes} if report.variants else {}
    return [
        Finding(kind, measure, value, reached)
        for kind, values in stored.classes.items()
        for measure, value in values.items()
        if (reached := now.get(kind, {}).get(measure)) is None or reached < value.value - value.tolerance
    ]


def record(path: Path, report: Report) -> StoredValues:
    """Write the values of the first variant; tolerances that the file has already stay as they are.

    Raises
    ------
    InvalidInputError
        The file is there and is none of ours, or can't be written.
    """
    before = _read(path).classes if path.exists() else {}
    classes: dict[str, dict[str, StoredValue]] = {}
    for found in report.variants[0].classes:
        known = before.get(found.name, {})
        classes[found.name] = {
            measure: StoredValue(
                value=round(value, 4),
                tolerance=known[measure].tolerance if measure in known else TOLERANCE,
            )
            for measure, value in found.measures.items()
        }
    stored = StoredValues(pairs_sha256=report.pairs.sha256, depth=report.target.depth, classes=classes)
    try:
        path.write_text(stored.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"{path}: {(error.strerror or 'it can not be written').lower()}") from error
    return stored
