"""Sources of an ingestion run, one module a kind. Each driver is imported only when a job needs it."""

from pathlib import Path

from media_gateway.core.domain.specs import SourceSpec
from media_gateway.core.errors import NotConfiguredError
from media_gateway.ingestion.sources.cursors import later
from media_gateway.ingestion.sources.file_root import FileRoot
from media_gateway.ingestion.sources.items import BadItem, RawRecord, Source, SourceItem
from media_gateway.ingestion.sources.secret_values import Secrets

__all__ = ["BadItem", "FileRoot", "RawRecord", "Secrets", "Source", "SourceItem", "later", "open_source"]


def open_source(
    spec: SourceSpec,
    *,
    secrets: Secrets,
    cursor_field: str | None = None,
    cache_path: Path | None = None,
    file_root: FileRoot | None = None,
) -> Source:
    """The source that a manifest describes. Opens nothing yet.

    Parameters
    ----------
    spec
        ``job.spec.source``.
    secrets
        Where named secrets are found.
    cursor_field
        ``job.spec.cursor_field`` of an Incremental run, else None.
    cache_path
        Folder to keep downloaded demo data in; by default ``cache`` in the default state folder.
    file_root
        Folder that files must lie in and are relative to, for jobs from others; None for an operator's own job, which
        may read whatever the process may, relative to its working folder.

    Raises
    ------
    InvalidInputError
        The manifest names a file outside of ``file_root``, or something that can't be; the field is named.
    NotConfiguredError
        A secret is missing, or an optional package; the message names it.
    """
    try:
        return _open(spec, secrets, cursor_field, cache_path, file_root)
    except ImportError as error:
        extra = {"S3": "s3", "Kafka": "kafka"}.get(spec.type, "parquet")
        raise NotConfiguredError(
            f"source type {spec.type} needs an optional package; run: pip install 'media-gateway[{extra}]'"
        ) from error


def _open(
    spec: SourceSpec,
    secrets: Secrets,
    cursor_field: str | None,
    cache_path: Path | None,
    file_root: FileRoot | None,
) -> Source:
    match spec.type:
        case "File":
            from media_gateway.ingestion.sources.file import FilesSource

            return FilesSource(spec, cursor_field, file_root)
        case "HTTP":
            from media_gateway.ingestion.sources.http_api import HttpApiSource

            return HttpApiSource(spec, secrets, cursor_field)
        case "S3":
            from media_gateway.ingestion.sources.s3 import ObjectsSource

            return ObjectsSource(spec, secrets, cursor_field)
        case "Kafka":
            from media_gateway.ingestion.sources.kafka import TopicSource

            return TopicSource(spec, secrets, cursor_field)
        case "Database":
            from media_gateway.ingestion.sources.database import RowsSource

            return RowsSource(spec, secrets, cursor_field, file_root)
        case "Demo":
            from media_gateway.ingestion.sources.demo import DemoFilms

            return DemoFilms(spec, cache_path, cursor_field)
