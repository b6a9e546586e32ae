"""Identifiers."""

import os
import time
from collections import deque
from uuid import UUID

_AT_ONCE = 512
_random: deque[int] = deque()
"""Random numbers of 80 bits, each taken once. They are fetched many at a time: a fetch gives the interpreter to other
threads, and a busy one keeps it for milliseconds."""

# Parent and child must not give the same ids.
os.register_at_fork(after_in_child=_random.clear)


def uuid7() -> UUID:
    """A version 7 UUID (RFC 9562 section 5.7): sorts by creation time, so B-tree inserts stay local."""
    try:
        random = _random.pop()
    except IndexError:
        fresh = os.urandom(10 * _AT_ONCE)
        _random.extend(int.from_bytes(fresh[at : at + 10]) for at in range(10, len(fresh), 10))
        random = int.from_bytes(fresh[:10])
    value = (time.time_ns() // 1_000_000) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
