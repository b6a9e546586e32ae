"""State of the whole platform, as the gateway sees it: each service's own report. Called by the routes."""

from collections.abc import Mapping
from typing import Final

import aiohttp

from media_gateway.core.errors import UnavailableError
from media_gateway.core.health import Health, HealthReport, Probe
from media_gateway.core.network import why_unreachable
from media_gateway.gateway.table import Upstream

PROBE_S: Final = 2.0
"""Longest a service may take to report, in seconds."""

KEPT_S: Final = 5.0
"""How long a report is given again, in seconds."""

VITAL: Final = frozenset({Upstream.DISCOVERY, Upstream.AUTH})
"""Without these nothing works for anybody."""


class OverallHealth:
    """Asks every service how it is.

    Parameters
    ----------
    addresses
        Of the services that this installation has.
    """

    def __init__(self, session: aiohttp.ClientSession, addresses: Mapping[Upstream, str]) -> None:
        self._session = session
        self._health = Health(timeout_s=PROBE_S, kept_s=KEPT_S)
        for upstream, address in addresses.items():
            self._health.add(upstream.value, self._probe(address), critical=upstream in VITAL)

    async def report(self) -> HealthReport:
        """All reports in one, at most `KEPT_S` old."""
        return await self._health.report()

    async def close(self) -> None:
        """Stop asking."""
        await self._health.close()

    def _probe(self, address: str) -> Probe:
        async def probe() -> str | None:
            try:
                async with self._session.get(
                    f"{address}/health", timeout=aiohttp.ClientTimeout(total=PROBE_S)
                ) as answer:
                    document = await answer.json(content_type=None)
                    failing = [
                        f"{part['name']}: {part['message']}"
                        for part in document["components"]
                        if part["status"] != "healthy"
                    ]
                    status = document["status"]
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise UnavailableError(why_unreachable(error)) from error
            except (ValueError, KeyError, TypeError) as error:
                raise UnavailableError("its report can't be read") from error
            if status == "unhealthy":
                raise UnavailableError("; ".join(failing) or "unhealthy")
            return None if status == "healthy" else "; ".join(failing) or "degraded"

        return probe
