"""Pushed records: `WebhookIntake` checks a delivery and puts it into a Redis stream, `WebhookWorker` writes it.

The intake answers once Redis has the delivery, so a platform never waits for Postgres; a delivery stays in the stream
until its records are committed, however often the worker dies.
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn
from uuid import UUID, uuid4, uuid5

import orjson
import structlog
from prometheus_client import Counter
from pydantic import SecretStr

from media_gateway.core.adapters.postgres import AsyncConnection
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.domain.specs import IngestionJobSpec, PresetName, parse_manifest
from media_gateway.core.errors import (
    FieldError,
    InvalidInputError,
    MediaGatewayError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from media_gateway.core.retry import retry_with_backoff
from media_gateway.ingestion.formats.plain_values import json_text
from media_gateway.ingestion.mapping import Mapper, RecordRejectedError
from media_gateway.ingestion.runs import Counts, DeadLetter, NewRun, storable
from media_gateway.ingestion.services.catalogue import RunContext, WriteReport
from media_gateway.ingestion.services.pipeline import PATIENT, RecordWriter
from media_gateway.ingestion.settings import Settings
from media_gateway.ingestion.store_runs import RunStore, record_delivery
from media_gateway.ingestion.store_webhooks import Added, Delivery, DeliveryStream

MAX_RECORDS = 1_000
"""Records in one delivery at most."""

RECORDS_A_TRANSACTION = 50
"""A delivery with more is written in parts."""

WAIT_MS = 1_000
IDLE_MS = 30_000
"""A delivery that a worker has had for this long goes to another one too; writing it twice changes nothing."""

BACKLOG_RETRY_MS = 5_000
"""What a platform is told to wait while the backlog is full."""

_log = structlog.get_logger(__name__)
_deliveries = Counter("mgw_webhook_deliveries_total", "Webhook deliveries", ["platform", "outcome"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A delivery as it came in.

    Attributes
    ----------
    platform : str
        From the address.
    body : bytes
        Unchanged.
    signature : str | None
        ``sha256=<hex>``: HMAC-SHA256 of the body or, with a timestamp, of ``<timestamp>.<body>``.
    timestamp : str | None
        Unix time in seconds at which it was signed.
    delivery_id : str | None
        The platform's own name of the delivery.
    """

    platform: str
    body: bytes
    signature: str | None
    timestamp: str | None
    delivery_id: str | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """An accepted delivery; a duplicate has the effect, and the answer, of the first one."""

    id: UUID
    duplicate: bool


class WebhookIntake:
    """Takes deliveries in.

    Parameters
    ----------
    redis
        Holds the stream.
    settings
        Platforms with their secrets, and limits.
    """

    def __init__(self, redis: RedisHandle, settings: Settings) -> None:
        self._stream = DeliveryStream(redis)
        self._secrets = settings.webhook_secrets
        self._tolerance_s = settings.webhook_tolerance_s
        self._limits = settings.webhook_backlog, round(settings.webhook_dedup_h * 3600)

    async def accept(self, delivery: Signed) -> Receipt:
        """Check a delivery and store it for the worker.

        Raises
        ------
        NotFoundError
            No such platform.
        UnauthenticatedError
            The signature is missing or wrong, or was made too long ago.
        InvalidInputError
            Signed, but no JSON object or list of them.
        UnavailableError
            Redis is away, or too many deliveries wait already.
        """
        secret = self._secrets.get(delivery.platform)
        if secret is None:
            raise NotFoundError(f"no platform {delivery.platform!r} sends webhooks here")
        try:
            check_signature(delivery, secret, tolerance_s=self._tolerance_s, now_s=time.time())
        except UnauthenticatedError:
            _deliveries.labels(delivery.platform, "unauthenticated").inc()
            raise
        records_of(delivery.body)
        key = f"id:{delivery.delivery_id}".encode() if delivery.delivery_id else b"body:" + delivery.body
        fingerprint = hashlib.sha256(key).hexdigest()
        own_id = uuid7()
        added = await self._stream.add(
            own_id, delivery.platform, delivery.body, fingerprint=fingerprint, limits=self._limits
        )
        _deliveries.labels(delivery.platform, added.name.lower()).inc()
        if added is Added.FULL:
            raise UnavailableError("too many deliveries are waiting", retry_after_ms=BACKLOG_RETRY_MS)
        return Receipt(own_id, duplicate=added is Added.DUPLICATE)


def check_signature(delivery: Signed, secret: SecretStr, *, tolerance_s: int, now_s: float) -> None:
    """Raise `UnauthenticatedError` unless the delivery was signed with the secret, and recently if it says when."""
    signed = delivery.body
    if delivery.timestamp is not None:
        # Under the signature too, else an old delivery could be sent again with a new time.
        signed = delivery.timestamp.encode("utf-8", "surrogateescape") + b"." + delivery.body
    expected = "sha256=" + hmac.new(secret.get_secret_value().encode(), signed, hashlib.sha256).hexdigest()
    given = (delivery.signature or "").strip().lower().encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(expected.encode(), given):
        _refuse("the signature is missing or wrong")
    if delivery.timestamp is not None:
        if not (
            delivery.timestamp.isascii() and delivery.timestamp.isdigit() and len(delivery.timestamp) < 12
        ):
            _refuse("the timestamp is not a Unix time in seconds")
        if abs(now_s - int(delivery.timestamp)) > tolerance_s:
            _refuse(f"the delivery was signed more than {tolerance_s} s ago, or in the future")


def _refuse(message: str) -> NoReturn:
    raise UnauthenticatedError(message, details={"challenge": "HMAC-SHA256"})


