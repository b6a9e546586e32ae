"""Passwords and second factors checked, for the API and the pages alike. Implements `pages.sign_in.Login`."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from media_gateway.auth.audit import AuditEntry, AuditLog
from media_gateway.auth.passwords import Passwords
from media_gateway.auth.second_factor import SecondFactors
from media_gateway.auth.store.attempts import Attempts
from media_gateway.auth.store.budgets import Budget
from media_gateway.auth.store.users import AccountRow, account_by_email, rehash_password
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import MediaGatewayError, PermissionDeniedError, RateLimitedError

CODES_TRIED = 10
CODES_WINDOW_S = 900
"""Wrong second factors of one person, from wherever: of a million codes three are good, so that ten in a quarter of an
hour hit one in a year with a probability of two thirds; the password must be known for each."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RightPassword:
    """Somebody knows the password of an open account.

    Attributes
    ----------
    signed_out_at : datetime | None
        As in `AccountRow`.
    """

    user_id: UUID
    needs_second_factor: bool
    signed_out_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginParts:
    """What `PasswordLogin` works with."""

    database: Database
    passwords: Passwords
    second_factors: SecondFactors
    attempts: Attempts
    codes: Budget
    audit: AuditLog
    require_verified_email: bool


class PasswordLogin:
    """Checks who signs in. Every method raises UnavailableError or DeadlineExceededError if a server is away."""

    def __init__(self, parts: LoginParts) -> None:
        self._parts = parts

    async def check(self, email: str, password: str, *, source: str) -> RightPassword | None:
        """The account, or None for a wrong address or password: the same work for both, and for a locked account.

        Raises
        ------
        RateLimitedError
            Too many tries for this address from this source.
        PermissionDeniedError
            The password is right, but the account is locked, or its address must be confirmed first.
        """
        parts = self._parts
        wait_s = await parts.attempts.begin(email, source)
        if wait_s > 0:
            raise RateLimitedError("too many tries; wait a while", retry_after_ms=round(wait_s * 1000))
        async with parts.database.transaction() as connection:
            account = await account_by_email(connection, email)
        kept = account.password_hash if account else None
        is_right = await parts.passwords.matches(password, kept)
        if account is None or not is_right:
            await self._note("sign_in.failed", account, source)
            return None
        if account.locked:
            await self._note("sign_in.refused", account, source, reason="locked")
            raise PermissionDeniedError("this account is locked", details={"locked": True})
        if parts.require_verified_email and not account.email_verified:
            await self._note("sign_in.refused", account, source, reason="address not confirmed")
            raise PermissionDeniedError(
                "confirm your e-mail address first: follow the link in the mail",
                details={"email_verified": False},
            )
        needs_code = await parts.second_factors.is_needed(account.user_id)
        if not needs_code:
            await parts.attempts.forget(email, source)
            await self._note("sign_in.succeeded", account, source)
        await self._rehash(account, password)
        return RightPassword(
            user_id=account.user_id,
            needs_second_factor=needs_code,
            signed_out_at=account.signed_out_at,
        )

    async def check_second_factor(self, user_id: UUID, code: str) -> bool:
        """Whether it is a code of the person's app, or an unused backup code.

        Raises
        ------
        RateLimitedError
            Too many wrong codes.
        """
        wait_ms = await self._parts.codes.take(str(user_id))
        if wait_ms > 0:
            raise RateLimitedError("too many wrong codes; wait a while", retry_after_ms=wait_ms)
        is_right = await self._parts.second_factors.check(user_id, code)
        if is_right:
            await self._parts.codes.clear(str(user_id))
        action = "sign_in.succeeded" if is_right else "second_factor.failed"
        await self._parts.audit.record(
            AuditEntry(action=action, resource_type="user", resource_id=str(user_id), user_id=user_id)
        )
        return is_right

    async def forget_attempts(self, email: str, source: str) -> None:
        """The person has proven everything: count attempts anew."""
        await self._parts.attempts.forget(email, source)

    async def _note(
        self, action: str, account: AccountRow | None, source: str, *, reason: str | None = None
    ) -> None:
        user_id = account.user_id if account else None
        await self._parts.audit.record(
            AuditEntry(
                action=action,
                resource_type="user",
                resource_id=str(user_id) if user_id else None,
                user_id=user_id,
                source=source,
                details={"reason": reason} if reason else {},
            )
        )

    async def _rehash(self, account: AccountRow, password: str) -> None:
        old = account.password_hash
        if old is None or not self._parts.passwords.is_outdated(old):
            return
        new = await self._parts.passwords.hashed(password)
        try:
            async with self._parts.database.transaction() as connection:
                await rehash_password(connection, account.user_id, old=old, new=new)
        except MediaGatewayError as error:
            # The next sign-in does it.
            _log.warning("an outdated hash of a password stays", problem=error.message)
