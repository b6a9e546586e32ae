"""How alike a query and a title are, letter by letter. Used by the text index for contents that are nearly asked for."""

from collections.abc import Iterable
from typing import Final

from rapidfuzz.distance import OSA

from media_gateway.discovery.text_index.analysis import QueryText, fold, loose, sound

PART: Final = 0.9
"""Share of the likeness to a part of a title that counts: the whole of one title is a better match than a part of another."""

SOUND: Final = 0.9
"""Likeness of a title that only sounds like the query."""


def title_likeness(query: QueryText, titles: Iterable[str]) -> float:
    """Likeness of the query to the nearest of a content's titles.

    Returns
    -------
    float
        0 to 1, where 1 is the whole title but for case, accents, signs, spaces and a leading article; otherwise one minus
        the optimal string alignment distance (Damerau-Levenshtein without repeated edits) by the longer length.
    """
    asked, squeezed, heard = query.key, loose(query.key), sound(query.key)
    best = 0.0
    for title in titles:
        key = fold(title)
        if squeezed and squeezed == loose(key):
            return 1.0
        best = max(best, OSA.normalized_similarity(asked, key), _part(asked, key))
        if heard and heard == sound(key):
            best = max(best, SOUND)
    return best


def _part(asked: str, key: str) -> float:
    """Likeness to the words of a title, as many as are asked for, that are most like them: a beginning, a subtitle."""
    words, count = key.split(" "), asked.count(" ") + 1
    parts = (" ".join(words[at : at + count]) for at in range(len(words) - count + 1))
    return PART * max((OSA.normalized_similarity(asked, part) for part in parts), default=0.0)
