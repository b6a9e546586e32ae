"""Ingestion's SQL, a module for each part of its tables. Services call it with an open transaction."""
