"""Reconciles MediaGateway: components, dependencies, migrations, rollout."""
