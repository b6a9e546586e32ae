"""Embeddings and answers of any server that speaks OpenAI's ``/embeddings`` and ``/chat/completions``."""

from media_gateway.core.adapters.openai.chat import OpenAIChat
from media_gateway.core.adapters.openai.embedder import OpenAIEmbedder

__all__ = ["OpenAIChat", "OpenAIEmbedder"]
