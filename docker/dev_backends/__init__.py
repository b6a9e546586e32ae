"""PostgreSQL, Redis and Apache Kafka as containers for development, from binaries that package registries carry.

Runs inside the images dev-backends and dev-backends-kafka, as any user, on a read-only root file system, with its data
in ``/data``. Standard library only. Not for production: one node each, no replica, no backup.
"""
