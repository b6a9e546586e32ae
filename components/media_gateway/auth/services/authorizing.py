"""Authorization requests (RFC 6749 section 4.1.1, RFC 7636, RFC 8707): checked, and answered with a code."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode

from media_gateway.auth.clients import AUTHORIZATION_CODE, Client, digest_of
from media_gateway.auth.services.issuing import ClientLookup
from media_gateway.auth.store import grants as store
from media_gateway.auth.store.grants import NewCode
from media_gateway.auth.subjects import Subject
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import InvalidInputError, MediaGatewayError

CODE_BYTES: Final = 32

MAX_REQUEST: Final = 6_000
"""Characters of a request: it travels through the sign-in page and back in addresses and forms."""

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
"""An S256 challenge is always so long (RFC 7636 section 4.2)."""

_PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})


class RefusedRequestError(InvalidInputError):
    """A request that is answered by sending the person back to the program, with an error (RFC 6749 section 4.1.2.1).

    Parameters
    ----------
    error
        Name in RFC 6749 or OpenID Connect.
    return_to
        Where to, complete with the error.
    """

    def __init__(self, error: str, message: str, *, return_to: str) -> None:
        super().__init__(message)
        self.error = error
        self.return_to = return_to


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """A good request.

    Attributes
    ----------
    query : str
        As it came.
    challenge : str
        S256 challenge of the program.
    resource : str | None
        Whom the access token is to be for; None for the platform.
    prompts : frozenset of str
        ``none``, ``login``, ``consent``, ``select_account``.
    max_age_s : int | None
        How long ago the person may have signed in at most, in seconds.
    """

    query: str
    client: Client
    redirect_uri: str
    state: str | None
    challenge: str
    scopes: frozenset[str]
    resource: str | None
    nonce: str | None
    prompts: frozenset[str]
    max_age_s: int | None


class Authorizing:
    """Reads requests and gives codes.

    Parameters
    ----------
    issuer
        ``iss`` of every answer (RFC 9207).
    check_resource
        Gives the audience for a resource that was asked for, or raises `OAuthError`.
    code_s
        Life of a code, in seconds.
    """

    def __init__(
        self,
        database: Database,
        clients: ClientLookup,
        *,
        issuer: str,
        check_resource: Callable[[str | None], str | None],
        code_s: float,
    ) -> None:
        self._database = database
        self._clients = clients
        self._issuer = issuer
        self._check_resource = check_resource
        self._code_s = code_s

    async def read(self, query: str) -> AuthorizationRequest:
        """A request from its query string.

        Raises
        ------
        InvalidInputError
            The program or its address is not known: nobody may be sent anywhere.
        RefusedRequestError
            Anything else is wrong.
        """
        if len(query) > MAX_REQUEST:
            raise InvalidInputError("this request is too long")
        fields = _Fields(query)
        client_id, redirect_uri = fields.once("client_id"), fields.once("redirect_uri")
        client = await self._clients.find(client_id) if client_id else None
        if client is None or not client.enabled:
            raise InvalidInputError("this app is not registered here (client_id)")
        if redirect_uri is None:
            raise InvalidInputError("this app does not say where to send you afterwards (redirect_uri)")
        if not client.may_return_to(redirect_uri):
            raise InvalidInputError(
                "this app wants to send you to an address that is not registered for it (redirect_uri)"
            )
        try:
            return self._checked(query, fields, client, redirect_uri)
        except InvalidInputError as error:
            raise self.refused(redirect_uri, fields.state(), "invalid_request", error.message) from error
        except _WrongError as error:
            raise self.refused(redirect_uri, fields.state(), error.error, error.text) from error

    def refused(self, redirect_uri: str, state: str | None, error: str, text: str) -> RefusedRequestError:
        """The way back with an error."""
        answer = {"error": error, "error_description": text, **({"state": state} if state else {})}
        return RefusedRequestError(error, text, return_to=self._back(redirect_uri, answer))

    async def allow(self, request: AuthorizationRequest, subject: Subject, *, signed_in_at: float) -> str:
        """The person agrees: the way back with a code.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            The database can't be reached; no code was made.
        """
        code = secrets.token_urlsafe(CODE_BYTES)
        kept = NewCode(
            digest=digest_of(code),
            grant_id=uuid7(),
            client_id=request.client.client_id,
            user_id=subject.user_id,
            redirect_uri=request.redirect_uri,
            challenge=request.challenge,
            scopes=request.scopes & subject.scopes,
            resource=request.resource,
            nonce=request.nonce,
            signed_in_at=signed_in_at,
            life_s=self._code_s,
        )
        async with self._database.transaction() as connection:
            await store.add_code(connection, kept)
        answer = {"code": code, **({"state": request.state} if request.state else {})}
        return self._back(request.redirect_uri, answer)

    def _back(self, redirect_uri: str, answer: dict[str, str]) -> str:
        joint = "&" if "?" in redirect_uri else "?"
        return f"{redirect_uri}{joint}{urlencode({**answer, 'iss': self._issuer})}"

    def _checked(
        self, query: str, fields: "_Fields", client: Client, redirect_uri: str
    ) -> AuthorizationRequest:
        state = fields.once("state")
        if AUTHORIZATION_CODE not in client.grant_types:
            raise _WrongError("unauthorized_client", "this app may not use the authorization code grant")
        if (kind := fields.once("response_type")) != "code":
            name = "invalid_request" if kind is None else "unsupported_response_type"
            raise _WrongError(name, "response_type: only 'code' is known here")
        if fields.once("response_mode") not in {None, "query"}:
            raise _WrongError("invalid_request", "response_mode: only 'query' is known here")
        if fields.once("request") or fields.once("request_uri"):
            raise _WrongError("request_not_supported", "request objects are not known here")
        challenge = fields.once("code_challenge") or ""
        if fields.once("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
            raise _WrongError("invalid_request", "code_challenge: PKCE with the method S256 is needed")
        scope = fields.once("scope")
        scopes = client.scopes if scope is None else frozenset(scope.split())
        if not scopes <= client.scopes:
            raise _WrongError("invalid_scope", "scope: more than this app may ask for")
        prompts = frozenset((fields.once("prompt") or "").split())
        if not prompts <= _PROMPTS or ("none" in prompts and len(prompts) > 1):
            raise _WrongError("invalid_request", "prompt: not a combination that is known here")
        return AuthorizationRequest(
            query=query,
            client=client,
            redirect_uri=redirect_uri,
            state=state,
            challenge=challenge,
            scopes=scopes,
            resource=self._resource(fields.once("resource")),
            nonce=fields.once("nonce"),
            prompts=prompts,
            max_age_s=_seconds(fields.once("max_age")),
        )

    def _resource(self, asked: str | None) -> str | None:
        try:
            return self._check_resource(asked)
        except MediaGatewayError as error:
            raise _WrongError("invalid_target", error.message) from error


class _WrongError(Exception):
    def __init__(self, error: str, text: str) -> None:
        super().__init__(text)
        self.error = error
        self.text = text


class _Fields:
    """The parameters of a query string: a repeated one is an error, an empty one was not given (RFC 6749 section 3.1)."""

    def __init__(self, query: str) -> None:
        try:
            pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError:
            raise InvalidInputError("the query is malformed") from None
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def once(self, name: str) -> str | None:
        values = self._values.get(name, [])
        if len(values) > 1:
            raise InvalidInputError(f"{name}: given more than once")
        return values[0] or None if values else None

    def state(self) -> str | None:
        values = self._values.get("state", [])
        return values[0] if len(values) == 1 else None


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise _WrongError("invalid_request", "max_age: not a number of seconds")
    return int(text)
