"""E-mail addresses: which are taken for one."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_CHARS = 254
"""RFC 5321, 4.5.3.1.3: a path has 256 octets, two of which are its brackets."""

MAX_LOCAL_CHARS = 64
"""RFC 5321, 4.5.3.1.1."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})+", re.ASCII)


def is_email(text: str) -> bool:
    """Whether a text has the form of an address: dot-atoms of ASCII, and a name of at least two labels.

    Neither quoted local parts nor comments nor anything that could begin a new header (RFC 5322 allows more than any
    provider gives out). A domain in other scripts is written in its ASCII form.
    """
    return (
        len(text) <= MAX_CHARS
        and _EMAIL.fullmatch(text) is not None
        and len(text.rpartition("@")[0]) <= MAX_LOCAL_CHARS
    )


def _checked(text: str) -> str:
    if not is_email(text):
        raise ValueError("must be an e-mail address, such as ann@tv.example")
    return text


Email = Annotated[str, Field(max_length=MAX_CHARS, examples=["ann@tv.example"]), AfterValidator(_checked)]
"""An address in a request."""
