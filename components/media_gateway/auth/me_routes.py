"""Routes of people's own accounts. The scope `account` keeps programs out that were allowed less."""

import time

from aiohttp import web

from media_gateway.auth.account_routes import tokens_answer
from media_gateway.auth.account_schemas import SessionTokens
from media_gateway.auth.granting import FIRST_PARTY, Grant, TokenIssuer
from media_gateway.auth.me_schemas import (
    Export,
    LimitsChange,
    LimitsView,
    PasswordBody,
    PasswordChange,
    PinAnswer,
    PinBody,
    PreferencesChange,
    ProfileChange,
    ProfileView,
)
from media_gateway.auth.requests import origin_of, user_id_of
from media_gateway.auth.services.parental import NewLimits, ParentalControls
from media_gateway.auth.services.profiles import Actor, Profiles, gone
from media_gateway.auth.store.profiles import LimitsRow, ProfileRow
from media_gateway.auth.subjects import Subjects
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import UnavailableError
from media_gateway.core.web import CALLER, Auth, Limits, RouteTable, respond

PROFILES = web.AppKey("profiles", Profiles)
PARENTAL = web.AppKey("parental_controls", ParentalControls)
SUBJECTS = web.AppKey("account_subjects", Subjects)
ISSUER = web.AppKey("account_issuer", TokenIssuer)

OWN = Auth.scope("account")

routes = RouteTable(tag="own account")


@routes.get("/api/v1/users/me", returns=ProfileView, auth=OWN, summary="See the own account")
async def show(request: web.Request) -> ProfileView:
    """As of now."""
    return profile_view(await request.app[PROFILES].find(user_id_of(request)))


@routes.patch(
    "/api/v1/users/me",
    body=ProfileChange,
    returns=ProfileView,
    auth=OWN,
    body_limit_bytes=8_192,
    summary="Change the own account",
)
async def change(request: web.Request, body: ProfileChange) -> ProfileView:
    """A new address needs the password, and is taken once its mailed link was opened."""
    profiles, actor = request.app[PROFILES], _actor(request)
    if body.email is not None:
        await profiles.change_email(actor, body.email, body.password)
    fields = body.profile.model_dump(exclude_unset=True) if body.profile else {}
    return profile_view(await profiles.change(actor, display_name=body.display_name, profile=fields))


@routes.get(
    "/api/v1/users/me/preferences", returns=PreferencesChange, auth=OWN, summary="See the preferences"
)
async def preferences(request: web.Request) -> PreferencesChange:
    """With defaults for what was never set."""
    found = await request.app[PROFILES].find(user_id_of(request))
    return PreferencesChange.model_validate(found.preferences)


@routes.put(
    "/api/v1/users/me/preferences",
    body=PreferencesChange,
    returns=PreferencesChange,
    auth=OWN,
    body_limit_bytes=16_384,
    summary="Replace the preferences",
)
async def put_preferences(request: web.Request, body: PreferencesChange) -> PreferencesChange:
    """All of them."""
    values = body.model_dump(mode="json")
    await request.app[PROFILES].set_preferences(user_id_of(request), values, whole=True)
    return body


@routes.patch(
    "/api/v1/users/me/preferences",
    body=PreferencesChange,
    returns=PreferencesChange,
    auth=OWN,
    body_limit_bytes=16_384,
    summary="Change some preferences",
)
async def patch_preferences(request: web.Request, body: PreferencesChange) -> PreferencesChange:
    """Those that are given."""
    values = body.model_dump(mode="json", exclude_unset=True)
    kept = await request.app[PROFILES].set_preferences(user_id_of(request), values, whole=False)
    return PreferencesChange.model_validate(kept)


