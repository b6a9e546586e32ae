"""Second factors: an authenticator app (RFC 6238) that its owner has confirmed, and backup codes for when it is lost."""

import base64
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

from prometheus_client import Counter

from media_gateway.auth.actors import Actor
from media_gateway.auth.audit import AuditEntry, AuditLog
from media_gateway.auth.backup_codes import digest_of, make_backup_codes, read_backup_code
from media_gateway.auth.sealing import Seal, SealBrokenError
from media_gateway.auth.store.code_attempts import CodeAttempts
from media_gateway.auth.store.second_factors import KeptFactor, SecondFactorStore
from media_gateway.auth.subjects import Subjects
from media_gateway.auth.totp import DIGITS, STEP_S, step_of
from media_gateway.core.errors import (
    ConflictError,
    FieldError,
    InvalidInputError,
    MediaGatewayError,
    NotConfiguredError,
    PermissionDeniedError,
    RateLimitedError,
)

SECRET_BYTES = 20
"""RFC 4226 section 4, R6: 160 bits."""

T = TypeVar("T")

_codes = Counter("mgw_second_factor_codes_total", "Second factors that were typed", ["outcome"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What goes into the app.

    Attributes
    ----------
    secret : str
        In base32, for typing.
    uri : str
        The same for a QR code, as authenticator apps read it.
    """

    secret: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorState:
    """How it stands with a person's second factor; ``pending`` while an app is offered and not confirmed."""

    enabled: bool
    pending: bool
    confirmed_at: datetime | None
    backup_codes_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorParts:
    """What `AppSecondFactors` works with.

    Attributes
    ----------
    key : bytes | None
        Encrypts secrets and keys the digests of backup codes; without it no app can be enrolled or asked.
    issuer_name : str
        Name of this installation in apps.
    clock : callable
        Unix time in seconds.
    """

    store: SecondFactorStore
    attempts: CodeAttempts
    subjects: Subjects
    audit: AuditLog
    key: bytes | None
    issuer_name: str
    clock: Callable[[], float] = time.time


class AppSecondFactors:
    """`SecondFactors`, and how people get theirs. Raises UnavailableError or DeadlineExceededError if a server is away."""

    def __init__(self, parts: FactorParts) -> None:
        self._store = parts.store
        self._attempts = parts.attempts
        self._subjects = parts.subjects
        self._audit = parts.audit
        self._key = parts.key
        self._issuer_name = parts.issuer_name
        self._clock = parts.clock

    async def is_needed(self, user_id: UUID) -> bool:
        """Whether the person has confirmed an app."""
        factor = await self._store.find(user_id)
        return factor is not None and factor.confirmed_at is not None

    async def check(self, user_id: UUID, code: str) -> bool:
        """Whether it is a code of the person's app, or an unused backup code; either can be used once.

        Raises
        ------
        RateLimitedError
            Too many codes were wrong: none is looked at for a while.
        NotConfiguredError
            The key is missing, or another one than the secret was sealed with.
        """
        return await self._tried(user_id, lambda: self._accepted(user_id, code))

    async def enrol(self, actor: Actor) -> Enrolment:
        """Offer a new app. Nothing changes for sign-ins until `confirm`.

        Raises
        ------
        ConflictError
            There is a confirmed app: it must be removed first.
        """
        seal = Seal(self._required_key())
        subject = await self._subjects.find(actor.user_id)
        if subject is None or not subject.enabled:
            raise PermissionDeniedError("this account can't have a second factor")
        secret = secrets.token_bytes(SECRET_BYTES)
        if not await self._store.offer(actor.user_id, seal.closed(secret, owner=actor.user_id.bytes)):
            raise ConflictError("an authenticator app is in use: remove it first")
        text = base64.b32encode(secret).decode()
        return Enrolment(secret=text, uri=_uri(self._issuer_name, subject.email, text))

    async def confirm(self, actor: Actor, code: str) -> list[str]:
        """Switch the offered app on with a code of it; gives the backup codes, which are told this once.

        Raises
        ------
        ConflictError
            No app was offered, or it is confirmed already.
        InvalidInputError
            The code is wrong.
        RateLimitedError, NotConfiguredError
            As `check`.
        """
        key = self._required_key()
        factor = await self._store.find(actor.user_id)
        if factor is None or factor.confirmed_at is not None:
            raise ConflictError("there is no authenticator app to confirm: enrol one first")
        step = await self._tried(actor.user_id, lambda: self._step_of(actor.user_id, factor, code))
        if step is None:
            raise _wrong()
        codes = make_backup_codes()
        digests = [digest_of(one, owner=actor.user_id, key=key) for one in codes]
        entry = actor.did("second_factor.enabled", "user", str(actor.user_id))
        if not await self._store.confirm(factor, step, digests, entry):
            raise ConflictError("the authenticator app was changed meanwhile: enrol again")
        return codes

    async def state(self, actor: Actor) -> FactorState:
        """How it stands."""
        factor = await self._store.find(actor.user_id)
        confirmed_at = factor.confirmed_at if factor else None
        return FactorState(
            enabled=confirmed_at is not None,
            pending=factor is not None and confirmed_at is None,
            confirmed_at=confirmed_at,
            backup_codes_left=await self._store.codes_left(actor.user_id) if confirmed_at else 0,
        )

    async def disable(self, actor: Actor, code: str) -> None:
        """Remove the app and all backup codes; raises as `confirm`."""
        await self._prove(actor, code)
        await self._store.remove(
            actor.user_id, actor.did("second_factor.disabled", "user", str(actor.user_id))
        )

    async def renew_codes(self, actor: Actor, code: str) -> list[str]:
        """A new set of backup codes in place of the old one; raises as `confirm`."""
        await self._prove(actor, code)
        codes = make_backup_codes()
        digests = [digest_of(one, owner=actor.user_id, key=self._required_key()) for one in codes]
        entry = actor.did("backup_codes.renewed", "user", str(actor.user_id))
        if not await self._store.replace_codes(actor.user_id, digests, entry):
            raise _not_enabled()
        return codes

    async def _prove(self, actor: Actor, code: str) -> None:
        if not await self.is_needed(actor.user_id):
            raise _not_enabled()
        if not await self.check(actor.user_id, code):
            raise _wrong()

    async def _tried(self, user_id: UUID, look: Callable[[], Awaitable[T]]) -> T:
        try:
            attempt = await self._attempts.begin(user_id)
        except RateLimitedError:
            _codes.labels("limited").inc()
            raise
        try:
            found = await look()
        except MediaGatewayError:
            # Nobody learnt whether the code was right.
            with suppress(MediaGatewayError):
                await self._attempts.give_back(user_id, attempt)
            raise
        if found:
            # A right code stays right if Redis goes away now: it is spent.
            with suppress(MediaGatewayError):
                await self._attempts.give_back(user_id, attempt)
        else:
            await self._audit.record(_refused(user_id))
        _codes.labels("right" if found else "wrong").inc()
        return found

    async def _accepted(self, user_id: UUID, code: str) -> bool:
        factor = await self._store.find(user_id)
        if factor is None or factor.confirmed_at is None:
            return False
        backup = read_backup_code(code)
        if backup is not None:
            digest = digest_of(backup, owner=user_id, key=self._required_key())
            return await self._store.spend_backup_code(user_id, digest, _backup_used(user_id))
        step = await self._step_of(user_id, factor, code)
        return step is not None and await self._store.spend_step(user_id, factor, step)

    async def _step_of(self, user_id: UUID, factor: KeptFactor, code: str) -> int | None:
        try:
            secret = Seal(self._required_key()).opened(factor.sealed_secret, owner=user_id.bytes)
        except SealBrokenError as error:
            raise NotConfiguredError(
                "MEDIA_GATEWAY_SEALING_KEY: not the key that authenticator apps were enrolled with"
            ) from error
        typed = code.replace(" ", "")
        return step_of(secret, typed, now=self._clock(), last_step=factor.last_step)

    def _required_key(self) -> bytes:
        if self._key is None:
            raise NotConfiguredError(
                "MEDIA_GATEWAY_SEALING_KEY: second factors need it; example: the output of `openssl rand -hex 32`"
            )
        return self._key


def _uri(issuer: str, account: str, secret: str) -> str:
    # The form that authenticator apps agree on (draft-linuxgemini-otpauth-uri, section 3).
    query = urlencode(
        {"secret": secret, "issuer": issuer, "algorithm": "SHA1", "digits": DIGITS, "period": STEP_S},
        quote_via=quote,
    )
    return f"otpauth://totp/{quote(issuer)}:{quote(account)}?{query}"


def _wrong() -> InvalidInputError:
    message = "not right, or used before"
    return InvalidInputError(f"code: {message}", errors=[FieldError("code", message)])


def _not_enabled() -> ConflictError:
    return ConflictError("there is no second factor: enrol an authenticator app first")


def _refused(user_id: UUID) -> AuditEntry:
    return AuditEntry(
        action="second_factor.refused", resource_type="user", resource_id=str(user_id), user_id=user_id
    )


def _backup_used(user_id: UUID) -> AuditEntry:
    return AuditEntry(
        action="backup_code.used", resource_type="user", resource_id=str(user_id), user_id=user_id
    )