def records_of(body: bytes) -> list[dict[str, Any]]:
    """The records of a delivery: the document itself, the items of a list, or those under ``records``.

    Raises
    ------
    InvalidInputError
        Not JSON, not made of objects, or too many.
    """
    try:
        document = orjson.loads(body)
    except ValueError as error:
        raise InvalidInputError(
            f"not valid JSON: {error}", errors=[FieldError("", "not valid JSON")]
        ) from None
    found = document.get("records", document) if isinstance(document, dict) else document
    records = found if isinstance(found, list) else [found]
    if len(records) > MAX_RECORDS:
        problem = FieldError("records", f"more than {MAX_RECORDS} in one delivery")
        raise InvalidInputError(f"{problem.field}: {problem.message}", errors=[problem])
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            problem = FieldError(f"records.{index}", "must be a JSON object")
            raise InvalidInputError(f"{problem.field}: {problem.message}", errors=[problem])
    return records


class WebhookWorker:
    """Writes deliveries to the catalogue.

    Parameters
    ----------
    redis
        Holds the stream.
    catalogue
        Where records go.
    store
        Where counts and dead letters of each platform are kept, as a run that never ends.
    presets
        Mapping preset by platform.
    idle_ms
        Silence after which another worker's delivery is taken over.
    """

    def __init__(
        self,
        redis: RedisHandle,
        catalogue: RecordWriter,
        store: RunStore,
        presets: Mapping[str, PresetName],
        *,
        idle_ms: int = IDLE_MS,
    ) -> None:
        self._redis = redis
        self._stream = DeliveryStream(redis)
        self._catalogue = catalogue
        self._store = store
        self._presets = presets
        self._idle_ms = idle_ms
        self._mappers: dict[str, Mapper] = {}

    async def run(self) -> None:
        """Write deliveries until cancelled. Fails (to be started again) while Redis is away."""
        blocking, consumer = self._redis.blocking_client(wait_ms=WAIT_MS), uuid4().hex
        try:
            while True:
                deliveries = await self._stream.take(
                    blocking, consumer=consumer, wait_ms=WAIT_MS, idle_ms=self._idle_ms
                )
                # The Redis client loses a cancellation that comes while it connects.
                if (task := asyncio.current_task()) and task.cancelling():
                    raise asyncio.CancelledError
                for delivery in deliveries:
                    # Without a limit in time: nobody else could do it better, and the stream holds the rest.
                    await retry_with_backoff(partial(self._write, delivery), PATIENT)
                    await self._stream.done([delivery])
        except MediaGatewayError:
            self._stream.forget_group()
            raise
        finally:
            await blocking.aclose()

    async def _write(self, delivery: Delivery) -> None:
        run = await self._store.open(_endless_run(delivery.platform))
        context = RunContext(run_id=run.id, source=delivery.platform, mode="Incremental")
        records = records_of(delivery.body)
        for start in range(0, max(len(records), 1), RECORDS_A_TRANSACTION):
            part = records[start : start + RECORDS_A_TRANSACTION]
            await self._write_part(uuid5(delivery.id, str(start)), part, context)
        _deliveries.labels(delivery.platform, "written").inc()

    async def _write_part(
        self, part_id: UUID, payloads: Sequence[dict[str, Any]], context: RunContext
    ) -> None:
        mapper = self._mapper(context.source)
        records = []
        mapped: list[dict[str, Any]] = []
        letters: list[DeadLetter] = []
        for payload in payloads:
            try:
                records.append(mapper.map(payload))
                mapped.append(payload)
            except RecordRejectedError as error:
                letters.append(
                    _letter(part_id, payload, mapper.source_id(payload), error.field, error.reason)
                )

        async def also(connection: AsyncConnection, report: WriteReport) -> None:
            refused = [
                _letter(part_id, mapped[index], records[index].source_id, name, reason)
                for index, name, reason in report.rejected
            ]
            counts = Counts(
                read=len(payloads),
                created=report.created,
                updated=report.updated,
                skipped=report.unchanged,
                failed=len(letters) + len(refused),
            )
            await record_delivery(connection, context.run_id, part_id, counts, [*letters, *refused])

        await self._catalogue.write(records, run=context, also=also)

    def _mapper(self, platform: str) -> Mapper:
        if platform not in self._mappers:
            self._mappers[platform] = Mapper(_spec(platform, self._presets.get(platform)))
        return self._mappers[platform]


def _spec(platform: str, preset: PresetName | None) -> IngestionJobSpec:
    """What a job that fetched the same records would say."""
    document = {
        "apiVersion": "mediagateway.io/v1alpha1",
        "kind": "IngestionJob",
        "metadata": {"name": "webhook"},
        "spec": {
            "source": {"type": "HTTP", "name": platform, "http": {"url": "https://webhook.invalid"}},
            **({"mapping": {"preset": preset}} if preset else {}),
        },
    }
    return parse_manifest(document).spec


def _endless_run(platform: str) -> NewRun:
    return NewRun(
        name=f"webhook-{platform}",
        source=platform,
        spec_hash="webhook",
        manifest={},
        origin="webhook",
        mode="Incremental",
        dry_run=False,
    )


def _letter(
    part_id: UUID, payload: dict[str, Any], source_id: str | None, name: str, reason: str
) -> DeadLetter:
    return DeadLetter(
        line=None,
        position=str(part_id),
        source_id=storable(source_id) if source_id is not None else None,
        field=storable(name),
        reason=storable(reason),
        excerpt=storable(json_text(payload)),
    )
