"""Autocompletion and "did you mean": titles, people and genres by the beginnings of their words, typing errors forgiven."""

from media_gateway.discovery.suggestions.entries import Kind
from media_gateway.discovery.suggestions.index import Suggestion, Suggestions
from media_gateway.discovery.suggestions.matches import MatchedBy
from media_gateway.discovery.suggestions.spelling import Spelling

__all__ = ["Kind", "MatchedBy", "Spelling", "Suggestion", "Suggestions"]
