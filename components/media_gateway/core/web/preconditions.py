"""Conditional changes (RFC 9110 section 13.1.1): a writer says which state it has seen, so that no change is lost.

A handler answers reads with ``ETag`` and gives `if_match` of a write to its service, which compares it with the state
that it changes.
"""

import re

from aiohttp import hdrs, web

from media_gateway.core.errors import FieldError
from media_gateway.core.web.problems import PreconditionRequiredError, invalid

ANY_STATE = "*"
"""``If-Match: *``: whatever the present state is."""

# RFC 9110 section 8.8.3: a tag holds any visible character but the double quote.
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST = re.compile(rf"{_TAG}(?:\s*,\s*{_TAG})*")


def entity_tag(version: int) -> str:
    """The ``ETag`` of a numbered state."""
    return f'"{version}"'


def if_match(request: web.Request) -> frozenset[str] | None:
    """The tags that the sender of a change accepts, unquoted; None accepts any state.

    Raises
    ------
    PreconditionRequiredError
        There is no ``If-Match``: a change without it could undo another one that its sender never saw.
    InvalidInputError
        It is no list of entity tags.
    """
    text = ",".join(request.headers.getall(hdrs.IF_MATCH, ())).strip()
    if not text:
        message = "required: send the ETag of the state that you have read"
        raise PreconditionRequiredError(f"If-Match: {message}", errors=[FieldError("If-Match", message)])
    if text == ANY_STATE:
        return None
    if not _LIST.fullmatch(text):
        raise invalid("If-Match", 'must be *, or entity tags in double quotes such as "3"')
    # Comparison is strong (RFC 9110 section 13.1.1): a weak tag matches nothing.
    return frozenset(tag[1:-1] for tag in re.findall(_TAG, text) if not tag.startswith("W/"))
