"""The registered programs: those of the settings' file, those of the database, and how they prove themselves."""

import base64
import binascii
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Final
from urllib.parse import unquote_plus

from media_gateway.auth.audit import AuditEntry, AuditLog
from media_gateway.auth.clients import ID_PATTERN, Client, digest_of
from media_gateway.auth.device_ports import ClientProof
from media_gateway.auth.oauth_errors import InvalidClientError, OAuthError
from media_gateway.auth.store import clients as store
from media_gateway.auth.store.grants import end_client
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import ConflictError, NotFoundError

KEPT_S: Final = 2.0
"""How long a program that was looked up is believed, in seconds: so long may a disabled one go on elsewhere."""

MAX_KEPT: Final = 10_000
"""Programs in memory; names that do not exist count, too."""

_ID = re.compile(ID_PATTERN)

_NOBODY = Client(client_id="", name="", secret_digest=bytes(32), grant_types=frozenset(), scopes=frozenset())


class Clients:
    """All programs. Methods that look into the database raise UnavailableError or DeadlineExceededError if it is away.

    Parameters
    ----------
    fixed
        Those of the settings; they can't be changed here, and hide others of the same id.
    """

    def __init__(self, database: Database, fixed: Iterable[Client], audit: AuditLog) -> None:
        self._database = database
        self._fixed = {client.client_id: client for client in fixed}
        self._audit = audit
        self._kept: dict[str, tuple[float, Client | None]] = {}

    async def find(self, client_id: str) -> Client | None:
        """The program; None for one that is not registered."""
        if client_id in self._fixed:
            return self._fixed[client_id]
        if not _ID.fullmatch(client_id):
            return None
        now = time.monotonic()
        kept = self._kept.get(client_id)
        if kept is not None and now - kept[0] < KEPT_S:
            return kept[1]
        async with self._database.transaction() as connection:
            client = await store.find_client(connection, client_id)
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[client_id] = (now, client)
        return client

    async def authenticate(self, proof: ClientProof) -> Client:
        """The program that a request is from (RFC 6749 section 2.3).

        Raises
        ------
        InvalidClientError
            Not known, disabled, or without its right secret.
        OAuthError
            ``invalid_request``: it proves itself in two ways at once, or in none.
        """
        client_id, secret = _named(proof)
        found = await self.find(client_id)
        client = found or _NOBODY
        # Both compared whatever the client is, so that the time does not tell.
        proven = client.has_secret(secret or "")
        if found is None or not client.enabled or (not proven and not (client.is_public and secret is None)):
            raise InvalidClientError
        return client

    async def page(self, *, after: str, limit: int) -> list[Client]:
        """Programs of the database in the order of their ids."""
        async with self._database.transaction() as connection:
            return await store.list_clients(connection, after=after, limit=limit)

    def fixed(self) -> list[Client]:
        """Programs of the settings."""
        return sorted(self._fixed.values(), key=lambda client: client.client_id)

    async def register(self, client: Client, *, confidential: bool, by: AuditEntry) -> str | None:
        """Add a program; gives its secret, which is not kept, if it is a confidential one.

        Raises
        ------
        ConflictError
            The id is taken.
        """
        secret = secrets.token_urlsafe(32) if confidential else None
        client = replace(client, secret_digest=digest_of(secret) if secret else None)
        async with self._database.transaction() as connection:
            added = client.client_id not in self._fixed and await store.add_client(connection, client)
        if not added:
            raise ConflictError(f"client_id: {client.client_id!r} is taken")
        await self._changed(client.client_id, by)
        return secret

    async def change(self, client: Client, *, by: AuditEntry) -> None:
        """Keep a program as it is given, all but its secret.

        Raises
        ------
        NotFoundError, ConflictError
            It is not registered; it is one of the settings.
        """
        self._check_changeable(client.client_id)
        async with self._database.transaction() as connection:
            if not await store.replace_client(connection, client):
                raise _unknown(client.client_id)
        await self._changed(client.client_id, by)

    async def renew_secret(self, client: Client, *, by: AuditEntry) -> str:
        """A new secret of a confidential program; the old one ends. Raises what `change` raises."""
        if client.is_public:
            raise ConflictError("a public client has no secret")
        self._check_changeable(client.client_id)
        secret = secrets.token_urlsafe(32)
        async with self._database.transaction() as connection:
            if not await store.renew_secret(connection, client.client_id, digest_of(secret)):
                raise _unknown(client.client_id)
        await self._changed(client.client_id, by)
        return secret

    async def remove(self, client_id: str, *, by: AuditEntry) -> None:
        """Forget a program; its refresh tokens are good for nothing from now on. Raises what `change` raises."""
        self._check_changeable(client_id)
        async with self._database.transaction() as connection:
            if not await store.delete_client(connection, client_id):
                raise _unknown(client_id)
            # Else they would be good again for whoever gets the name next.
            await end_client(connection, client_id)
        await self._changed(client_id, by)

    def _check_changeable(self, client_id: str) -> None:
        if client_id in self._fixed:
            raise ConflictError(f"{client_id!r} is a client of the settings: change it there")

    async def _changed(self, client_id: str, by: AuditEntry) -> None:
        self._kept.pop(client_id, None)
        await self._audit.record(by)


def _named(proof: ClientProof) -> tuple[str, str | None]:
    """Id and secret as the request says them."""
    if proof.authorization is None:
        if proof.client_id is None:
            raise OAuthError("invalid_request", "client_id: missing")
        return proof.client_id, proof.client_secret
    client_id, secret = _basic(proof.authorization)
    if proof.client_secret is not None or proof.client_id not in {None, client_id}:
        raise OAuthError("invalid_request", "only one way of client authentication may be used")
    return client_id, secret


def _basic(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise InvalidClientError("a client proves itself by HTTP Basic or in the form")
        name, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise InvalidClientError from None
    if not colon:
        raise InvalidClientError
    # Both are form-encoded before they are joined (RFC 6749 section 2.3.1).
    return unquote_plus(name), unquote_plus(secret)


def _unknown(client_id: str) -> NotFoundError:
    return NotFoundError(f"there is no client {client_id!r}")
