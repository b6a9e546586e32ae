"""Outgoing events (outbox), the rows no handler could take, and what consumers have already done."""

from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    # CACHE 1 is what the order per key rests on (core/outbox): ids grow in the order in which they are drawn.
    op.execute("""
        CREATE TABLE outbox (
            id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1),
            destination text NOT NULL,
            key text NOT NULL,
            body bytea NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (destination, id)
        )
    """)
    # A queue table is all dead rows soon: without an early and unthrottled vacuum each read would wade through them.
    op.execute("""
        ALTER TABLE outbox SET (
            autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000,
            autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0
        )
    """)
    op.execute("ALTER TABLE outbox ALTER COLUMN body SET STORAGE MAIN")
    op.execute("""
        CREATE TABLE outbox_rejected (
            id bigint PRIMARY KEY,
            destination text NOT NULL,
            key text NOT NULL,
            body bytea NOT NULL,
            created_at timestamptz NOT NULL,
            rejected_at timestamptz NOT NULL DEFAULT now(),
            reason text NOT NULL
        )
    """)
    op.execute("CREATE INDEX outbox_rejected_by_time ON outbox_rejected (rejected_at)")
    op.execute("""
        CREATE TABLE consumed_events (
            consumer text NOT NULL,
            event_id uuid NOT NULL,
            consumed_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (consumer, event_id)
        )
    """)
    op.execute("CREATE INDEX consumed_events_by_time ON consumed_events (consumed_at)")
