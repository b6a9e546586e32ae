"""Rate limits on requests: who asks, what it is charged to, what the answer says about it.

Called by the authentication middleware for each request of a limited component. What a request is counted by is found
out before anything has been proven, so a name alone never uses up what belongs to its owner.
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_plus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from prometheus_client import Counter
from pydantic import SecretStr

from media_gateway.core.bootstrap import Backends
from media_gateway.core.errors import (
    InvalidInputError,
    MediaGatewayError,
    PayloadTooLargeError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)
from media_gateway.core.limiting import (
    Asked,
    ClientKind,
    CounterStore,
    Decision,
    FilePlace,
    KeyPlace,
    LimitBook,
    LimitDocument,
    RateLimiter,
)
from media_gateway.core.limiting.compiling import ANONYMOUS
from media_gateway.core.limiting.limiter import is_lease
from media_gateway.core.limiting.store import LEASE_US
from media_gateway.core.service_tokens import HEADER, verify_internal
from media_gateway.core.settings import CoreSettings
from media_gateway.core.web.keys import CALLER, DECISION
from media_gateway.core.web.parsing import is_form, read_body, unchecked_fields
from media_gateway.core.web.problems import status_of
from media_gateway.core.web.routing import Auth, Limits, Route
from media_gateway.core.web.sources import source_of


@dataclass(frozen=True, slots=True)
class ClientKinds:
    """What a component that knows OAuth clients knows of the one of a name; it should answer from memory."""

    kind_of: Callable[[str], Awaitable[ClientKind]]


CLIENT_KINDS = web.AppKey("client_kinds", ClientKinds)
"""Put here while wiring. Without it no client is known."""

MAX_CLIENT_ID: Final = 255
"""Characters of a client's id; a longer one is none."""

_internal = Counter(
    "mgw_internal_requests_total", "Requests with a service token, which are not limited", ["service"]
)
_bad_tokens = Counter("mgw_service_tokens_refused_total", "Service tokens that were not valid", ["component"])


async def _nowhere(_request: web.Request) -> None:
    """Never called: aiohttp answers itself."""


NO_ROUTE: Final = Route(
    method="*", template="", handler=_nowhere, tag="", auth=Auth.NONE, limits=Limits("unmatched")
)
"""What a request counts as that no route matches: all of them share one endpoint, however many addresses are tried."""


@dataclass(frozen=True, slots=True)
class _Ways:
    """How a component tells who asks."""

    component: str
    secret: SecretStr | None
    body_limit_bytes: int


