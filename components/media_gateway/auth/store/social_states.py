"""Sign-ins that a provider is asked about: ten minutes in Redis, each taken once, by the browser that began it."""

import secrets
from dataclasses import asdict, dataclass
from hashlib import sha256
from uuid import UUID

import orjson

from media_gateway.core.adapters.redis import RedisHandle, translated

LIFE_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What must be known when the browser comes back.

    Attributes
    ----------
    link_to : UUID | None
        The signed-in person whose account gets the identity; None for a sign-in.
    """

    provider: str
    nonce: str
    verifier: str
    return_to: str
    link_to: UUID | None = None


class SocialStates:
    """Sign-ins on their way. Raises UnavailableError or DeadlineExceededError if Redis is away."""

    def __init__(self, redis: RedisHandle) -> None:
        self._redis = redis

    async def start(self, pending: Pending, *, browser: str) -> str:
        """A state that this browser can come back with."""
        state = secrets.token_urlsafe(32)
        with translated():
            await self._redis.client.set(_key(state, browser), orjson.dumps(asdict(pending)), ex=LIFE_S)
        return state

    async def take(self, state: str, *, browser: str) -> Pending | None:
        """What the state stands for, to the first who asks from the right browser."""
        with translated():
            body = await self._redis.client.getdel(_key(state, browser))
        if body is None:
            return None
        values = orjson.loads(body)
        link_to = values.pop("link_to")
        return Pending(**values, link_to=UUID(link_to) if link_to else None)


def _key(state: str, browser: str) -> str:
    return f"auth:social:{sha256(f'{state} {browser}'.encode(errors='replace')).hexdigest()}"
