"""Registered programs in Postgres."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from media_gateway.auth.clients import Client
from media_gateway.core.adapters.postgres import AsyncConnection

_FIND = sa.text(
    "SELECT client_id, name, secret_digest, redirect_uris, grant_types, scopes, enabled, access_token_s, refresh_token_s, "
    "refresh_leeway_s FROM oauth_clients WHERE client_id = :client_id"
)
_LIST = sa.text(
    "SELECT client_id, name, secret_digest, redirect_uris, grant_types, scopes, enabled, access_token_s, refresh_token_s, "
    "refresh_leeway_s FROM oauth_clients WHERE client_id > :after ORDER BY client_id LIMIT :limit"
)
_ADD = sa.text(
    "INSERT INTO oauth_clients (client_id, name, secret_digest, redirect_uris, grant_types, scopes, enabled, access_token_s, "
    "refresh_token_s, refresh_leeway_s) VALUES (:client_id, :name, :secret_digest, :redirect_uris, :grant_types, :scopes, "
    ":enabled, :access_token_s, :refresh_token_s, :refresh_leeway_s) ON CONFLICT DO NOTHING"
)
_REPLACE = sa.text(
    "UPDATE oauth_clients SET name = :name, redirect_uris = :redirect_uris, "
    "grant_types = :grant_types, scopes = :scopes, enabled = :enabled, access_token_s = :access_token_s, "
    "refresh_token_s = :refresh_token_s, refresh_leeway_s = :refresh_leeway_s, updated_at = now() "
    "WHERE client_id = :client_id"
)
_RENEW = sa.text(
    "UPDATE oauth_clients SET secret_digest = :secret_digest, updated_at = now() WHERE client_id = :client_id"
)
_DELETE = sa.text("DELETE FROM oauth_clients WHERE client_id = :client_id")


async def find_client(connection: AsyncConnection, client_id: str) -> Client | None:
    """A program; None if it is not registered."""
    row = (await connection.execute(_FIND, {"client_id": client_id})).mappings().one_or_none()
    return None if row is None else _client(row)


async def list_clients(connection: AsyncConnection, *, after: str, limit: int) -> list[Client]:
    """Programs in the order of their ids, from the one behind ``after``."""
    rows = await connection.execute(_LIST, {"after": after, "limit": limit})
    return [_client(row) for row in rows.mappings()]


async def add_client(connection: AsyncConnection, client: Client) -> bool:
    """Register a program; False if its id is taken."""
    return (await connection.execute(_ADD, _values(client))).rowcount == 1


async def replace_client(connection: AsyncConnection, client: Client) -> bool:
    """Keep a program as it is now, all but its secret; False if it is not registered."""
    return (await connection.execute(_REPLACE, _values(client))).rowcount == 1


async def renew_secret(connection: AsyncConnection, client_id: str, digest: bytes) -> bool:
    """Keep the digest of a new secret, and nothing else; False if the program is not registered."""
    done = await connection.execute(_RENEW, {"client_id": client_id, "secret_digest": digest})
    return done.rowcount == 1


async def delete_client(connection: AsyncConnection, client_id: str) -> bool:
    """Forget a program; False if it is not registered."""
    return (await connection.execute(_DELETE, {"client_id": client_id})).rowcount == 1


def _client(fields: Mapping[Any, Any]) -> Client:
    return Client(
        **{
            **fields,
            "redirect_uris": tuple(fields["redirect_uris"]),
            "grant_types": frozenset(fields["grant_types"]),
            "scopes": frozenset(fields["scopes"]),
        }
    )


def _values(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "name": client.name,
        "secret_digest": client.secret_digest,
        "redirect_uris": list(client.redirect_uris),
        "grant_types": sorted(client.grant_types),
        "scopes": sorted(client.scopes),
        "enabled": client.enabled,
        "access_token_s": client.access_token_s,
        "refresh_token_s": client.refresh_token_s,
        "refresh_leeway_s": client.refresh_leeway_s,
    }
