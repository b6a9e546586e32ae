"""How many contents have a word, as of one commit. Used by the text index only."""

from typing import Final

import tantivy

REMEMBERED: Final = 20_000
"""Counts kept: about the words of a thousand queries, each looked for in several fields; 3 MB."""


class Frequencies:
    """Counts of words, asked of the index once: a query's words are counted for its people, its weights and its order.

    Removed contents may count for a while.
    """

    __slots__ = ("_counts", "_searcher", "contents")

    def __init__(self, searcher: tantivy.Searcher) -> None:
        self._searcher = searcher
        self._counts: dict[tuple[str, str], int] = {}
        self.contents: Final = searcher.num_docs
        """How many contents there are."""

    def of(self, field: str, form: str) -> int:
        """How many contents have a form in a field."""
        count = self._counts.get((field, form))
        if count is None:
            if len(self._counts) >= REMEMBERED:
                self._counts.clear()
            count = self._counts[field, form] = self._searcher.doc_freq(field, form)
        return count
