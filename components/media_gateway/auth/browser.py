"""Browsers that are signed in to the pages of auth. Kept in Redis under a digest, so that what is stored opens nothing.

A session begins anew at each signing in, under an id that nobody knew before (no fixation), and carries the secret that
every form of the pages must repeat (no forged requests).
"""

import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

import orjson

from media_gateway.core.adapters.redis import RedisHandle, translated

ID_BYTES = 32
"""Random bytes of a session's id: not guessable (OWASP asks for 64 bits at least)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserSession:
    """A browser that somebody signed in with.

    Attributes
    ----------
    form_secret : str
        What forms of the pages must bring back.
    signed_in_at : float
        Unix time in seconds.
    """

    user_id: UUID
    form_secret: str
    signed_in_at: float

    def made(self, form_secret: str) -> bool:
        """Whether a form comes from a page that was made for this browser."""
        return hmac.compare_digest(self.form_secret.encode(), form_secret.encode(errors="replace"))


class BrowserSessions:
    """The sessions of all browsers.

    Parameters
    ----------
    life_s
        How long one lasts, in seconds.
    """

    def __init__(self, redis: RedisHandle, *, life_s: float) -> None:
        self._redis = redis
        self._life_s = life_s

    async def start(self, user_id: UUID, *, now: float) -> tuple[str, BrowserSession]:
        """Begin a session; gives its id, for the browser's cookie, and the session.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            Redis can't be reached.
        """
        session_id = secrets.token_urlsafe(ID_BYTES)
        session = BrowserSession(
            user_id=user_id, form_secret=secrets.token_urlsafe(ID_BYTES), signed_in_at=now
        )
        body = orjson.dumps([str(user_id), session.form_secret, now])
        people = _people(user_id)
        with translated():
            async with self._redis.client.pipeline(transaction=False) as commands:
                commands.set(_key(session_id), body, px=round(self._life_s * 1000))
                commands.sadd(people, _key(session_id))
                commands.pexpire(people, round(self._life_s * 1000))
                await commands.execute()
        return session_id, session

    async def find(self, session_id: str) -> BrowserSession | None:
        """The session of a cookie, unless it has ended.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            As `start`.
        """
        with translated():
            body = await self._redis.client.get(_key(session_id))
        if body is None:
            return None
        user_id, form_secret, signed_in_at = orjson.loads(body)
        return BrowserSession(user_id=UUID(user_id), form_secret=form_secret, signed_in_at=signed_in_at)

    async def end(self, session_id: str) -> None:
        """End one session."""
        with translated():
            await self._redis.client.delete(_key(session_id))

    async def end_all(self, user_id: UUID) -> None:
        """End every session of a person: the password was changed, or the account is gone."""
        with translated():
            keys = await self._redis.client.smembers(_people(user_id))
            # One by one: on a cluster they lie on different servers.
            for key in (*keys, _people(user_id)):
                await self._redis.client.delete(key)


def _key(session_id: str) -> str:
    return f"auth:browser:{sha256(session_id.encode(errors='replace')).hexdigest()}"


def _people(user_id: UUID) -> str:
    return f"auth:browsers:{user_id}"
