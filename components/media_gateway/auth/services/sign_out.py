"""The end of all of a person's sessions and tokens.

It is noted together with its reason and carried out afterwards, so that neither is lost when a server goes away in between.
"""

import asyncio
from datetime import datetime
from uuid import UUID

import structlog

from media_gateway.auth.browser import BrowserSessions
from media_gateway.auth.granting import TokenIssuer
from media_gateway.auth.store.users import due_sign_outs, end_sign_out
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import MediaGatewayError

LOOK_EVERY_S = 5.0
LEFT_ALONE_S = 15.0
"""How long whoever began a sign-out has for it, in seconds, before somebody else carries it out."""

_log = structlog.get_logger(__name__)


class SignOuts:
    """Carries out what `begin_sign_out` noted."""

    def __init__(self, database: Database, issuer: TokenIssuer, sessions: BrowserSessions) -> None:
        self._database = database
        self._issuer = issuer
        self._sessions = sessions

    async def finish(self, user_id: UUID, signed_out_at: datetime, *, reason: str) -> bool:
        """End what is to end; False if a server is away, and it is done later."""
        try:
            await self._finish(user_id, signed_out_at, reason)
        except MediaGatewayError as error:
            _log.warning("sessions and tokens of a person end later", problem=error.message)
            return False
        return True

    async def run(self) -> None:
        """Carry out those that somebody began and could not finish, until cancelled."""
        while True:
            async with self._database.transaction() as connection:
                due = await due_sign_outs(connection, older_s=LEFT_ALONE_S)
            for user_id, signed_out_at in due:
                await self._finish(user_id, signed_out_at, "signed out everywhere")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _finish(self, user_id: UUID, signed_out_at: datetime, reason: str) -> None:
        await self._sessions.end_all(user_id)
        await self._issuer.revoke_all(user_id, reason=reason)
        async with self._database.transaction() as connection:
            await end_sign_out(connection, user_id, signed_out_at)
