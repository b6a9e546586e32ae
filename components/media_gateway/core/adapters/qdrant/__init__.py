"""Vectors in a Qdrant server, the choice above a few million vectors or with many replicas."""

from media_gateway.core.adapters.qdrant.index import QdrantIndex

__all__ = ["QdrantIndex"]
