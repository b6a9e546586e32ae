"""Objects of an S3-compatible store, in the order of their keys.

An object is received completely (on the disk when it is long) before its records are given, as in `http_api`.
"""

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

import aiobotocore.session
import aiohttp
from aiobotocore.config import AioConfig
from botocore import UNSIGNED
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError as StoreConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)

from media_gateway.core.domain.specs import S3Source, SourceSpec
from media_gateway.core.errors import (
    InvalidInputError,
    NotConfiguredError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from media_gateway.core.retry import RetryPolicy, retry_with_backoff
from media_gateway.ingestion.formats import START, open_format
from media_gateway.ingestion.sources.file import unpacked
from media_gateway.ingestion.sources.items import SourceItem
from media_gateway.ingestion.sources.reading import (
    Admission,
    in_thread,
    read_checkpoint,
    read_guarded,
    write_checkpoint,
)
from media_gateway.ingestion.sources.secret_values import Secrets

MEMORY_BYTES = 16 * 1024 * 1024
"""An object above this goes to a temporary file."""

TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class _Listed:
    key: str
    size: int
    tag: str
    """The store's ETag: another one means another content."""


class ObjectsSource:
    """Reads the objects under a prefix; one that has changed since the checkpoint is read anew."""

    def __init__(self, spec: SourceSpec, secrets: Secrets, cursor_field: str | None) -> None:
        assert spec.s3 is not None
        self._s3: S3Source = spec.s3
        self._reader = open_format(spec)
        self._cursor_field = cursor_field
        self._session = aiobotocore.session.get_session()
        self._keys: dict[str, str] = {}
        if spec.s3.access_key_ref is not None and spec.s3.secret_key_ref is not None:
            self._keys = {
                "aws_access_key_id": secrets.value(spec.s3.access_key_ref),
                "aws_secret_access_key": secrets.value(spec.s3.secret_key_ref),
            }
        self._done = 0
        self._at = 0

    @property
    def units_read(self) -> int:
        """Bytes of the objects that were read."""
        return self._done + self._at

    async def estimate(self) -> int | None:
        """Bytes of all objects, by the store's listing."""
        async with self._client() as client:
            return sum([listed.size async for listed in self._listed(client)])

    async def read(self, checkpoint: str | None, cursor: str | None) -> AsyncGenerator[SourceItem]:
        """Records of all objects."""
        place = read_checkpoint(checkpoint, "key", "tag", "at")
        admission = Admission(self._cursor_field, cursor)
        self._done = self._at = 0
        async with self._client() as client:
            async for listed in self._listed(client):
                if place is None or listed.key.encode() >= place["key"].encode():
                    same = place is not None and (place["key"], place["tag"]) == (listed.key, listed.tag)
                    position = tuple(place["at"]) if place is not None and same else START
                    async with aclosing(self._items(client, listed, position, admission)) as items:
                        async for item in items:
                            yield item
                self._at = 0
                self._done += listed.size

    async def _items(
        self, client: Any, listed: _Listed, position: tuple[int, int], admission: Admission
    ) -> AsyncGenerator[SourceItem]:
        body = await retry_with_backoff(lambda: self._receive(client, listed), RetryPolicy(4, 500, 10_000))
        with body:
            stream = unpacked(body, PurePosixPath(listed.key).suffix)
            async with in_thread(lambda: read_guarded(self._reader, stream, position)) as batches:
                async for batch in batches:
                    self._at = min(body.tell(), listed.size)
                    for parsed in batch:
                        here = write_checkpoint(key=listed.key, tag=listed.tag, at=parsed.position)
                        item = admission.item(parsed, here)
                        if item is not None:
                            yield item

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Any]:
        config = AioConfig(
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            retries={"mode": "standard", "max_attempts": 3},
            s3={"addressing_style": "path" if self._s3.path_style else "auto"},
        )
        if not self._keys and await self._anonymous():
            config = config.merge(AioConfig(signature_version=UNSIGNED))
        with _told(self._s3):
            async with self._session.create_client(
                "s3",
                region_name=self._s3.region,
                endpoint_url=self._s3.endpoint_url,
                config=config,
                **self._keys,
            ) as client:
                yield client

    async def _anonymous(self) -> bool:
        """Without credentials anywhere (variables, files, the machine's role), public buckets can still be read."""
        return await self._session.get_credentials() is None

    async def _listed(self, client: Any) -> AsyncIterator[_Listed]:
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=self._s3.bucket, Prefix=self._s3.prefix
        )
        found = False
        with _told(self._s3):
            async for page in pages:
                for entry in page.get("Contents", ()):
                    if entry["Key"].endswith(self._s3.suffix) and not entry["Key"].endswith("/"):
                        found = True
                        yield _Listed(entry["Key"], entry["Size"], entry["ETag"])
        if not found:
            raise InvalidInputError(
                f"spec.source.s3.prefix: no object is there: {self._s3.bucket}/{self._s3.prefix}"
            )

    async def _receive(self, client: Any, listed: _Listed) -> BinaryIO:
        if listed.size > self._s3.max_object_bytes:
            raise InvalidInputError(f"spec.source.s3.maxObjectBytes: {listed.key} has {listed.size} bytes")
        body = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - closed by the reader
        try:
            with _told(self._s3):
                # IfMatch: the object listed, not one that replaced it meanwhile.
                answer = await client.get_object(Bucket=self._s3.bucket, Key=listed.key, IfMatch=listed.tag)
                async with answer["Body"] as stream:
                    async for chunk in stream.iter_chunks(1_048_576):
                        body.write(chunk)
        except BaseException:
            body.close()
            raise
        body.seek(0)
        return cast("BinaryIO", body)


_AWAY = (
    HTTPClientError,
    StoreConnectionError,
    IncompleteReadError,
    aiohttp.ClientError,  # while a body is read
    ConnectionError,
    TimeoutError,
)


@contextmanager
def _told(spec: S3Source) -> Iterator[None]:
    """Turn the driver's exceptions into ours."""
    try:
        yield
    except ClientError as error:
        raise _translated(error, spec) from error
    except NoCredentialsError as error:
        raise NotConfiguredError(
            "spec.source.s3: no credentials; give accessKeyRef and secretKeyRef"
        ) from error
    except _AWAY as error:
        raise UnavailableError(f"the object store can't be reached: {type(error).__name__}") from error
    except BotoCoreError as error:
        raise InvalidInputError(f"spec.source.s3: {error}") from error


def _translated(error: ClientError, spec: S3Source) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in {"NoSuchBucket", "NoSuchKey"} or status == 404:
        return NotFoundError(f"spec.source.s3: not there: {spec.bucket} ({code})")
    if status == 412:
        return UnavailableError("an object was replaced while it was read; read again")
    if status in {401, 403}:
        return PermissionDeniedError(f"spec.source.s3: the store refuses: {code}")
    if status >= 500 or status == 429 or code in {"SlowDown", "RequestTimeout"}:
        return UnavailableError(f"the object store failed: {code}")
    return InvalidInputError(f"spec.source.s3: the store refuses: {code}")
