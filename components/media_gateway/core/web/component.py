"""What a component is, and what it is given when it is wired. A component's ``app.py`` holds one `Component`."""

from collections.abc import AsyncIterator, Callable, Set as AbstractSet
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic

from aiohttp import web
from typing_extensions import TypeVar

from media_gateway.core.bootstrap import BackendName, Backends
from media_gateway.core.health import Health
from media_gateway.core.limiting.document import LimitDocument
from media_gateway.core.settings import CoreSettings
from media_gateway.core.supervisor import Supervisor
from media_gateway.core.web.routing import RouteTable

S = TypeVar("S", bound=CoreSettings, default=CoreSettings)
# Covariant, so that a `wire` that asks for the core settings only serves any component; with a default, so that a
# plain `Context` is a complete type.
S_co = TypeVar("S_co", bound=CoreSettings, default=CoreSettings, covariant=True)


@dataclass(frozen=True, slots=True)
class Context(Generic[S_co]):
    """What ``wire`` gets.

    Attributes
    ----------
    app : web.Application
        Put services here under `web.AppKey`s; handlers find them in ``request.app``.
    settings : CoreSettings
        Of the component's own settings class.
    backends : Backends
        Those that the component needs, open.
    supervisor : Supervisor
        For background tasks: ``spawn(name, coroutine_function)``.
    health : Health
        For checks beyond the backends': ``add(name, probe, critical=False)``.
    """

    app: web.Application
    settings: S_co
    backends: Backends
    supervisor: Supervisor
    health: Health


@asynccontextmanager
async def _nothing(_context: Context[Any]) -> AsyncIterator[None]:
    yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Component(Generic[S]):
    """A deployable service.

    Attributes
    ----------
    name : str
        In logs, metrics, and as ``media-gateway serve NAME``.
    port : int
        Where it listens unless the settings say otherwise.
    settings : type
        Its settings class.
    needs : set of {"database", "redis", "vectors", "events", "embedder"}
        Backends that it uses. Each becomes a part of ``/health``.
    critical : set
        Those of the needs without which it is not ready.
    routes : tuple of RouteTable
        Its operations; health, document and docs come by themselves.
    wire : callable
        Async context manager: put services into ``context.app``, spawn tasks, yield, undo. It must not wait for a
        server to be up: the process starts and says in ``/health`` what is missing.
    limits : callable
        Gives the rate limits that hold before an installation writes its own; None for a component without. It needs
        Redis.
    summary : str
        First paragraph of its document.
    """

    name: str
    port: int
    settings: type[S]
    needs: AbstractSet[BackendName] = frozenset()
    critical: AbstractSet[BackendName] = frozenset({"database"})
    routes: tuple[RouteTable, ...] = ()
    wire: Callable[[Context[S]], AbstractAsyncContextManager[None]] = _nothing
    limits: Callable[[S], LimitDocument] | None = None
    summary: str = ""