class RequestLimits:
    """The limits of one component on its requests.

    Parameters
    ----------
    book, limiter
        What holds, and who judges. Both are closed by `close`.
    """

    def __init__(self, book: LimitBook, limiter: RateLimiter, ways: _Ways) -> None:
        self.book = book
        self._limiter = limiter
        self._ways = ways

    @classmethod
    def from_settings(
        cls, component: str, built_in: LimitDocument, settings: CoreSettings, backends: Backends
    ) -> "RequestLimits":
        """The limits of this process; nothing is connected yet."""
        place: FilePlace | KeyPlace | None = None
        if settings.ratelimit_path is not None:
            place = FilePlace(settings.ratelimit_path)
        elif settings.ratelimit_key is not None:
            place = KeyPlace(backends.redis, settings.ratelimit_key)
        ways = _Ways(
            component,
            settings.auth_secret,
            settings.body_limit_bytes,
        )
        book = LimitBook(component, built_in, place, dry_run=settings.ratelimit_dry_run)
        store = CounterStore(backends.redis, timeout_ms=settings.ratelimit_timeout_ms)
        return cls(book, RateLimiter(store), ways)

    async def handle(self, request: web.Request, route: Route, handler: Handler) -> web.StreamResponse:
        """Answer a request if all limits let it through.

        Raises
        ------
        RateLimitedError
            A limit is used up.
        UnavailableError
            Nobody can count, and a limit is closed then; or a limit answers so.
        """
        if self._is_internal(request):
            return await handler(request)
        form: Mapping[str, str] = {}
        try:
            form = await self._form(request, route)
        except (InvalidInputError, PayloadTooLargeError) as error:
            handler = refusing(error)
        charges = self.book.rules.charges(await self._asked(request, route, form))
        decided = await self._limiter.decide(charges)
        request[DECISION] = decided
        if not decided.admitted:
            raise refusal(decided)
        async with self._leased(decided):
            try:
                response = await handler(request)
            except MediaGatewayError as error:
                if status_of(error) is HTTPStatus.UNAUTHORIZED:
                    await self._distrust(decided)
                raise
            if response.status == HTTPStatus.UNAUTHORIZED:
                await self._distrust(decided)
            return response

    async def close(self) -> None:
        """Close the connections."""
        await self.book.close()
        await self._limiter.close()

    def _is_internal(self, request: web.Request) -> bool:
        token = request.headers.get(HEADER)
        if token is None:
            return False
        if self._ways.secret is None:
            return False
        try:
            service = verify_internal(self._ways.secret.get_secret_value(), token)
        except UnauthenticatedError:
            # Limited as everybody else; an answer of its own would tell a guesser how near it came.
            _bad_tokens.labels(self._ways.component).inc()
            return False
        _internal.labels(service).inc()
        return True

    async def _form(self, request: web.Request, route: Route) -> Mapping[str, str]:
        assert route.limits is not None
        wanted = self.book.rules.asks_for_forms or route.limits.choose
        if route.form is None or not wanted or not is_form(request):
            return {}
        limit_bytes = route.body_limit_bytes or self._ways.body_limit_bytes
        return unchecked_fields(await read_body(request, limit_bytes))

    async def _asked(self, request: web.Request, route: Route, form: Mapping[str, str]) -> Asked:
        assert route.limits is not None
        rules, caller = self.book.rules, request.get(CALLER)
        client_id = kind = None
        if rules.asks_for_clients and (client_id := client_of(request.headers, form)) is not None:
            kinds = request.app.get(CLIENT_KINDS)
            kind = await kinds.kind_of(client_id) if kinds else None
        return Asked(
            endpoint=route.limits.choose(form)
            if route.limits.choose
            else route.limits.endpoint or route.handler.__name__,
            method=request.method,
            path=request.path,
            source=source_of(request),
            subject=caller.subject if caller else None,
            tier=caller.tier if caller else ANONYMOUS,
            client_id=client_id,
            client_kind=kind or ClientKind.UNKNOWN,
            headers=request.headers,
            claims=caller.claims if caller else {},
            form=form,
        )

    async def _distrust(self, decided: Decision) -> None:
        await self._limiter.give_back(decided, lambda charge: charge.on_trust)

    @asynccontextmanager
    async def _leased(self, decided: Decision) -> AsyncIterator[None]:
        if not any(is_lease(charge) for receipt in decided.receipts for charge in receipt.charges):
            yield
            return
        keeping = asyncio.create_task(self._keep(decided), name="lease of a request")
        try:
            yield
        finally:
            keeping.cancel()
            # Shielded: a place that a cancelled request held would stay taken for the rest of its lease.
            await asyncio.shield(self._limiter.give_back(decided, is_lease))

    async def _keep(self, decided: Decision) -> None:
        while True:
            await asyncio.sleep(LEASE_US / 3e6)
            await self._limiter.renew(decided)


def refusing(error: MediaGatewayError) -> Handler:
    """A handler for a request that has failed before it was counted: it is charged like any other, then refused."""

    async def refuse(_request: web.Request) -> web.StreamResponse:
        raise error

    return refuse


def client_of(headers: Mapping[str, str], form: Mapping[str, str]) -> str | None:
    """The OAuth client that a request names by HTTP Basic or in its form (RFC 6749 section 2.3.1), not proven."""
    named = form.get("client_id")
    scheme, _, encoded = headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() == "basic":
        try:
            named = unquote_plus(base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[0])
        except (binascii.Error, ValueError):
            named = None
    return named if named and len(named) <= MAX_CLIENT_ID else None


def refusal(decided: Decision) -> MediaGatewayError:
    """The error for a request that was not admitted."""
    retry_after_ms = decided.retry_after_ms
    if decided.unchecked is not None:
        return UnavailableError(
            "requests can't be counted at the moment, and uncounted ones are not let through here",
            retry_after_ms=retry_after_ms,
            details={"unchecked-policies": [decided.unchecked.name]},
        )
    refusing = decided.refusing
    assert refusing is not None
    violated = dict.fromkeys(s.rule.name for s in decided.standings if not s.passed and s.rule.enforced)
    kind = RateLimitedError if refusing.rule.status == HTTPStatus.TOO_MANY_REQUESTS else UnavailableError
    return kind(
        refusing.rule.message or "too many requests; try again later",
        retry_after_ms=retry_after_ms,
        details={"violated-policies": list(violated)},
    )
