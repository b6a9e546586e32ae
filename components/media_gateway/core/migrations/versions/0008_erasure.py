"""Erasure: which people are erased, so that what comes late of them is not kept."""

from alembic import op

revision = "0008"
down_revision = "0007"

# `person` is a keyed hash of the id (discovery.pseudonyms).
ERASED_PEOPLE = """
CREATE TABLE erased_people (
    person bytea PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT now()
)
"""


def upgrade() -> None:
    op.execute(ERASED_PEOPLE)
