"""How what proves who somebody is, beside the password, is put together: second factors, API keys, sessions.

No component serves it yet.
"""

from dataclasses import dataclass

from media_gateway.auth import api_key_routes, second_factor_routes, session_routes
from media_gateway.auth.audit import AuditLog
from media_gateway.auth.granting import TokenIssuer
from media_gateway.auth.second_factor import SecondFactors
from media_gateway.auth.services.api_keys import ApiKeys
from media_gateway.auth.services.second_factors import AppSecondFactors, FactorParts
from media_gateway.auth.services.sessions import Sessions
from media_gateway.auth.settings import Settings
from media_gateway.auth.store.api_keys import ApiKeyStore
from media_gateway.auth.store.code_attempts import CodeAttempts
from media_gateway.auth.store.second_factors import SecondFactorStore
from media_gateway.auth.store.sessions import SessionStore
from media_gateway.auth.subjects import Subjects
from media_gateway.core.web import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialNeeds:
    """What credentials get from the other parts of auth."""

    issuer: TokenIssuer
    subjects: Subjects
    audit: AuditLog


CREDENTIAL_ROUTES = (second_factor_routes.routes, api_key_routes.routes, session_routes.routes)
"""What `wire_credentials` makes work."""


def wire_credentials(context: Context[Settings], needs: CredentialNeeds) -> SecondFactors:
    """Second factors, API keys and sessions; what sign-ins ask of them is given back."""
    app, settings, backends = context.app, context.settings, context.backends
    factors = AppSecondFactors(
        FactorParts(
            store=SecondFactorStore(backends.database),
            attempts=CodeAttempts(backends.redis),
            subjects=needs.subjects,
            audit=needs.audit,
            key=settings.sealing_key_bytes,
            issuer_name=settings.mfa_issuer,
        )
    )
    app[second_factor_routes.FACTORS] = factors
    app[api_key_routes.API_KEYS] = ApiKeys(ApiKeyStore(backends.database), needs.subjects, needs.issuer)
    app[api_key_routes.SETTINGS] = settings
    app[session_routes.SESSIONS] = Sessions(SessionStore(backends.database), needs.issuer, needs.audit)
    return factors
