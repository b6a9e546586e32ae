"""Embeddings of any server that speaks OpenAI's ``/embeddings``."""

from media_gateway.core.adapters.openai.embedder import OpenAIEmbedder

__all__ = ["OpenAIEmbedder"]
