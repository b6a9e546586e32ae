"""Accounts that an operator makes, from the command line: the first admin has nobody to ask."""

import secrets
from uuid import UUID

from media_gateway.auth.audit import AuditEntry
from media_gateway.auth.passwords import Passwords
from media_gateway.auth.services.registration import check_password
from media_gateway.auth.store.admins import confirm_address, set_roles, set_tier
from media_gateway.auth.store.audit import add_entry
from media_gateway.auth.store.users import add_account
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import ConflictError


def make_password() -> str:
    """A password that nobody guesses and that has every kind of character which is asked for."""
    return f"{secrets.token_urlsafe(18)}-Aa1"


async def add_by_operator(
    database: Database, email: str, password: str, *, roles: tuple[str, ...], tier: str
) -> UUID:
    """Make an account whose address counts as confirmed; gives its id.

    Raises
    ------
    InvalidInputError, ConflictError
        The password is too weak; the address has an account.
    """
    check_password(password, email=email)
    passwords = Passwords(threads=1)
    try:
        password_hash = await passwords.hashed(password)
    finally:
        passwords.close()
    async with database.transaction() as connection:
        user_id, _, is_new = await add_account(
            connection, email=email, password_hash=password_hash, display_name=""
        )
        if not is_new:
            raise ConflictError("there is an account with this address")
        await confirm_address(connection, user_id)
        await set_roles(connection, user_id, roles)
        await set_tier(connection, user_id, tier)
        entry = AuditEntry(
            action="account.added",
            resource_type="user",
            resource_id=str(user_id),
            details={"by": "command line", "roles": roles, "tier": tier},
        )
        await add_entry(connection, entry)
    return user_id
