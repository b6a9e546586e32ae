"""User codes of the device grant: what a person reads from a TV and types elsewhere (RFC 8628 section 6.1).

Twenty consonants: no vowels, so that no words come out, and nothing that is easily taken for something else.
"""

import secrets

ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628 section 6.1."""

SHORT = 8
"""20^8 = 2.6e10 codes: enough while few are live, since what one guess hits is live codes by all codes."""

LONG = 10
"""20^10 = 1.0e13 codes."""


def make_user_code(length: int) -> str:
    """A new code, as it is kept: letters only."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def shown(code: str) -> str:
    """A code as people see it: two halves with a dash between them."""
    half = len(code) // 2
    return f"{code[:half]}-{code[half:]}"


def read_user_code(text: str) -> str | None:
    """A code as typed, in any case and with anything between its letters; None for what can't be one."""
    code = "".join(letter for letter in text.upper() if letter in ALPHABET)
    return code if len(code) in {SHORT, LONG} else None
