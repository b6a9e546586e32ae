"""Device grants under way: in Redis, codes only as digests, each transition one script (`store.device_scripts`)."""

import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID

from media_gateway.auth.store.device_scripts import CREATE, DECIDE, POLL, SETTLE
from media_gateway.auth.user_codes import LONG, SHORT, make_user_code
from media_gateway.core.adapters.redis import RedisHandle, translated
from media_gateway.core.errors import UnavailableError

PREFIX = "{auth:device}:"
"""One hash tag for all keys; why is told in `store.device_scripts`."""

DEVICE_CODE_BYTES = 32
"""Random bytes of a device code."""

SLOW_DOWN_S = 5.0
"""What each ``slow_down`` adds to the interval, for this and all later polls (RFC 8628 section 3.5)."""

TOLERANCE = 0.1
"""A poll may be early by this share of the interval: networks do not keep time."""

LEAST_TOLERANCE_S = 0.25

KEPT_S = 600.0
"""How long a code is still known once it has expired, in seconds: its TV is told so, and no other gets the same code."""

TRIES = 5
"""Codes drawn until one is free; that two in a row are taken is a matter of centuries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRules:
    """How long codes live and how often they may be guessed.

    Attributes
    ----------
    life_s, interval_s : float
        Life of a code, and least time between two polls, in seconds.
    long_codes_from : int
        Live codes from which on user codes get ten letters.
    guess_window_s : float
        Wrong user codes are counted over so many seconds.
    guesses_per_user, guesses_per_source, guesses_of_all : int
        Wrong user codes until no more are looked at, from one person, from one address, and from everybody.
    """

    life_s: float = 900.0
    interval_s: float = 5.0
    long_codes_from: int = 5_000
    guess_window_s: float = 600.0
    guesses_per_user: int = 5
    guesses_per_source: int = 5
    guesses_of_all: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCodes:
    """What a TV gets; kept nowhere in clear."""

    device_code: str
    user_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What a poll found.

    Attributes
    ----------
    state : str
        ``unknown`` (also another client's code), ``expired``, ``denied``, ``pending``, ``slow_down``; ``granted`` to the
        one poll that may issue tokens; ``spent`` to all after it.
    grant_id : UUID | None
        Of ``granted`` and ``spent``.
    user_id : UUID | None
        Who approved, of ``granted``.
    scopes : frozenset of str
        What was approved, of ``granted``.
    interval_s : float
        Least time until the next poll, of ``pending`` and ``slow_down``.
    issued : bool
        Of ``spent``: whether the tokens are out, so that this is a second use and not one at the same time.
    """

    state: Literal["unknown", "expired", "denied", "pending", "slow_down", "granted", "spent"]
    grant_id: UUID | None = None
    user_id: UUID | None = None
    scopes: frozenset[str] = frozenset()
    interval_s: float = 0.0
    issued: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who asks about a user code, and what for."""

    user_code: str
    user_id: UUID
    source: str
    action: Literal["look", "approve", "deny"]
    grant_id: UUID | None = None
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A device that waits for a decision, or waited until this one.

    Attributes
    ----------
    device_hash : str
        SHA-256 of the device code in hex: name of the channel that the device may listen to.
    source : str
        Address that the request came from.
    begun_at, expires_at : float
        Unix time in seconds.
    """

    device_hash: str
    client_id: str
    scopes: frozenset[str]
    source: str
    begun_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Decided:
    """The same person has decided this code before."""

    approved: bool


@dataclass(frozen=True, slots=True)
class Limited:
    """Too many wrong codes.

    Attributes
    ----------
    by : str
        Whose: ``user``, ``source`` or ``all``.
    wait_ms : int
        After which the next one is looked at, in milliseconds.
    """

    by: str
    wait_ms: int


