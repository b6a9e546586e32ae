"""Formats of files and messages, one module each."""

from media_gateway.core.domain.specs import SourceSpec
from media_gateway.core.errors import NotConfiguredError
from media_gateway.ingestion.formats.csv_rows import CsvReader
from media_gateway.ingestion.formats.json_documents import JsonReader
from media_gateway.ingestion.formats.ndjson import NdjsonReader
from media_gateway.ingestion.formats.parsed import END, START, FormatReader, Parsed, Position, UnreadableError
from media_gateway.ingestion.formats.xmltv import XmltvReader

__all__ = ["END", "START", "FormatReader", "Parsed", "Position", "UnreadableError", "open_format"]


def open_format(spec: SourceSpec) -> FormatReader:
    """The reader of the format that a source names.

    Raises
    ------
    NotConfiguredError
        The format needs an optional package; the message names it.
    InvalidInputError
        An option is wrong.
    """
    match spec.format:
        case "NDJSON":
            return NdjsonReader(spec.max_record_bytes)
        case "JSON":
            return JsonReader(spec.json_options.records_path, spec.max_record_bytes)
        case "CSV":
            return CsvReader(spec.csv, spec.max_record_bytes)
        case "XMLTV":
            return XmltvReader(spec.max_record_bytes)
        case "Parquet":
            try:
                from media_gateway.ingestion.formats.parquet import ParquetReader
            except ImportError as error:
                raise NotConfiguredError(
                    "format Parquet needs an optional package; run: pip install 'media-gateway[parquet]'"
                ) from error
            return ParquetReader()
