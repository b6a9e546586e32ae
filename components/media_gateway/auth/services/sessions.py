"""Where a person is signed in, and how to end that."""

from uuid import UUID

from media_gateway.auth.actors import Actor
from media_gateway.auth.audit import AuditLog
from media_gateway.auth.granting import TokenIssuer
from media_gateway.auth.store.sessions import Session, SessionStore
from media_gateway.core.errors import NotFoundError


class Sessions:
    """The sessions of everybody. Every method raises UnavailableError or DeadlineExceededError if a server is away."""

    def __init__(self, store: SessionStore, issuer: TokenIssuer, audit: AuditLog) -> None:
        self._store = store
        self._issuer = issuer
        self._audit = audit

    async def of(self, actor: Actor) -> list[Session]:
        """The person's live sessions, last used first."""
        return await self._store.of(actor.user_id)

    async def end(self, actor: Actor, session_id: UUID) -> None:
        """End one, be it the actor's own.

        Raises
        ------
        NotFoundError
            The person has no such session.
        """
        if not await self._store.is_live(actor.user_id, session_id):
            raise NotFoundError("you have no session with this id")
        await self._end(actor, session_id)

    async def end_others(self, actor: Actor) -> None:
        """End all but the one that the actor's token is of."""
        for session_id in await self._store.ids_of(actor.user_id):
            if session_id != actor.grant_id:
                await self._end(actor, session_id)

    async def _end(self, actor: Actor, session_id: UUID) -> None:
        await self._issuer.revoke(session_id, reason="ended by its owner")
        await self._audit.record(actor.did("session.ended", "grant", str(session_id)))
