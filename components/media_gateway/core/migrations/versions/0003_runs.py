"""Ingestion runs with their progress and checkpoint, dead letters, cursors, and which text each vector was made of."""

from alembic import op

revision = "0003"
down_revision = "0002"

# `recorded` counts the batches whose outcome stands in this row. Each batch's transaction moves it from n to n + 1 and
# names the lease owner, so a commit whose answer was lost, or a process that lost its lease, can't count a batch twice.
RUNS = """
CREATE TABLE ingestion_runs (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    source text NOT NULL,
    spec_hash text NOT NULL,
    manifest jsonb NOT NULL,
    origin text NOT NULL,
    mode text NOT NULL,
    dry_run boolean NOT NULL,
    state text NOT NULL DEFAULT 'Pending',
    reason text,
    message text,
    cancel_requested boolean NOT NULL DEFAULT false,
    attempt integer NOT NULL DEFAULT 0,
    lease_owner uuid,
    lease_until timestamptz,
    recorded bigint NOT NULL DEFAULT 0,
    checkpoint text,
    start_cursor text,
    cursor text,
    read bigint NOT NULL DEFAULT 0,
    created bigint NOT NULL DEFAULT 0,
    updated bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    unidentified bigint NOT NULL DEFAULT 0,
    percent real,
    rate_per_second real,
    remaining_s real,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT ingestion_runs_state
        CHECK (state IN ('Pending', 'Running', 'Suspended', 'Complete', 'Failed', 'Cancelled'))
)
"""

RUNS_INDEXES = (
    # A manifest has one unfinished run: whoever starts it again continues that one.
    (
        "CREATE UNIQUE INDEX ingestion_runs_unfinished ON ingestion_runs (name, spec_hash) "
        "WHERE state IN ('Pending', 'Running', 'Suspended')"
    ),
    "CREATE INDEX ingestion_runs_finished ON ingestion_runs (finished_at) WHERE finished_at IS NOT NULL",
    "CREATE INDEX ingestion_runs_name ON ingestion_runs (name, created_at)",
)

DEAD_LETTERS = """
CREATE TABLE ingestion_dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES ingestion_runs (id) ON DELETE CASCADE,
    line bigint,
    position text NOT NULL,
    source_id text,
    field text NOT NULL,
    reason text NOT NULL,
    excerpt text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""
DEAD_LETTERS_INDEXES = ("CREATE INDEX ingestion_dead_letters_run ON ingestion_dead_letters (run_id, id)",)

CURSORS = """
CREATE TABLE ingestion_cursors (
    name text PRIMARY KEY,
    cursor text NOT NULL,
    run_id uuid NOT NULL,
    updated_at timestamptz NOT NULL
)
"""

# What each stored vector was made of, so that a change that leaves the text as it was costs no embedding.
CONTENT_VECTORS = """
CREATE TABLE content_vectors (
    content_id uuid PRIMARY KEY,
    model text NOT NULL,
    digest bytea NOT NULL
)
"""


def upgrade() -> None:
    for statement in (
        RUNS,
        *RUNS_INDEXES,
        DEAD_LETTERS,
        *DEAD_LETTERS_INDEXES,
        CURSORS,
        CONTENT_VECTORS,
    ):
        op.execute(statement)
