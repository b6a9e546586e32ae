"""Private servers of `embedded:` URLs: a real Postgres and a real Redis, run as children of our own process.

`core.bootstrap`, the command line and the test fixtures use `EmbeddedPostgres` and `EmbeddedRedis`. Nothing here opens
a driver connection or knows a table.
"""
