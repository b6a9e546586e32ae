"""OAuth: registered programs, authorization codes, grants with their refresh tokens, and the audit log."""

from alembic import op

revision = "0006"
down_revision = "0005"

AUDIT_LOGS = """
CREATE TABLE audit_logs (
    id uuid PRIMARY KEY,
    timestamp timestamptz NOT NULL DEFAULT now(),
    user_id uuid,
    action text NOT NULL,
    resource_type text NOT NULL,
    resource_id text,
    details jsonb NOT NULL DEFAULT '{}',
    source text,
    user_agent text
)
"""
AUDIT_LOGS_BY_TIME = "CREATE INDEX audit_logs_by_time ON audit_logs (timestamp)"
AUDIT_LOGS_BY_USER = "CREATE INDEX audit_logs_by_user ON audit_logs (user_id, timestamp)"

CLIENTS = """
CREATE TABLE oauth_clients (
    client_id text PRIMARY KEY,
    name text NOT NULL,
    secret_digest bytea,
    redirect_uris text[] NOT NULL DEFAULT '{}',
    grant_types text[] NOT NULL,
    scopes text[] NOT NULL,
    enabled boolean NOT NULL DEFAULT true,
    access_token_s integer,
    refresh_token_s integer,
    refresh_leeway_s real,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
)
"""

# A grant is what a person allowed a program; its tokens end with it. Clients may also come from a file, so no foreign key.
GRANTS = """
CREATE TABLE oauth_grants (
    id uuid PRIMARY KEY,
    client_id text NOT NULL,
    user_id uuid NOT NULL,
    scopes text[] NOT NULL,
    resource text,
    nonce text,
    signed_in_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_reason text
)
"""
GRANTS_BY_USER = "CREATE INDEX oauth_grants_by_user ON oauth_grants (user_id)"
GRANTS_BY_EXPIRY = "CREATE INDEX oauth_grants_by_expiry ON oauth_grants (expires_at)"

# `successor` is the token that took its place, encrypted with a key that only this token gives: who holds it may be given
# the same successor again, and nobody else learns it.
REFRESH_TOKENS = """
CREATE TABLE refresh_tokens (
    digest bytea PRIMARY KEY,
    grant_id uuid NOT NULL REFERENCES oauth_grants ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    spent_at timestamptz,
    successor bytea
)
"""
REFRESH_TOKENS_BY_GRANT = "CREATE INDEX refresh_tokens_by_grant ON refresh_tokens (grant_id)"

CODES = """
CREATE TABLE authorization_codes (
    digest bytea PRIMARY KEY,
    grant_id uuid NOT NULL,
    client_id text NOT NULL,
    user_id uuid NOT NULL,
    redirect_uri text NOT NULL,
    challenge text NOT NULL,
    scopes text[] NOT NULL,
    resource text,
    nonce text,
    signed_in_at timestamptz,
    expires_at timestamptz NOT NULL,
    redeemed_at timestamptz
)
"""
CODES_BY_EXPIRY = "CREATE INDEX authorization_codes_by_expiry ON authorization_codes (expires_at)"


def upgrade() -> None:
    for statement in (
        AUDIT_LOGS,
        AUDIT_LOGS_BY_TIME,
        AUDIT_LOGS_BY_USER,
        CLIENTS,
        GRANTS,
        GRANTS_BY_USER,
        GRANTS_BY_EXPIRY,
        REFRESH_TOKENS,
        REFRESH_TOKENS_BY_GRANT,
        CODES,
        CODES_BY_EXPIRY,
    ):
        op.execute(statement)