@routes.post(
    "/api/v1/users/me/password",
    body=PasswordChange,
    returns=SessionTokens,
    auth=OWN,
    limits=Limits("login"),
    body_limit_bytes=8_192,
    summary="Change the password",
)
async def change_password(request: web.Request, body: PasswordChange) -> web.Response:
    """All sessions and tokens end, the one of this request too; the answer has new ones."""
    actor, caller = _actor(request), request[CALLER]
    if not await request.app[PROFILES].change_password(actor, body.current, body.new):
        raise UnavailableError(
            "the password is changed, and everybody is signed out soon: sign in with it then"
        )
    subject = await request.app[SUBJECTS].find(actor.user_id)
    if subject is None or not subject.enabled:
        raise gone()
    grant = Grant(
        grant_id=uuid7(),
        client_id=FIRST_PARTY,
        subject=subject,
        scopes=subject.scopes & caller.scopes,
        signed_in_at=time.time(),
    )
    return tokens_answer(await request.app[ISSUER].issue(grant))


@routes.get(
    "/api/v1/users/me/parental-controls",
    returns=LimitsView,
    auth=Auth.REQUIRED,
    summary="See the parental limits",
)
async def limits(request: web.Request) -> LimitsView:
    """Any token of the person shows them: it carries them, too."""
    return _limits_view(await request.app[PARENTAL].find(user_id_of(request)))


@routes.put(
    "/api/v1/users/me/parental-controls",
    body=LimitsChange,
    returns=LimitsView,
    auth=OWN,
    body_limit_bytes=8_192,
    summary="Set the parental limits",
)
async def put_limits(request: web.Request, body: LimitsChange) -> LimitsView:
    """Once a PIN is set, with it only: five wrong ones in fifteen minutes, then 429."""
    new = NewLimits(
        content_rating_limit=body.content_rating_limit,
        blocked_genres=tuple(dict.fromkeys(body.blocked_genres)),
        pin=body.pin,
        new_pin=body.new_pin,
        remove_pin=body.remove_pin,
    )
    return _limits_view(await request.app[PARENTAL].change(_actor(request), new))


@routes.post(
    "/api/v1/users/me/parental-controls/verify-pin",
    body=PinBody,
    returns=PinAnswer,
    auth=Auth.REQUIRED,
    body_limit_bytes=4_096,
    summary="Check a PIN",
)
async def verify_pin(request: web.Request, body: PinBody) -> PinAnswer:
    """403 for a wrong one, 409 if none is set."""
    await request.app[PARENTAL].verify(user_id_of(request), body.pin)
    return PinAnswer()


@routes.get("/api/v1/users/me/export", returns=Export, auth=OWN, summary="Take everything along")
async def export(request: web.Request) -> web.Response:
    """Everything that accounts keep of the person, without hashes and secrets."""
    found, kept = await request.app[PROFILES].export(user_id_of(request))
    limits = LimitsView(
        content_rating_limit=found.content_rating_limit,
        blocked_genres=found.blocked_genres,
        pin_set=found.has_pin,
    )
    answer = Export(
        account=profile_view(found), preferences=found.preferences, parental_controls=limits, **kept
    )
    name = 'attachment; filename="media-gateway-account.json"'
    return respond(answer, headers={"Content-Disposition": name, "Cache-Control": "no-store"})


@routes.delete(
    "/api/v1/users/me", body=PasswordBody, auth=OWN, body_limit_bytes=8_192, summary="Delete the own account"
)
async def delete(request: web.Request, body: PasswordBody) -> None:
    """Everywhere, and for good."""
    await request.app[PROFILES].delete(_actor(request), body.password)


def profile_view(row: ProfileRow) -> ProfileView:
    """An account for the wire."""
    return ProfileView.model_validate({name: getattr(row, name) for name in ProfileView.model_fields})


def _limits_view(row: LimitsRow) -> LimitsView:
    return LimitsView(
        content_rating_limit=row.content_rating_limit,
        blocked_genres=list(row.blocked_genres),
        pin_set=row.pin_hash is not None,
    )


def _actor(request: web.Request) -> Actor:
    return Actor(user_id=user_id_of(request), origin=origin_of(request))
