"""What an API key looks like, for the service that makes them and those that are sent one."""

import re
import string
from typing import Final

HEADER: Final = "X-API-Key"
"""In place of ``Authorization: Bearer``."""

MARK: Final = "mg_live_"
"""Beginning of every key, by which programs that look for leaked secrets find them."""

CHARS: Final = 32
ALPHABET: Final = string.ascii_letters + string.digits
"""62^32: 190 bits, so that a plain digest can't be searched."""

_KEY = re.compile(rf"{MARK}[A-Za-z0-9]{{{CHARS}}}", re.ASCII)


def is_key(text: str) -> bool:
    """Whether a text can be a key."""
    return _KEY.fullmatch(text) is not None
