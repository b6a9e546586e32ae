"""Accounts: people, their second factors, API keys and identities elsewhere, mails to be sent and the codes in them."""

from alembic import op

revision = "0007"
down_revision = "0006"

# `email` is kept as it was typed; one address has one account however it is written. The row of a deleted account stays
# without anything that tells whose it was, so that its id is never taken for a person who can still sign in.
# `pending_email` is an address that its owner has not confirmed yet. `signed_out_at` is when all sessions and tokens were
# to end; `sign_out_due` says that this is not done yet.
USERS = """
CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text,
    password_hash text,
    display_name text NOT NULL DEFAULT '',
    email_verified_at timestamptz,
    pending_email text,
    locked_at timestamptz,
    tier text NOT NULL DEFAULT 'free' CHECK (tier IN ('free', 'pro', 'enterprise')),
    roles text[] NOT NULL DEFAULT '{user}',
    profile jsonb NOT NULL DEFAULT '{}',
    preferences jsonb NOT NULL DEFAULT '{}',
    pin_hash text,
    content_rating_limit text,
    blocked_genres text[] NOT NULL DEFAULT '{}',
    signed_out_at timestamptz,
    sign_out_due boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CHECK (deleted_at IS NOT NULL OR email IS NOT NULL),
    CHECK (deleted_at IS NULL
           OR (email IS NULL AND password_hash IS NULL AND pin_hash IS NULL AND pending_email IS NULL))
)
"""
USERS_BY_EMAIL = "CREATE UNIQUE INDEX users_by_email ON users (lower(email)) WHERE email IS NOT NULL"
USERS_TO_SIGN_OUT = "CREATE INDEX users_to_sign_out ON users (signed_out_at) WHERE sign_out_due"

# The secret of an authenticator app is encrypted (auth.sealing). `last_step` is that of the last code that was accepted.
SECOND_FACTORS = """
CREATE TABLE second_factors (
    user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    sealed_secret bytea NOT NULL,
    confirmed_at timestamptz,
    last_step bigint NOT NULL DEFAULT 0
)
"""
BACKUP_CODES = """
CREATE TABLE backup_codes (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    code_digest bytea NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (user_id, code_digest)
)
"""

# Of the key only its beginning is kept, for its owner to recognise it, and its digest.
API_KEYS = """
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL,
    prefix text NOT NULL,
    key_digest bytea NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz
)
"""
API_KEYS_BY_USER = "CREATE INDEX api_keys_by_user ON api_keys (user_id)"

# A person at a provider of social login: signs in as the account that it was linked to, whatever address it has later.
IDENTITIES = """
CREATE TABLE oauth_identities (
    provider text NOT NULL,
    provider_user_id text NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    email text,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, provider_user_id),
    UNIQUE (user_id, provider)
)
"""

# `email` is the address that a code of `change_email` proves.
MAILED_CODES = """
CREATE TABLE mailed_codes (
    code_digest bytea PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('verify_email', 'change_email', 'reset_password')),
    email text,
    expires_at timestamptz NOT NULL
)
"""
MAILED_CODES_BY_USER = "CREATE INDEX mailed_codes_by_user ON mailed_codes (user_id, purpose)"

# Mails that are to be sent, deleted once they are. Texts are made, and codes drawn, by whoever sends one: no code is kept
# that opens anything. A mail to an address that a stranger typed has no user; whether it has an account is looked up then.
MAILS = """
CREATE TABLE mails (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    recipient text NOT NULL,
    user_id uuid REFERENCES users ON DELETE CASCADE,
    attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    next_try_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
)
"""
MAILS_BY_TRY = "CREATE INDEX mails_by_try ON mails (next_try_at)"
MAILS_BY_USER = "CREATE INDEX mails_by_user ON mails (user_id)"


def upgrade() -> None:
    for statement in (
        USERS,
        USERS_BY_EMAIL,
        USERS_TO_SIGN_OUT,
        SECOND_FACTORS,
        BACKUP_CODES,
        API_KEYS,
        API_KEYS_BY_USER,
        IDENTITIES,
        MAILED_CODES,
        MAILED_CODES_BY_USER,
        MAILS,
        MAILS_BY_TRY,
        MAILS_BY_USER,
    ):
        op.execute(statement)
