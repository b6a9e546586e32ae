"""How accounts are put together: registering, signing in, mails and the pages of their links.

No component serves them yet. What they need of the rest (tokens, second factors) is named in `AccountNeeds`.
"""

from dataclasses import dataclass

from media_gateway.auth import account_routes, admin_routes, me_routes
from media_gateway.auth.audit import AuditLog
from media_gateway.auth.browser import BrowserSessions
from media_gateway.auth.granting import TokenIssuer
from media_gateway.auth.mail import MailServer, open_mail
from media_gateway.auth.pages import mail_links, sign_in as sign_in_page
from media_gateway.auth.pages.visitors import Visitors
from media_gateway.auth.passwords import Passwords
from media_gateway.auth.second_factor import SecondFactors
from media_gateway.auth.services.administration import Administration
from media_gateway.auth.services.mail_sender import MailSender, SendingRules
from media_gateway.auth.services.mailed_links import LinkParts, MailedLinks
from media_gateway.auth.services.parental import PIN_TRIES, PIN_WINDOW_S, ParentalControls
from media_gateway.auth.services.password_login import (
    CODES_TRIED,
    CODES_WINDOW_S,
    LoginParts,
    PasswordLogin,
)
from media_gateway.auth.services.profiles import ProfileParts, Profiles
from media_gateway.auth.services.registration import Registration
from media_gateway.auth.services.retention import AccountRetention
from media_gateway.auth.services.sign_in import SignIn
from media_gateway.auth.services.sign_out import SignOuts
from media_gateway.auth.settings import Settings
from media_gateway.auth.store.accounts import AccountSubjects
from media_gateway.auth.store.attempts import Attempts
from media_gateway.auth.store.audit_pages import AuditPages
from media_gateway.auth.store.budgets import Budget
from media_gateway.core.web import Context

MAILS_AN_HOUR = 3
"""Mails of one kind to one address that strangers can cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountNeeds:
    """What accounts get from the other parts of auth.

    Attributes
    ----------
    passwords : Passwords
        Closed by whoever made it.
    mail : MailServer | None
        Instead of that of the settings.
    """

    issuer: TokenIssuer
    second_factors: SecondFactors
    audit: AuditLog
    passwords: Passwords
    mail: MailServer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """What the other parts of auth get from accounts."""

    subjects: AccountSubjects
    login: PasswordLogin
    sign_outs: SignOuts


ACCOUNT_ROUTES = (account_routes.routes, mail_links.routes, me_routes.routes, admin_routes.routes)
"""What `wire_accounts` makes work. The pages also want the style sheet of `pages.sign_in`."""


def wire_accounts(context: Context[Settings], needs: AccountNeeds) -> Accounts:
    """The accounts, and the tasks that send their mails."""
    app, settings, backends = context.app, context.settings, context.backends
    database, redis = backends.database, backends.redis
    verify_s, reset_s = settings.verify_email_h * 3600, settings.reset_password_h * 3600
    subjects = AccountSubjects(database)
    sessions = BrowserSessions(redis, life_s=settings.browser_session_h * 3600)
    sign_outs = SignOuts(database, needs.issuer, sessions)

    def mails(kind: str) -> Budget:
        return Budget(redis, f"mails:{kind}", limit=MAILS_AN_HOUR, window_s=3600)

    login = PasswordLogin(
        LoginParts(
            database=database,
            passwords=needs.passwords,
            second_factors=needs.second_factors,
            attempts=Attempts(redis),
            codes=Budget(redis, "second_factor", limit=CODES_TRIED, window_s=CODES_WINDOW_S),
            audit=needs.audit,
            require_verified_email=settings.require_verified_email,
        )
    )
    app[sign_in_page.VISITORS] = Visitors(sessions, subjects, settings)
    app[account_routes.REGISTRATION] = Registration(
        database, needs.passwords, mails("registered"), mail_life_s=verify_s
    )
    app[account_routes.SIGN_IN] = SignIn(database, login, subjects, needs.issuer)
    app[account_routes.LINKS] = MailedLinks(
        LinkParts(
            database=database,
            passwords=needs.passwords,
            sign_outs=sign_outs,
            forgotten=mails("forgotten"),
            resent=mails("resent"),
            verify_life_s=verify_s,
            reset_life_s=reset_s,
        )
    )
    _wire_own(context, needs, sign_outs, mails("moved"))
    app[me_routes.SUBJECTS] = subjects
    rules = SendingRules(public_url=settings.public_url, verify_life_s=verify_s, reset_life_s=reset_s)
    spawn = context.supervisor.spawn
    spawn("mails", MailSender(database, needs.mail or open_mail(settings), rules).run)
    spawn("sign-outs", sign_outs.run)
    spawn("account retention", AccountRetention(database, audit_kept_s=settings.audit_kept_days * 86_400).run)
    return Accounts(subjects=subjects, login=login, sign_outs=sign_outs)


def _wire_own(context: Context[Settings], needs: AccountNeeds, sign_outs: SignOuts, mails: Budget) -> None:
    """What people do with their own accounts, and administrators with those of others."""
    app, database, redis = context.app, context.backends.database, context.backends.redis
    app[me_routes.PROFILES] = Profiles(
        ProfileParts(
            database=database,
            passwords=needs.passwords,
            sign_outs=sign_outs,
            tries=Budget(redis, "password", limit=PIN_TRIES, window_s=PIN_WINDOW_S),
            mails=mails,
            verify_life_s=context.settings.verify_email_h * 3600,
        )
    )
    pins = Budget(redis, "pin", limit=PIN_TRIES, window_s=PIN_WINDOW_S)
    app[me_routes.PARENTAL] = ParentalControls(database, needs.passwords, pins)
    app[me_routes.ISSUER] = needs.issuer
    app[admin_routes.ADMINISTRATION] = Administration(database, sign_outs)
    app[admin_routes.AUDIT_PAGES] = AuditPages(database)
