"""Parquet files. Positions are numbers of rows; row groups before the position are not read."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from media_gateway.ingestion.formats.parsed import END, START, Parsed, Position, UnreadableError
from media_gateway.ingestion.formats.plain_values import plain_record

BATCH_ROWS = 1000


class ParquetReader:
    """Reads rows as objects, a thousand at a time; lines are row numbers."""

    def read(self, stream: BinaryIO, position: Position = START) -> Iterator[Parsed]:
        """Records and problems after a number of rows."""
        row = 0
        try:
            file = pq.ParquetFile(stream)
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if row + rows <= position[0]:
                    row += rows
                    continue
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group]):
                    for parsed in _rows(batch, row):
                        if parsed.position > position:
                            yield parsed
                    row += batch.num_rows
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            yield Parsed(None, row + 1, END, problem=f"the Parquet file can't be read from here: {reason}")


def count_rows(stream: BinaryIO) -> int:
    """Rows of a file by its footer; 0 for an unreadable file."""
    try:
        return int(pq.ParquetFile(stream).metadata.num_rows)
    except (pa.ArrowException, OSError, ValueError):
        return 0


def _rows(batch: Any, before: int) -> Iterator[Parsed]:
    try:
        rows = batch.to_pylist()
    except (UnicodeDecodeError, ValueError, OverflowError):
        # One broken value spoils the batch: find it row by row.
        rows = [_single(batch.slice(index, 1)) for index in range(batch.num_rows)]
    for number, row in enumerate(rows, before + 1):
        try:
            if isinstance(row, UnreadableError):
                raise row
            yield Parsed(plain_record(row), number, (number, 0))
        except UnreadableError as error:
            yield Parsed(None, number, (number, 0), problem=str(error), raw=row)


def _single(batch: Any) -> dict[str, Any] | UnreadableError:
    record = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            record[name] = column[0].as_py()
        except (UnicodeDecodeError, ValueError, OverflowError) as error:
            return UnreadableError(f"column {name}: {error}")
    return record
