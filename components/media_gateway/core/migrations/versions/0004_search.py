"""Discovery's own tables: versions of the ranking configuration, and what search analytics keep."""

from alembic import op

revision = "0004"
down_revision = "0003"

# One row a change, the newest is in force. The primary key is what lets exactly one of two writers, who both saw version
# n, write n + 1.
RANKING_VERSIONS = """
CREATE TABLE ranking_versions (
    version bigint PRIMARY KEY CHECK (version > 0),
    document jsonb NOT NULL,
    author text NOT NULL,
    comment text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""

# Hashes are keyed (discovery.pseudonyms): nobody who has this table alone can test whether a query is in it, nor which
# rows are of one person. `shown` results were answered, the first of them at rank `first_position`.
SEARCH_EVENTS = """
CREATE TABLE search_events (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    query_hash bytea NOT NULL,
    searcher_hash bytea NOT NULL,
    anonymous boolean NOT NULL,
    variant text COLLATE "C" NOT NULL,
    filters jsonb NOT NULL,
    result_count integer NOT NULL,
    first_position integer NOT NULL,
    shown integer NOT NULL,
    latency_ms real NOT NULL,
    degraded boolean NOT NULL,
    cache text COLLATE "C" NOT NULL
)
"""
SEARCH_EVENTS_INDEXES = (
    "CREATE INDEX search_events_by_time ON search_events (created_at)",
    # Counting to five different searchers of a query takes five probes of it, however often each of them searched.
    "CREATE INDEX search_events_by_searcher ON search_events (query_hash, searcher_hash)",
)

# No foreign key: the search may still be on its way here from another process, or was dropped in an outage.
SEARCH_CLICKS = """
CREATE TABLE search_clicks (
    search_id uuid NOT NULL,
    content_id uuid NOT NULL,
    position integer NOT NULL,
    clicked_at timestamptz NOT NULL,
    PRIMARY KEY (search_id, content_id)
)
"""
SEARCH_CLICKS_INDEXES = ("CREATE INDEX search_clicks_by_time ON search_clicks (clicked_at)",)

# The only place of query text: of queries that enough different people searched for.
POPULAR_SEARCHES = """
CREATE TABLE popular_searches (
    query_hash bytea PRIMARY KEY,
    query_text text NOT NULL
)
"""


def upgrade() -> None:
    for statement in (
        RANKING_VERSIONS,
        SEARCH_EVENTS,
        *SEARCH_EVENTS_INDEXES,
        SEARCH_CLICKS,
        *SEARCH_CLICKS_INDEXES,
        POPULAR_SEARCHES,
    ):
        op.execute(statement)
