"""API keys: secrets that programs of a person send in place of tokens, and the short-lived tokens made for them."""

import time
from collections.abc import Sequence
from uuid import UUID

from prometheus_client import Counter

from media_gateway.auth.actors import API_KEY_CLIENT, Actor
from media_gateway.auth.api_keys import PREFIX_CHARS, digest_of, make_key
from media_gateway.auth.granting import Grant, TokenIssuer, TokenPair
from media_gateway.auth.store.api_keys import MAX_LIVE, ApiKeyStore, KeptKey, NewKey
from media_gateway.auth.subjects import Subjects
from media_gateway.core.api_keys import is_key
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import (
    ConflictError,
    FieldError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)

TOKEN_LIFE_S = 300
"""How long a token of a key lasts, in seconds: as long as a locked person's programs may still get through."""

_uses = Counter("mgw_api_key_exchanges_total", "API keys that were exchanged for tokens", ["outcome"])


class ApiKeys:
    """All keys. Every method raises UnavailableError or DeadlineExceededError if a server is away."""

    def __init__(self, store: ApiKeyStore, subjects: Subjects, issuer: TokenIssuer) -> None:
        self._store = store
        self._subjects = subjects
        self._issuer = issuer

    async def create(
        self, actor: Actor, *, name: str, scopes: Sequence[str] | None, days: int | None
    ) -> tuple[str, KeptKey]:
        """A new key, told this once, and what is kept of it.

        Parameters
        ----------
        scopes
            What it may do; None for all that the actor's token allows.
        days
            Its life; None for no end.

        Raises
        ------
        PermissionDeniedError
            More scopes than the token allows, or the account is locked.
        ConflictError
            There are `MAX_LIVE` keys.
        """
        subject = await self._subjects.find(actor.user_id)
        if subject is None or not subject.enabled:
            raise PermissionDeniedError("this account can't have API keys")
        allowed = actor.scopes & subject.scopes
        wanted = allowed if scopes is None else frozenset(scopes)
        if not wanted <= allowed:
            message = "more than your own token allows"
            raise PermissionDeniedError(f"scopes: {message}", errors=[FieldError("scopes", message)])
        key = make_key()
        new = NewKey(
            id=uuid7(),
            user_id=actor.user_id,
            name=name,
            prefix=key[:PREFIX_CHARS],
            digest=digest_of(key),
            scopes=sorted(wanted),
            days=days,
        )
        details = {"name": name, "scopes": list(new.scopes)}
        kept = await self._store.add(new, actor.did("api_key.created", "api_key", str(new.id), details))
        if kept is None:
            raise ConflictError(f"there are {MAX_LIVE} API keys already: delete one first")
        return key, kept

    async def of(self, actor: Actor) -> list[KeptKey]:
        """The person's live keys."""
        return await self._store.of(actor.user_id)

    async def revoke(self, actor: Actor, key_id: UUID) -> None:
        """End a key. Tokens that were made for it last up to `TOKEN_LIFE_S` longer.

        Raises
        ------
        NotFoundError
            The person has no such key.
        """
        entry = actor.did("api_key.revoked", "api_key", str(key_id))
        if not await self._store.revoke(actor.user_id, key_id, entry):
            raise NotFoundError("you have no API key with this id")

    async def exchange(self, key: str) -> TokenPair:
        """A token for a key: what the key and its owner may now, whichever is less.

        Raises
        ------
        UnauthenticatedError
            Unknown, expired or revoked, or its owner is locked or gone: one and the same to whoever asks.
        """
        found = await self._store.use(digest_of(key)) if is_key(key) else None
        subject = await self._subjects.find(found.user_id) if found else None
        if found is None or subject is None or not subject.enabled:
            _uses.labels("refused").inc()
            raise UnauthenticatedError("the API key is not valid")
        life_s = TOKEN_LIFE_S
        if found.expires_at is not None:
            life_s = max(1, min(life_s, int(found.expires_at.timestamp() - time.time())))
        grant = Grant(
            grant_id=found.id,
            client_id=API_KEY_CLIENT,
            subject=subject,
            scopes=found.scopes & subject.scopes,
        )
        pair = await self._issuer.access(grant, life_s=life_s)
        _uses.labels("exchanged").inc()
        return pair
