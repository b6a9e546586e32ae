"""Ingestion's use cases."""
