"""Ingestion (8085): sources become canonical content, vectors and events."""
