"""The device grant (RFC 8628): a TV asks, a person decides elsewhere, the TV's next poll gets tokens."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from prometheus_client import Counter

from media_gateway.auth.clients import DEVICE_CODE
from media_gateway.auth.device_ports import ClientDirectory, DeviceHints, GrantClient
from media_gateway.auth.granting import Grant, TokenIssuer, TokenPair
from media_gateway.auth.oauth_errors import OAuthError
from media_gateway.auth.store.device import Asking, Decided, DeviceStore, Limited, NewCodes, Polled, Waiting
from media_gateway.auth.subjects import Subject, Subjects
from media_gateway.auth.user_codes import read_user_code
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import (
    ConflictError,
    MediaGatewayError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
)

_steps = Counter("mgw_device_grant_steps_total", "Steps of device grants", ["step"])
_guesses = Counter(
    "mgw_device_guesses_refused_total",
    "User codes not looked at after too many wrong ones, by whose limit: user, source, or all (the breaker)",
    ["limit"],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who decides, and from which address."""

    user_id: UUID
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person is asked to approve.

    Attributes
    ----------
    source : str
        Address that the device asked from.
    begun_at, expires_at : float
        Unix time in seconds.
    """

    client_id: str
    client_name: str
    scopes: frozenset[str]
    source: str
    begun_at: float
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceParts:
    """What `DeviceGrants` works with."""

    store: DeviceStore
    clients: ClientDirectory
    subjects: Subjects
    issuer: TokenIssuer
    hints: DeviceHints


class DeviceGrants:
    """All device grants. Every method raises UnavailableError or DeadlineExceededError if a server is away."""

    def __init__(self, parts: DeviceParts) -> None:
        self._store = parts.store
        self._clients = parts.clients
        self._subjects = parts.subjects
        self._issuer = parts.issuer
        self._hints = parts.hints

    async def begin(self, client: GrantClient, *, scope: str | None, source: str) -> NewCodes:
        """Codes for a device of a client; without a scope, all that the client may have is asked for.

        Raises
        ------
        OAuthError
            ``unauthorized_client`` or ``invalid_scope``.
        """
        _check_client(client)
        scopes = client.scopes if scope is None else frozenset(scope.split())
        if not scopes <= client.scopes:
            raise OAuthError("invalid_scope", "scope: more than this client may ask for")
        codes = await self._store.create(client_id=client.client_id, scopes=scopes, source=source)
        _steps.labels("begun").inc()
        return codes

    async def poll(self, client: GrantClient, device_code: str) -> TokenPair:
        """The tokens, to the first poll after the approval.

        Raises
        ------
        OAuthError
            ``authorization_pending``, ``slow_down``, ``access_denied``, ``expired_token``, ``invalid_grant`` or
            ``unauthorized_client``.
        """
        _check_client(client)
        polled = await self._store.poll(device_code, client_id=client.client_id)
        _steps.labels(f"poll_{polled.state}").inc()
        if polled.state == "granted":
            return await self._redeem(client, device_code, polled)
        if polled.state == "spent" and polled.issued:
            # Somebody else may hold the code: whoever came first loses the tokens, too (RFC 6749 section 10.5).
            assert polled.grant_id is not None
            await self._issuer.revoke(polled.grant_id, reason="the device code was used again")
        raise _not_granted(polled)

    async def client_of(self, device_code: str) -> str | None:
        """Id of the client whose code it is, for old devices that do not say it."""
        return await self._store.client_of(device_code)

    async def look(self, person: Person, user_code: str) -> Request:
        """What waits under a user code.

        Raises
        ------
        NotFoundError
            Unknown, expired, or decided by somebody else: one and the same to the person.
        ConflictError
            The person has decided it before.
        RateLimitedError
            Too many wrong codes.
        PermissionDeniedError
            The account may not approve anything.
        """
        await self._subject(person)
        return await self._described(await self._ask(person, user_code, "look"))

    async def decide(self, person: Person, user_code: str, action: Literal["approve", "deny"]) -> Request:
        """Approve or refuse what waits under a user code; raises what `look` raises."""
        subject = await self._subject(person)
        waiting = await self._ask(person, user_code, action, subject.scopes)
        _steps.labels("approved" if action == "approve" else "denied").inc()
        await self._hints.decided(waiting.device_hash)
        return await self._described(waiting)

    async def _redeem(self, client: GrantClient, device_code: str, polled: Polled) -> TokenPair:
        assert polled.user_id is not None
        assert polled.grant_id is not None
        issued = False
        try:
            # Read anew: the account may have been locked, and the client limited, since the approval.
            subject = await self._subjects.find(polled.user_id)
            current = await self._clients.find(client.client_id)
            if subject is None or not subject.enabled or current is None or not current.enabled:
                issued = True  # never to be redeemed again
                raise OAuthError("access_denied", "the approval is no longer good")
            scopes = polled.scopes & subject.scopes & current.scopes
            grant = Grant(
                grant_id=polled.grant_id, client_id=client.client_id, subject=subject, scopes=scopes
            )
            pair = await self._issuer.issue(grant)
            issued = True
        finally:
            with suppress(MediaGatewayError):
                await self._store.settle(device_code, polled.grant_id, issued=issued)
        return pair

    async def _subject(self, person: Person) -> Subject:
        subject = await self._subjects.find(person.user_id)
        if subject is None or not subject.enabled:
            raise PermissionDeniedError("this account can't approve devices")
        return subject

    async def _ask(
        self,
        person: Person,
        user_code: str,
        action: Literal["look", "approve", "deny"],
        scopes: frozenset[str] = frozenset(),
    ) -> Waiting:
        code = read_user_code(user_code)
        if code is None:
            raise _unknown()
        answer = await self._store.ask(
            Asking(
                user_code=code,
                user_id=person.user_id,
                source=person.source,
                action=action,
                grant_id=uuid7(),
                scopes=scopes,
            )
        )
        if isinstance(answer, Waiting):
            return answer
        if isinstance(answer, Limited):
            _guesses.labels(answer.by).inc()
            raise RateLimitedError("too many wrong codes; wait a while", retry_after_ms=answer.wait_ms)
        if isinstance(answer, Decided):
            raise ConflictError(
                f"you have {'approved' if answer.approved else 'refused'} this device already",
                details={"approved": answer.approved},
            )
        raise _unknown()

    async def _described(self, waiting: Waiting) -> Request:
        client = await self._clients.find(waiting.client_id)
        return Request(
            client_id=waiting.client_id,
            client_name=client.name if client else waiting.client_id,
            scopes=waiting.scopes,
            source=waiting.source,
            begun_at=waiting.begun_at,
            expires_at=waiting.expires_at,
        )


def _check_client(client: GrantClient) -> None:
    if not client.enabled or DEVICE_CODE not in client.grant_types:
        raise OAuthError("unauthorized_client", "this client may not use the device grant")


def _unknown() -> NotFoundError:
    return NotFoundError("there is no device with this code; it may have expired")


def _not_granted(polled: Polled) -> OAuthError:
    match polled.state:
        case "pending":
            return OAuthError("authorization_pending", "nobody has decided yet")
        case "slow_down":
            return OAuthError("slow_down", f"polls must be {polled.interval_s:g} s apart, from now on")
        case "denied":
            return OAuthError("access_denied", "the request was refused")
        case "expired":
            return OAuthError("expired_token", "the code has expired: begin anew")
        case _:
            return OAuthError("invalid_grant", "device_code: not a code that can be redeemed")
