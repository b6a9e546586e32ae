"""Alembic's entry point: it executes this file for `migrate`, on the connection handed over in the configuration."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
