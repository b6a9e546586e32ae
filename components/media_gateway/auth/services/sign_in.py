"""Signing in at the API: a password, a second factor where one is set up, and tokens."""

import time
from dataclasses import dataclass

from media_gateway.auth.granting import FIRST_PARTY, Grant, TokenIssuer, TokenPair
from media_gateway.auth.services.password_login import PasswordLogin, RightPassword
from media_gateway.auth.store.users import is_still_signed_in
from media_gateway.auth.subjects import Subjects
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import UnauthenticatedError

WRONG = "the e-mail address or the password is not right"
"""One text for both, so that nobody learns who has an account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What somebody signs in with, and from where."""

    email: str
    password: str
    second_factor: str | None
    source: str


class SignIn:
    """Gives tokens for passwords."""

    def __init__(
        self, database: Database, login: PasswordLogin, subjects: Subjects, issuer: TokenIssuer
    ) -> None:
        self._database = database
        self._login = login
        self._subjects = subjects
        self._issuer = issuer

    async def sign_in(self, given: Credentials) -> TokenPair:
        """Tokens of a new grant.

        Raises
        ------
        UnauthenticatedError
            Address or password are wrong; or a second factor is missing or wrong, which ``second_factor_needed`` among
            the details says.
        RateLimitedError, PermissionDeniedError
            As `PasswordLogin`.
        """
        found = await self._login.check(given.email, given.password, source=given.source)
        if found is None:
            raise UnauthenticatedError(WRONG)
        if found.needs_second_factor:
            await self._check_second_factor(found, given)
        subject = await self._subjects.find(found.user_id)
        if subject is None or not subject.enabled:
            raise UnauthenticatedError(WRONG)
        grant = Grant(
            grant_id=uuid7(),
            client_id=FIRST_PARTY,
            subject=subject,
            scopes=subject.scopes,
            signed_in_at=time.time(),
        )
        pair = await self._issuer.issue(grant)
        # The password may have been changed, or the account locked, after it was looked up: then these tokens are among
        # those that had to end, and came too late to be seen.
        async with self._database.transaction() as connection:
            is_good = await is_still_signed_in(connection, found.user_id, found.signed_out_at)
        if not is_good:
            await self._issuer.revoke(grant.grant_id, reason="signed out while signing in")
            raise UnauthenticatedError(WRONG)
        return pair

    async def _check_second_factor(self, found: RightPassword, given: Credentials) -> None:
        details = {"second_factor_needed": True}
        if given.second_factor is None:
            raise UnauthenticatedError(
                "send second_factor, too: a code of the authenticator app, or a backup code", details=details
            )
        if not await self._login.check_second_factor(found.user_id, given.second_factor):
            raise UnauthenticatedError("second_factor: the code is not right", details=details)
        await self._login.forget_attempts(given.email, given.source)