class DeviceStore:
    """Device grants in Redis. Every method raises UnavailableError or DeadlineExceededError if Redis is away.

    Parameters
    ----------
    key
        Secret under which user codes are digested: there are few enough of them to try all.
    """

    def __init__(self, redis: RedisHandle, *, key: bytes, rules: DeviceRules) -> None:
        self._redis = redis
        self._key = key
        self._rules = rules
        self._create, self._poll, self._settle, self._decide = (
            redis.client.register_script(script) for script in (CREATE, POLL, SETTLE, DECIDE)
        )

    async def create(self, *, client_id: str, scopes: frozenset[str], source: str) -> NewCodes:
        """Begin a grant."""
        rules = self._rules
        device_code = secrets.token_urlsafe(DEVICE_CODE_BYTES)
        life_ms = _ms(rules.life_s)
        for _ in range(TRIES):
            short, long = make_user_code(SHORT), make_user_code(LONG)
            keys = [_record(device_code), self._pointer(short), self._pointer(long), PREFIX + "live"]
            limits: list[Any] = [life_ms, life_ms + _ms(KEPT_S), _ms(rules.interval_s), rules.long_codes_from]
            args: list[Any] = [_digest(device_code), *limits, client_id, " ".join(sorted(scopes)), source]
            with translated():
                made, is_long = await self._create(keys=keys, args=args)
            if made:
                return NewCodes(device_code=device_code, user_code=long if is_long else short)
        raise UnavailableError("no free user code was found")

    async def poll(self, device_code: str, *, client_id: str) -> Polled:
        """What has become of a code; ``granted`` is told once."""
        args: list[Any] = [client_id, _ms(SLOW_DOWN_S), _ms(LEAST_TOLERANCE_S), TOLERANCE]
        with translated():
            state, *rest = await self._poll(keys=[_record(device_code)], args=args)
        match state.decode():
            case "granted":
                grant_id, user_id, scope = (value.decode() for value in rest)
                return Polled(
                    state="granted",
                    grant_id=UUID(grant_id),
                    user_id=UUID(user_id),
                    scopes=frozenset(scope.split()),
                )
            case "spent":
                return Polled(state="spent", grant_id=UUID(rest[0].decode()), issued=rest[1] == b"1")
            case "pending" | "slow_down" as waits:
                return Polled(state=waits, interval_s=rest[0] / 1000)
            case other:
                return Polled(state=other)

    async def client_of(self, device_code: str) -> str | None:
        """Whose code it is; None for one that is not known."""
        with translated():
            client_id: Any = await self._redis.client.hget(_record(device_code), "client")
        return None if client_id is None else str(client_id, "utf-8")

    async def settle(self, device_code: str, grant_id: UUID, *, issued: bool) -> None:
        """After ``granted``: say whether its tokens are out, or let the next poll try again because none were made."""
        with translated():
            await self._settle(keys=[_record(device_code)], args=[str(grant_id), int(issued)])

    async def ask(self, asking: Asking) -> Waiting | Decided | Limited | None:
        """Look at, approve or deny what waits under a user code.

        None for a code that is not known, has expired or was decided by somebody else: a wrong guess, and counted as one.
        """
        rules = self._rules
        guesses = [
            "wrong:all",
            f"wrong:user:{asking.user_id}",
            f"wrong:source:{_digest(asking.source)}",
        ]
        keys = [self._pointer(asking.user_code), PREFIX + "live", *(PREFIX + name for name in guesses)]
        limits = [rules.guesses_of_all, rules.guesses_per_user, rules.guesses_per_source]
        args: list[Any] = [_ms(rules.guess_window_s), *limits, PREFIX + "code:", str(asking.user_id)]
        args += [asking.action, str(asking.grant_id or ""), " ".join(sorted(asking.scopes)), asking.source]
        with translated():
            answer, *rest = await self._decide(keys=keys, args=args)
        match answer:
            case b"found":
                device, client_id, scope, source, begun, expires = (value.decode() for value in rest)
                return Waiting(
                    device_hash=device,
                    client_id=client_id,
                    scopes=frozenset(scope.split()),
                    source=source,
                    begun_at=float(begun) / 1000,
                    expires_at=float(expires) / 1000,
                )
            case b"decided":
                return Decided(rest[0] != b"denied")
            case b"limited":
                return Limited(rest[0].decode(), int(rest[1]))
            case _:
                return None

    def _pointer(self, user_code: str) -> str:
        return PREFIX + "user:" + hmac.new(self._key, user_code.encode(), sha256).hexdigest()


def _record(device_code: str) -> str:
    return f"{PREFIX}code:{_digest(device_code)}"


def _digest(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
