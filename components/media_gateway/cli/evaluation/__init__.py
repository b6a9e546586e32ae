"""The relevance harness: judged queries in, measures of a running search out. Used by `cli.eval` and the tests.

It knows the search by its HTTP answers only and imports no component, so that what is judged never judges itself.
"""

DEFAULT_URL = "http://127.0.0.1:8081"
"""Where discovery listens on this machine."""

DEFAULT_DEPTH = 100
"""Results asked for: as many as a page may hold."""
