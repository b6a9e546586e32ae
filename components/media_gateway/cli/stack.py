"""Everything `up` keeps running: the private servers, the schema, the components. Opened and closed in order."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from media_gateway.auth.keys import make_keys_if_absent
from media_gateway.cli.processes import Address, ComponentProcess
from media_gateway.cli.progress import Steps
from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.embedded.state import StateFolder
from media_gateway.core.bootstrap import BackendName, Backends, open_backends
from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.migrations import migrate
from media_gateway.core.settings import PREFIX, CoreSettings, load_settings
from media_gateway.core.web import Component, RunningComponent, check_host, metrics_server, start_component

SIGNING_KEYS = "secrets/signing-keys.json"
"""In the state folder: the keys that sign tokens, made at the first start."""

ALWAYS_OPEN: frozenset[BackendName] = frozenset({"database", "redis", "vectors", "events", "embedder"})
"""What `up` itself needs to load the demo and to follow the vectors, whichever components were asked for."""

LOOPBACK = "127.0.0.0/8,::1/128"
"""Networks from which components believe the gateway that runs beside them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    Attributes
    ----------
    settings : CoreSettings
        Of the machine.
    components : Mapping of str to Component
        By name.
    port_offset : int
        Added to every port.
    own_processes : bool
        Whether each component gets a process of its own.
    """

    settings: CoreSettings
    components: Mapping[str, Component[Any]]
    port_offset: int = 0
    own_processes: bool = False

    @property
    def metrics_port(self) -> int | None:
        """Port of this process's metrics."""
        port = self.settings.metrics_port
        return port + self.port_offset if port else port

    def ports(self) -> dict[str, int]:
        """Every fixed port that will be listened on, by what for."""
        ports = {name: component.port + self.port_offset for name, component in self.components.items()}
        if self.metrics_port:
            ports["metrics"] = self.metrics_port
            if self.own_processes:
                ports |= {f"metrics of {name}": port for name, port in self._metrics_ports().items()}
        return ports

    def _metrics_ports(self) -> dict[str, int]:
        first = self.metrics_port
        return {name: first + 1 + i if first else 0 for i, name in enumerate(self.components)}

    def addresses(self) -> list[Address]:
        """Where each component's process listens."""
        host, metrics = self.settings.service_host, self._metrics_ports()
        return [
            Address(name, host, component.port + self.port_offset, metrics[name])
            for name, component in self.components.items()
        ]

    def proxies_of(self, component: str) -> dict[str, str]:
        """The setting by which a component believes the gateway in front of it, which here is on this machine."""
        if component == "gateway" or "gateway" not in self.components:
            return {}
        return {"trusted_proxies": LOOPBACK}

    def service_addresses(self) -> dict[str, str]:
        """Settings by which the components find each other, such as ``discovery_url``, and trust the tokens of auth."""
        urls = {address.name: address.url for address in self.addresses()}
        found = {f"{name}_url": url for name, url in urls.items()}
        if "auth" in urls:
            found["public_url"] = found["auth_jwks_issuer"] = urls.get("gateway", urls["auth"])
            found["auth_jwks_url"] = f"{urls['auth']}/.well-known/jwks.json"
            found["signing_keys_path"] = str(self.settings.state_path / SIGNING_KEYS)
        return found


@dataclass(frozen=True, slots=True)
class Running:
    """What is up.

    Attributes
    ----------
    settings : CoreSettings
        With the real addresses of the servers.
    backends : Backends
        Open in this process, all of them.
    urls : Mapping of str to str
        Address of each component, by name.
    metrics_url : str | None
        Where this process's metrics are.
    """

    settings: CoreSettings
    backends: Backends
    urls: Mapping[str, str]
    metrics_url: str | None


def check_plan(plan: Plan) -> None:
    """Fail early, before any server is started: settings of every component, then the ports.

    Raises
    ------
    NotConfiguredError
        As `load_settings` and `check_ports`.
    """
    for component in plan.components.values():
        load_settings(component.settings)
    check_ports(plan)


