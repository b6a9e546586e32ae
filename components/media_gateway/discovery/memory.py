"""Memory that was freed goes back to the system after bulk work. Used by the index feed."""

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Of glibc only; other C libraries keep less."""


def give_back() -> None:
    """Hand back what is free. Tens of milliseconds for hundreds of megabytes, during which other threads may wait."""
    if _trim is not None:
        _trim(0)
