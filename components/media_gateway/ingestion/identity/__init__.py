"""Which records speak of one work, and what the work is then: pure functions, no database.

``keys`` says what is compared, ``resolution`` groups records, ``folding`` makes one content of a group and ``plan``
turns both into the rows that change. `ingestion.services.catalogue` drives them, ``ingestion.store`` reads and writes.
"""