def check_ports(plan: Plan) -> None:
    """Fail early, before any server is started, if a port is taken.

    Raises
    ------
    NotConfiguredError
        Names the port, who wants it, and the option that moves all of them.
    """
    host = plan.settings.service_host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for name, port in plan.ports().items():
        if port > 65_535:
            raise NotConfiguredError(f"--port-offset {plan.port_offset}: {name} would need port {port}")
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                check_host(host, error)
                raise NotConfiguredError(
                    f"port {port} ({name}) can't be listened on at {host}: {(error.strerror or 'refused').lower()}; "
                    f"stop what uses it, or move every port: --port-offset {plan.port_offset + 100}"
                ) from error


@asynccontextmanager
async def running(plan: Plan, steps: Steps) -> AsyncIterator[Running]:
    """Start everything of a plan; on the way out components are drained, then the servers are stopped.

    Raises
    ------
    NotConfiguredError, UnavailableError
        Something can't be started; what was started is stopped again.
    """
    async with AsyncExitStack() as stack:
        settings = plan.settings.model_copy(update=await _start_servers(plan.settings, steps, stack))
        with steps.step("Database schema"):
            await migrate(settings.database_url.get_secret_value())
        backends = await stack.enter_async_context(open_backends(settings, ALWAYS_OPEN))
        metrics_url = None
        if plan.metrics_port is not None:
            url = await stack.enter_async_context(metrics_server(settings.service_host, plan.metrics_port))
            metrics_url = f"{url}/metrics"
        if "auth" in plan.components:
            make_keys_if_absent(settings.state_path / SIGNING_KEYS, "RS256")
        with steps.step("Services") as step:
            start = _start_processes if plan.own_processes else _start_here
            urls = await start(plan, Running(settings, backends, {}, metrics_url), stack)
            step.say(", ".join(urls) or "none")
        yield Running(settings, backends, urls, metrics_url)


async def _start_servers(settings: CoreSettings, steps: Steps, stack: AsyncExitStack) -> dict[str, SecretStr]:
    """The private servers that the settings ask for; gives the addresses to use instead of ``embedded:``."""
    kinds: dict[str, type[EmbeddedPostgres | EmbeddedRedis]] = {
        "database_url": EmbeddedPostgres,
        "redis_url": EmbeddedRedis,
    }
    addresses = {}
    for name, kind in kinds.items():
        configured: SecretStr = getattr(settings, name)
        if configured.get_secret_value().startswith("embedded:"):
            server = kind(settings.state_path)
            with steps.step(kind.title.removeprefix("the embedded ")) as step:
                addresses[name] = SecretStr(await stack.enter_async_context(server))
                step.say("ready" if server.owned else "joined the one already running")
    return addresses


async def _start_here(plan: Plan, shared: Running, stack: AsyncExitStack) -> dict[str, str]:
    """All components in this process, over the same backends."""
    servers = {name: getattr(shared.settings, name) for name in ("database_url", "redis_url")}
    components: list[RunningComponent] = []

    async def drain() -> None:
        await asyncio.gather(*(component.drain() for component in components))

    stack.push_async_callback(drain)
    for component in plan.components.values():
        given = load_settings(component.settings).model_fields_set  # what the environment says counts more
        addresses = plan.service_addresses() | plan.proxies_of(component.name)
        found = {name: value for name, value in addresses.items() if name not in given}
        settings = component.settings(**found).model_copy(update=servers)
        port = component.port + plan.port_offset
        components.append(await start_component(component, settings, shared.backends, port=port))
    return {component.name: component.url for component in components}


async def _start_processes(plan: Plan, shared: Running, stack: AsyncExitStack) -> dict[str, str]:
    """Each component in a process of its own; they join the private servers by the state folder."""
    folder = StateFolder(plan.settings.state_path)

    def found(component: str) -> dict[str, str]:
        settings = plan.service_addresses() | plan.proxies_of(component)
        return {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}

    processes = [
        ComponentProcess(address, shared.settings, folder.log_file(address.name), found(address.name))
        for address in plan.addresses()
    ]

    async def stop() -> None:
        await asyncio.gather(*(process.stop() for process in processes))

    stack.push_async_callback(stop)
    await asyncio.gather(*(process.start() for process in processes))
    return {process.address.name: process.address.url for process in processes}
