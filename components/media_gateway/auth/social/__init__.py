"""Providers that people may sign in with instead of a password: what is configured, and how each is spoken to."""
