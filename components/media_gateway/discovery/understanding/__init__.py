"""What a query asks for besides its words: times, genres, people, platforms, moods, what it is not, and what it is like.

Rules, no model: the same query is always understood in the same way, in microseconds.
"""

from media_gateway.discovery.understanding.facts import Facts, Reference
from media_gateway.discovery.understanding.reader import Lexicon, Reader, Understanding
from media_gateway.discovery.understanding.reasons import fact_reasons

__all__ = ["Facts", "Lexicon", "Reader", "Reference", "Understanding", "fact_reasons"]
