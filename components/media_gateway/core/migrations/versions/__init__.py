"""One file a migration, ``NNNN_subject.py``, revision id = its number, each naming the one before it.

Rules: expand first (new tables, nullable or defaulted columns, new indexes), use it in the next release, contract (drop,
NOT NULL) in the one after; so the code of a release runs on its own schema and on the next one. A migration that was
released is never edited. There is no ``downgrade``: rolling back a release leaves the newer schema in place.
"""
