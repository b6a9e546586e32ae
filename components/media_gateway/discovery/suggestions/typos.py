"""Words that a mistyped word may have been meant as. Used by the suggestions only; pure functions.

Errors are counted as optimal string alignment does: a letter too many, too few, another one, or two neighbours swapped. At
most one of them may be among the first `HEAD` letters: then the words to look at are a few stretches of all sorted words.
"""

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

from media_gateway.discovery.suggestions.beginnings import KEYS, WIDTH, stretches

HEAD = 4
"""Letters in which one error is looked for; as many as a word must have for any error to be forgiven."""

LONGEST = WIDTH - 2
"""Bytes compared: those of a kept beginning less the two by which it may be longer than what was typed."""

_LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789"
"""Letters put in for a wrong or missing one among the first; of other scripts, letters after them are corrected only."""

_END = HEAD + len(_LETTERS)


def near_beginnings(
    tokens: NDArray[np.bytes_], typed: bytes, typos: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Sorted words of which some beginning is what was typed but for so many errors, and how many errors.

    Of what was typed, the first `LONGEST` bytes count.

    Returns
    -------
    tuple[NDArray[np.int64], NDArray[np.uint8]]
        Positions in ``tokens`` and the least number of errors of each.
    """
    typed = typed[:LONGEST]
    length = len(typed)
    # Each letter more or less is an error more or less, so beginnings of equal length tell which others to look at.
    numbers, errors = _within(tokens, _with_head_near(tokens, typed[:HEAD]), typed, 2 * typos)
    for other in (*range(length - typos, length), *range(length + 1, length + typos + 1)):
        np.minimum(errors, _errors(tokens[numbers], typed, other, typos), out=errors)
    close = errors <= typos
    return numbers[close], errors[close]


def near_words(
    tokens: NDArray[np.bytes_], word: bytes, typos: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Sorted words that are this one but for so many errors; of words longer than `LONGEST` bytes the first count."""
    if len(word) > LONGEST:
        return near_beginnings(tokens, word, typos)
    return _within(tokens, _with_head_near(tokens, word[:HEAD]), word, typos, WIDTH)


def prefix_errors(typed: str, text: str, typos: int) -> int:
    """Least errors between what was typed and some beginning of a text; more than ``typos`` if there is none so near."""
    lengths = range(len(typed) - typos, len(typed) + typos + 1)
    return min(OSA.distance(typed, text[:length], score_cutoff=typos) for length in lengths)


def _within(
    tokens: NDArray[np.bytes_], numbers: NDArray[np.int64], typed: bytes, typos: int, length: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Those of the words of which the beginning of a length (that of what was typed) is so near."""
    errors = _errors(tokens[numbers], typed, length or len(typed), typos)
    close = errors <= typos
    return numbers[close], errors[close]


def _errors(words: NDArray[np.bytes_], typed: bytes, length: int, typos: int) -> NDArray[np.uint8]:
    if not len(words):
        return np.zeros(0, dtype=np.uint8)
    beginnings = words.astype(f"S{length}").tolist()
    errors: NDArray[np.uint8] = cdist(
        [typed], beginnings, scorer=OSA.distance, score_cutoff=typos, dtype=np.uint8
    )[0]
    return errors


def _with_head_near(tokens: NDArray[np.bytes_], head: bytes) -> NDArray[np.int64]:
    """Positions of the words that start with these four bytes but for one error."""
    starts = np.searchsorted(tokens, _heads(head, b"\0"))
    ends = np.searchsorted(tokens, _heads(head, b"\xff"))
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    # One head may be the start of another; what lies in both stretches is taken once.
    reached = np.maximum.accumulate(ends)
    starts[1:] = np.maximum(starts[1:], reached[:-1])
    return stretches(starts, np.maximum(ends - starts, 0))


def _heads(head: bytes, padding: bytes) -> NDArray[np.bytes_]:
    letters = np.frombuffer(head + _LETTERS + padding, dtype=np.uint8)
    return letters[_ONE_ERROR].view(KEYS).reshape(-1)


def _one_error() -> NDArray[np.uint8]:
    """All heads with one error, as numbers: first those of the head's own letters, then the others, then the end's."""
    head, letters = bytes(range(HEAD)), [bytes([number]) for number in range(HEAD, _END)]
    near = {head, head[:-1]}
    for at in range(HEAD):
        before, after = head[:at], head[at + 1 :]
        near.add(before + after)
        near.update(before + letter + head[at:] for letter in letters)
        if after:
            near.update(before + letter + after for letter in letters)
            near.add(before + after[:1] + head[at : at + 1] + after[1:])
    return np.array([list(near_head.ljust(WIDTH, bytes([_END]))) for near_head in sorted(near)], np.uint8)


_ONE_ERROR = _one_error()
