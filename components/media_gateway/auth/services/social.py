"""Sign-ins by a provider: begun in a browser, confirmed by the provider, ended with the account of whoever it is."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from prometheus_client import Counter

from media_gateway.auth.actors import Actor
from media_gateway.auth.audit import AuditEntry, AuditLog
from media_gateway.auth.social.asking import Asking, Claimed, SocialProvider
from media_gateway.auth.store.identities import Identity, IdentityStore, ProvenIdentity
from media_gateway.auth.store.social_states import Pending, SocialStates
from media_gateway.auth.subjects import Subjects
from media_gateway.core.errors import ConflictError, MediaGatewayError, NotFoundError, PermissionDeniedError

MAX_NAME = 100
MAX_EMAIL = 254
"""RFC 5321 section 4.5.3.1.3, without the angle brackets."""

_sign_ins = Counter("mgw_social_sign_ins_total", "Sign-ins by a provider", ["provider", "outcome"])


class EmailTakenError(ConflictError):
    """An account has the address already: its owner must link the provider, signed in by password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """What a browser comes back with: a code, or an error, and the state.

    Attributes
    ----------
    browser : str
        The value of the cookie that it was sent away with.
    """

    state: str
    browser: str
    code: str | None = None
    error: str | None = None
    source: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Who it is and where the person wanted to go; ``linked`` if an account got an identity and nobody was signed in."""

    user_id: UUID
    return_to: str
    linked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SocialParts:
    """What `SocialSignIns` works with."""

    providers: Mapping[str, SocialProvider]
    states: SocialStates
    identities: IdentityStore
    subjects: Subjects
    audit: AuditLog
    public_url: str


class SocialSignIns:
    """All sign-ins by providers. Every method raises UnavailableError or DeadlineExceededError if a server is away."""

    def __init__(self, parts: SocialParts) -> None:
        self._providers = parts.providers
        self._states = parts.states
        self._identities = parts.identities
        self._subjects = parts.subjects
        self._audit = parts.audit
        self._public_url = parts.public_url

    def provider(self, name: str) -> SocialProvider:
        """A configured provider.

        Raises
        ------
        NotFoundError
            There is none of this name.
        """
        if name not in self._providers:
            raise NotFoundError("there is no such way to sign in here")
        return self._providers[name]

    async def begin(self, name: str, *, browser: str, return_to: str, link_to: UUID | None = None) -> str:
        """Where to send the browser.

        Raises
        ------
        NotFoundError
            There is no such provider.
        ProviderAwayError
            Its endpoints can't be looked up.
        """
        provider = self.provider(name)
        pending = Pending(
            provider=name,
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            return_to=return_to,
            link_to=link_to,
        )
        state = await self._states.start(pending, browser=browser)
        return await provider.address(self._asking(state, pending))

    async def finish(self, name: str, back: Return) -> Finished:
        """Whose account it is, found or made new.

        Raises
        ------
        PermissionDeniedError
            The state is not of this browser, too old or was taken; the person or the provider refused; the account is
            locked; or there is none and no verified address to make one with.
        EmailTakenError
            An account has the address.
        ConflictError
            The identity can't be linked.
        ProviderAwayError
            The provider can't be asked.
        """
        provider = self.provider(name)
        outcome = "refused"
        try:
            pending = await self._states.take(back.state, browser=back.browser)
            if pending is None or pending.provider != name:
                raise PermissionDeniedError(
                    "This sign-in took too long, or was begun in another browser. Please begin again."
                )
            if back.error is not None or not back.code:
                raise PermissionDeniedError(f"{provider.title} did not sign you in.")
            claimed = await provider.person(back.code, self._asking(back.state, pending))
            proven = _proven(name, claimed)
            if pending.link_to is not None:
                await self._link(pending.link_to, proven, provider.title, back)
                user_id = pending.link_to
            else:
                user_id = await self._signed_in(proven, provider.title, back)
            outcome = "linked" if pending.link_to else "signed_in"
        except MediaGatewayError as error:
            outcome = "failed" if error.retryable else "refused"
            raise
        finally:
            _sign_ins.labels(name, outcome).inc()
        return Finished(user_id=user_id, return_to=pending.return_to, linked=pending.link_to is not None)

    async def identities_of(self, actor: Actor) -> list[Identity]:
        """The providers that a person signs in with."""
        return await self._identities.of(actor.user_id)

    async def unlink(self, actor: Actor, provider: str) -> None:
        """Take an identity away; raises NotFoundError, or ConflictError if it is the only way in."""
        entry = actor.did("identity.unlinked", "user", str(actor.user_id), {"provider": provider})
        await self._identities.unlink(actor.user_id, provider, entry)

    async def _signed_in(self, proven: ProvenIdentity, title: str, back: Return) -> UUID:
        user_id = await self._identities.use(proven) or await self._made(proven, title, back)
        subject = await self._subjects.find(user_id)
        if subject is None or not subject.enabled:
            raise PermissionDeniedError("This account is locked.")
        entry = _entry("account.signed_in", proven, back)
        await self._audit.record(replace(entry, user_id=user_id, resource_id=str(user_id)))
        return user_id

    async def _made(self, proven: ProvenIdentity, title: str, back: Return) -> UUID:
        if proven.email is None:
            raise PermissionDeniedError(
                f"{title} does not say that your e-mail address is verified, so no account can be made with it."
            )
        try:
            return await self._identities.add_person(proven, _entry("account.created", proven, back))
        except ConflictError as error:
            # Perhaps another request of the same person was faster.
            user_id = await self._identities.use(proven)
            if user_id is None:
                raise EmailTakenError(
                    f"There is an account with your e-mail address. Sign in with your password to link {title} with it.",
                    details={"provider": proven.provider},
                ) from error
            return user_id

    async def _link(self, user_id: UUID, proven: ProvenIdentity, title: str, back: Return) -> None:
        if await self._identities.use(proven) == user_id:
            return
        try:
            await self._identities.link(user_id, proven, _entry("identity.linked", proven, back))
        except ConflictError as error:
            raise ConflictError(
                f"This account at {title} belongs to somebody else here, or you have linked another one."
            ) from error

    def _asking(self, state: str, pending: Pending) -> Asking:
        return Asking(
            state=state,
            nonce=pending.nonce,
            verifier=pending.verifier,
            redirect_uri=f"{self._public_url}/auth/oauth/{pending.provider}/callback",
        )


def _proven(provider: str, claimed: Claimed) -> ProvenIdentity:
    """What is kept of it: an address only if it is verified and can be one."""
    email = claimed.email if claimed.email_verified and _is_address(claimed.email) else None
    name = "".join(char for char in claimed.name if char.isprintable()).strip()[:MAX_NAME]
    return ProvenIdentity(provider=provider, id=claimed.id, email=email, name=name)


def _is_address(text: str | None) -> bool:
    if text is None or len(text) > MAX_EMAIL or not text.isprintable() or " " in text:
        return False
    local, at, domain = text.rpartition("@")
    return bool(local and at and domain)


def _entry(action: str, proven: ProvenIdentity, back: Return) -> AuditEntry:
    return AuditEntry(
        action=action,
        resource_type="user",
        source=back.source,
        user_agent=back.user_agent,
        details={"provider": proven.provider},
    )
