"""Redis by redis-py: one `RedisHandle` a process, driver errors translated here.

Code written against it runs on Redis 6.2: no FUNCTION, LMPOP, EXPIRE NX or HEXPIRE.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError as RedisConnectionError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from media_gateway.core.errors import DeadlineExceededError, MediaGatewayError, UnavailableError
from media_gateway.core.network import why_unreachable

PASSING_REFUSALS = frozenset(
    {"OOM", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "UNBLOCKED"}
)
"""Error codes of a server that is full, failing over or can't write its disk: the same command may succeed later."""

_ADDRESS = re.compile(r" connecting to ([^\s@]+?)\.(?:\s|$)")


class RedisHandle:
    """A client with its pool.

    Parameters
    ----------
    url
        ``redis://``, ``rediss://``, ``unix://``; ``redis+sentinel://host,host/0?service=name``;
        ``redis+cluster://host``.
    timeout_ms
        Longest a command may take, in milliseconds.
    """

    def __init__(self, url: str, *, timeout_ms: int = 2_000) -> None:
        self._url = url
        self._timeout_ms = timeout_ms
        self._client = _connect(url, timeout_ms / 1000)

    @property
    def timeout_ms(self) -> int:
        """Longest a command of `client` may take, in milliseconds."""
        return self._timeout_ms

    def blocking_client(self, *, wait_ms: int) -> "Redis":
        """A client of its own for commands that block up to ``wait_ms``. The caller closes it.

        It never repeats a command by itself: a blocking read that was sent may have had its effect.
        """
        return self.client_of_its_own(timeout_ms=wait_ms + self._timeout_ms)

    def client_of_its_own(self, *, timeout_ms: int) -> "Redis":
        """A client with connections and a patience of its own, in milliseconds. The caller closes it.

        It never repeats a command by itself: one that was sent may have had its effect.
        """
        return _connect(self._url, timeout_ms / 1000, repeat=False)

    @property
    def client(self) -> "Redis":
        """The client, answers as bytes. Wrap calls in `translated`. Blocking commands need a client of their own."""
        return self._client

    async def ping(self) -> None:
        """Return if Redis answers."""
        with translated():
            await self._client.ping()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _connect(url: str, timeout_s: float, *, repeat: bool = True) -> Redis:
    parts = urlsplit(url)
    base, _, kind = parts.scheme.partition("+")
    limits: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "health_check_interval": 30,
    }
    if not repeat:
        limits["retry"] = Retry(NoBackoff(), 0)
    if kind == "sentinel":
        hosts = [
            (h.partition(":")[0], int(h.partition(":")[2] or 26379))
            for h in parts.netloc.rpartition("@")[2].split(",")
        ]
        service = parse_qs(parts.query).get("service", ["mymaster"])[0]
        sentinel = Sentinel(hosts, sentinel_kwargs=limits)  # type: ignore[no-untyped-call]
        client: Redis = sentinel.master_for(
            service,
            db=int(parts.path.lstrip("/") or 0),
            password=parts.password,
            ssl=base == "rediss",
            **limits,
        )
        return client
    if kind == "cluster":
        plain = urlunsplit(parts._replace(scheme=base))
        return RedisCluster.from_url(plain, **limits)  # type: ignore[return-value]
    return Redis.from_url(url, **limits)


class Script:
    """A Lua script of a hot path, run by its digest; a server that has forgotten it gets it again.

    The same as ``register_script`` and `translated`, at two thirds of their cost.

    Parameters
    ----------
    client
        Of a `RedisHandle`.
    source
        The script.
    """

    def __init__(self, client: Redis, source: str) -> None:
        self._client = client
        self._source = source
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, keys: Sequence[str], arguments: Sequence[bytes | str | int]) -> Any:
        """What the script returns; driver errors as those of ours."""
        execute: Callable[..., Awaitable[Any]] = self._client.execute_command
        try:
            return await execute("EVALSHA", self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            with translated():
                return await execute("EVAL", self._source, len(keys), *keys, *arguments)
        except (RedisError, OSError):
            with translated():
                raise


@contextmanager
def translated() -> Iterator[None]:
    """Turn driver exceptions into ours."""
    try:
        yield
    except RedisTimeoutError as error:
        raise DeadlineExceededError("Redis took too long") from error
    except (RedisConnectionError, RedisClusterException, BusyLoadingError, OSError) as error:
        raise UnavailableError(_unreachable(error)) from error
    except ResponseError as error:
        code = str(getattr(error, "status_code", None) or str(error).split(" ", 1)[0])
        if code in PASSING_REFUSALS:
            raise UnavailableError(f"Redis can't work now: {code}") from error
        raise MediaGatewayError(f"Redis refused a command: {code}", details={"reply": code}) from error
    except RedisError as error:
        raise UnavailableError("Redis failed") from error


def _unreachable(error: Exception) -> str:
    # redis-py tells the address in its text alone, and has the reason as the cause.
    found = _ADDRESS.search(str(error))
    where = f"Redis at {found[1]}" if found else "Redis"
    causes = (error, error.__cause__, error.__context__)
    reason = next((why_unreachable(cause) for cause in causes if isinstance(cause, OSError)), None)
    return f"{where} can't be reached" + (f": {reason}" if reason else "")
