"""Decayed counts of what people do with contents, and an index for offerings that are about to end."""

from alembic import op

revision = "0005"
down_revision = "0004"

# Written and explained by discovery (discovery.decay): each level is the binary logarithm of a decayed count as of a fixed
# moment, so a row that nothing happens to stays true and the order by a level is the order of the counts at any time.
# `usual_level` fades slowest. Region 001 is the world (UN M49).
CONTENT_ACTIVITY = """
CREATE TABLE content_activity (
    content_id uuid NOT NULL,
    region text COLLATE "C" NOT NULL,
    day_level double precision NOT NULL,
    week_level double precision NOT NULL,
    month_level double precision NOT NULL,
    usual_level double precision NOT NULL,
    PRIMARY KEY (content_id, region)
)
"""
# Everything that is asked of the most active contents is in the index: they are scattered all over the table.
CONTENT_ACTIVITY_INDEXES = tuple(
    f"CREATE INDEX content_activity_by_{window} ON content_activity (region, {window}_level DESC) "
    "INCLUDE (content_id, usual_level)"
    for window in ("day", "week", "month")
)

# A vote is a keyed hash of day, content and person in one (discovery.pseudonyms): it says that somebody has been counted,
# and neither who nor for what.
ACTIVITY_VOTES = """
CREATE TABLE activity_votes (
    day date NOT NULL,
    vote bytea NOT NULL,
    weight real NOT NULL,
    PRIMARY KEY (day, vote)
)
"""

OFFERINGS_BY_END = """
CREATE INDEX offerings_by_end ON offerings (available_until)
    WHERE ended_at IS NULL AND available_until IS NOT NULL
"""


def upgrade() -> None:
    for statement in (CONTENT_ACTIVITY, *CONTENT_ACTIVITY_INDEXES, ACTIVITY_VOTES, OFFERINGS_BY_END):
        op.execute(statement)
