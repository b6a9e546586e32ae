"""The catalogue: what sources said, the contents made of it, and what identity resolution looks up.

`source_records` and `content_redirects` are the truth; `contents`, `external_ids`, `offerings` and `credits` are
projections folded from it by ingestion's `CatalogueWriter`, the only writer. Foreign keys stand where a dangling row
would lose truth; the projections carry none, because each check costs a row lock per child row on the bulk path.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

CONTENTS = """
CREATE TABLE contents (
    id uuid PRIMARY KEY,
    content_type text NOT NULL,
    title text NOT NULL,
    title_key text COLLATE "C" NOT NULL,
    original_title text,
    alternate_titles jsonb,
    overview text,
    release_year integer,
    release_date date,
    runtime_minutes integer,
    genres text[] NOT NULL DEFAULT '{}',
    maturity_rating text,
    average_rating real,
    rating_count integer,
    popularity_score real,
    original_language text,
    audio_languages text[] NOT NULL DEFAULT '{}',
    production_countries text[] NOT NULL DEFAULT '{}',
    production_companies text[] NOT NULL DEFAULT '{}',
    keywords text[] NOT NULL DEFAULT '{}',
    images jsonb,
    series jsonb,
    sources text[] NOT NULL DEFAULT '{}',
    quality_score real NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    removed_at timestamptz,
    -- Lookup columns of identity resolution (ingestion.identity.keys says how they are computed).
    title_hash bigint,
    title_slot integer NOT NULL DEFAULT 0,
    block_head bigint,
    block_tail bigint
) WITH (fillfactor = 90)
"""

# Contents that share title, type and year (same-named films) take slots 0, 1, 2 …; two writers that want to create
# the same one collide here, so there are no twins. A content without a comparable title has no hash and never collides.
CONTENTS_INDEXES = (
    "CREATE UNIQUE INDEX contents_title_slot ON contents (title_hash, title_slot)",
    "CREATE INDEX contents_block_head ON contents (block_head, release_year) WHERE block_head IS NOT NULL",
    "CREATE INDEX contents_block_tail ON contents (block_tail, release_year) WHERE block_tail IS NOT NULL",
)

# One row per exact id; the primary key is what makes two writers of one id meet.
EXTERNAL_IDS = """
CREATE TABLE external_ids (
    id_type text COLLATE "C" NOT NULL,
    id_value text COLLATE "C" NOT NULL,
    content_id uuid NOT NULL,
    PRIMARY KEY (id_type, id_value)
)
"""
EXTERNAL_IDS_INDEXES = (
    "CREATE UNIQUE INDEX external_ids_eidr ON external_ids (id_value) WHERE id_type = 'eidr'",
    "CREATE UNIQUE INDEX external_ids_imdb ON external_ids (id_value) WHERE id_type = 'imdb'",
    "CREATE INDEX external_ids_content ON external_ids (content_id)",
)

OFFERINGS = """
CREATE TABLE offerings (
    content_id uuid NOT NULL,
    source text COLLATE "C" NOT NULL,
    platform text COLLATE "C" NOT NULL,
    region text COLLATE "C" NOT NULL,
    availability_type text COLLATE "C" NOT NULL,
    price_cents integer,
    currency text,
    video_qualities text[] NOT NULL DEFAULT '{}',
    audio_languages text[] NOT NULL DEFAULT '{}',
    subtitle_languages text[] NOT NULL DEFAULT '{}',
    subtitle_formats text[] NOT NULL DEFAULT '{}',
    available_from timestamptz,
    available_until timestamptz,
    url text,
    demo boolean NOT NULL DEFAULT false,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (content_id, source, platform, region, availability_type)
)
"""

CREDITS = """
CREATE TABLE credits (
    content_id uuid NOT NULL,
    role text COLLATE "C" NOT NULL,
    position integer NOT NULL,
    name text NOT NULL,
    character text,
    external_id text,
    PRIMARY KEY (content_id, role, position)
)
"""

# `record` is the source's statement with its earlier non-null fields kept; `digest` is of the statement as it last
# came. `linked_source`/`linked_source_id` name the record a title, fuzzy or embedding link was made to. A record that
# a Full run of its source no longer saw is `delisted`: its facts stay, its offerings don't.
SOURCE_RECORDS = """
CREATE TABLE source_records (
    source text COLLATE "C" NOT NULL,
    source_id text COLLATE "C" NOT NULL,
    content_id uuid NOT NULL REFERENCES contents (id),
    priority integer NOT NULL,
    record jsonb NOT NULL,
    digest bytea NOT NULL,
    link_reason text NOT NULL,
    link_confidence real NOT NULL,
    linked_source text COLLATE "C",
    linked_source_id text COLLATE "C",
    pinned boolean NOT NULL DEFAULT false,
    delisted boolean NOT NULL DEFAULT false,
    run_id uuid,
    first_seen timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (source, source_id)
) WITH (fillfactor = 90)
"""
SOURCE_RECORDS_INDEXES = ("CREATE INDEX source_records_content ON source_records (content_id)",)

CONTENT_REDIRECTS = """
CREATE TABLE content_redirects (
    old_id uuid PRIMARY KEY,
    content_id uuid NOT NULL REFERENCES contents (id),
    reason text NOT NULL,
    created_at timestamptz NOT NULL
)
"""
CONTENT_REDIRECTS_INDEXES = ("CREATE INDEX content_redirects_content ON content_redirects (content_id)",)


def upgrade() -> None:
    for statement in (
        CONTENTS,
        *CONTENTS_INDEXES,
        EXTERNAL_IDS,
        *EXTERNAL_IDS_INDEXES,
        OFFERINGS,
        CREDITS,
        SOURCE_RECORDS,
        *SOURCE_RECORDS_INDEXES,
        CONTENT_REDIRECTS,
        *CONTENT_REDIRECTS_INDEXES,
    ):
        op.execute(statement)
