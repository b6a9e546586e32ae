"""What answers say about rate limits (draft-ietf-httpapi-ratelimit-headers-10, and the older X-RateLimit-*)."""

import time
from collections.abc import Iterable

from aiohttp import hdrs
from multidict import CIMultiDict

from media_gateway.core.limiting.rules import Decision, Headers, Kind, Standing


def set_limit_headers(headers: CIMultiDict[str], decided: Decision, *, legacy: bool) -> None:
    """Describe each limit that was looked at, and say when to come back after a refusal."""
    standings = [s for s in _tightest(decided.standings) if s.rule.enforced]
    described = [s for s in standings if s.rule.headers is Headers.DRAFT]
    if described:
        headers["RateLimit-Policy"] = ", ".join(_policy(s) for s in described)
        headers["RateLimit"] = ", ".join(_state(s) for s in described)
    old = [s for s in standings if s.rule.headers is Headers.LEGACY or legacy]
    if old:
        # There is room for one limit only: the refusing one, else the one that is nearest to its end.
        nearest = min(old, key=lambda s: (s.passed, s.remaining / s.rule.capacity))
        headers["X-RateLimit-Limit"] = str(nearest.rule.capacity)
        headers["X-RateLimit-Remaining"] = str(nearest.remaining)
        headers["X-RateLimit-Reset"] = str(int(time.time()) + _wait_s(nearest))
    if not decided.admitted:
        # An answer of a protocol's own shape may not have said it.
        headers.setdefault(hdrs.RETRY_AFTER, str(-(-decided.retry_after_ms // 1000)))


def _tightest(standings: Iterable[Standing]) -> list[Standing]:
    """One standing for each rule: of a client and of its source that with less left."""
    found: dict[str, Standing] = {}
    for standing in standings:
        other = found.get(standing.rule.name)
        if other is None or (standing.passed, standing.remaining) < (other.passed, other.remaining):
            found[standing.rule.name] = standing
    return list(found.values())


def _policy(standing: Standing) -> str:
    rule = standing.rule
    if rule.kind is Kind.CONCURRENCY:
        return f'"{rule.name}";q={rule.limit};qu="concurrent-requests"'
    return f'"{rule.name}";q={rule.limit};w={-(-rule.window_us // 1_000_000)}'


def _state(standing: Standing) -> str:
    # A burst may leave more than the quota of the window that is named.
    remaining = min(standing.remaining, standing.rule.limit)
    return f'"{standing.rule.name}";r={remaining};t={_wait_s(standing)}'


def _wait_s(standing: Standing) -> int:
    wait_us = standing.reset_us if standing.passed else standing.retry_us
    return max(0, -(-wait_us // 1_000_000))
