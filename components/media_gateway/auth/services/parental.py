"""Parental limits of an account and the PIN that guards them."""

from dataclasses import dataclass
from uuid import UUID

from media_gateway.auth.passwords import Passwords
from media_gateway.auth.services.profiles import Actor, entry_of, gone
from media_gateway.auth.store.audit import add_entry
from media_gateway.auth.store.budgets import Budget
from media_gateway.auth.store.profiles import LimitsRow, find_limits, set_limits
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import (
    ConflictError,
    FieldError,
    InvalidInputError,
    PermissionDeniedError,
    RateLimitedError,
)

PIN_TRIES = 5
PIN_WINDOW_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLimits:
    """Parental limits, the PIN that is asked for or set by this, and the one that takes its place."""

    content_rating_limit: str | None
    blocked_genres: tuple[str, ...]
    pin: str | None
    new_pin: str | None
    remove_pin: bool


class ParentalControls:
    """Everybody's parental limits.

    Parameters
    ----------
    tries
        Guesses of PINs, by person.
    """

    def __init__(self, database: Database, passwords: Passwords, tries: Budget) -> None:
        self._database = database
        self._passwords = passwords
        self._tries = tries

    async def find(self, user_id: UUID) -> LimitsRow:
        """The limits."""
        async with self._database.transaction() as connection:
            found = await find_limits(connection, user_id)
        if found is None:
            raise gone()
        return found

    async def verify(self, user_id: UUID, pin: str) -> None:
        """Return if the PIN is right.

        Raises
        ------
        ConflictError, PermissionDeniedError, RateLimitedError
            No PIN is set; it is wrong; too many were.
        """
        kept = (await self.find(user_id)).pin_hash
        if kept is None:
            raise ConflictError("no PIN is set")
        wait_ms = await self._tries.take(str(user_id))
        if wait_ms > 0:
            raise RateLimitedError("too many wrong PINs; wait a while", retry_after_ms=wait_ms)
        if not await self._passwords.matches(pin, kept):
            message = "the PIN is not right"
            raise PermissionDeniedError(f"pin: {message}", errors=[FieldError("pin", message)])
        await self._tries.clear(str(user_id))

    async def change(self, actor: Actor, new: NewLimits) -> LimitsRow:
        """Set the limits; once a PIN is set, only with it.

        Raises
        ------
        InvalidInputError
            The PIN is missing, or there is none to replace.
        ConflictError, PermissionDeniedError, RateLimitedError
            The PIN was changed at the same moment; as `verify`.
        """
        before = await self.find(actor.user_id)
        if before.pin_hash is not None:
            if new.pin is None:
                raise _wrong("pin", "required, since one is set")
            await self.verify(actor.user_id, new.pin)
        elif new.new_pin is not None or new.remove_pin:
            raise _wrong("new_pin" if new.new_pin is not None else "remove_pin", "no PIN is set")
        after = LimitsRow(
            content_rating_limit=new.content_rating_limit,
            blocked_genres=new.blocked_genres,
            pin_hash=await self._pin_after(before, new),
        )
        async with self._database.transaction() as connection:
            if not await set_limits(connection, actor.user_id, after, seen=before.pin_hash):
                raise ConflictError("the PIN was changed at the same moment")
            await add_entry(connection, entry_of("account.parental_controls_changed", actor))
        return after

    async def _pin_after(self, before: LimitsRow, new: NewLimits) -> str | None:
        if new.remove_pin:
            return None
        chosen = new.new_pin if before.pin_hash is not None else new.pin
        return before.pin_hash if chosen is None else await self._passwords.hashed(chosen)


def _wrong(field: str, message: str) -> InvalidInputError:
    return InvalidInputError(f"{field}: {message}", errors=[FieldError(field, message)])
