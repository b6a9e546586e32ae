"""Request parsing: bytes and text from outside to checked models, or an input error that names the field.

Called by the endpoint of every route. What pydantic lets pass and a database or a JSON reader would choke on is refused
here once for all: control characters, numbers beyond 64 bits, NaN, doubled keys, broken UTF-8.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl, unquote_to_bytes

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic_core import from_json

from media_gateway.core.errors import FieldError, InvalidInputError, PayloadTooLargeError
from media_gateway.core.validation import message_of
from media_gateway.core.web.keys import BODY
from media_gateway.core.web.problems import UnsupportedMediaTypeError, invalid

M = TypeVar("M", bound=BaseModel)

MAX_FIELD_ERRORS = 20
"""Errors listed at most: enough to mend a form, too few to make an answer much larger than its request."""

MAX_QUERY_FIELDS = 100
"""Query parameters at most; more is no honest request."""

MAX_FIELD_LENGTH = 200
"""Characters of a field's name that an error repeats."""

BROKEN_BODY = (web.RequestPayloadError, ClientPayloadError, HttpProcessingError, ConnectionError)
"""What reading a body raises that ends early or is not compressed as its header says."""

INT64 = range(-(2**63), 2**63)

_NO_CONTROL = "control characters are not allowed"
_NO_TEXT = "half of a surrogate pair is no text"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
# Marks in the raw bytes without which a document can't hold anything that pydantic's parser lets pass and we refuse. They
# may also stand in harmless places; then the careful check decides.
_SUSPICIOUS = re.compile(rb"\\u00[01]|\\[bf]|\d{19}|[eE]\+?\d{3}|NaN|Infinity")
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json", re.ASCII)


async def read_body(request: web.Request, limit_bytes: int) -> bytes:
    """The whole body. It is kept with the request: limits may have to look into a form before its handler does.

    Raises
    ------
    PayloadTooLargeError
        More than ``limit_bytes``, counted while reading and after decompression.
    InvalidInputError
        The body ended early or its compression is broken.
    """
    known: bytes | None = request.get(BODY)
    if known is not None:
        return known
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit_bytes:
                raise too_large(limit_bytes)
    except BROKEN_BODY as error:
        raise invalid("", "the body could not be read to its end") from error
    request[BODY] = known = bytes(body)
    return known


def too_large(limit_bytes: int) -> PayloadTooLargeError:
    """The error for a body over the limit."""
    return PayloadTooLargeError(
        f"the body is larger than {limit_bytes} bytes", details={"limit_bytes": limit_bytes}
    )


def check_media_type(request: web.Request) -> None:
    """Let only JSON in UTF-8 through.

    Raises
    ------
    UnsupportedMediaTypeError
        ``Content-Type`` is missing or names something else.
    """
    charset = request.charset if "Content-Type" in request.headers else None
    is_json = "Content-Type" in request.headers and _JSON_TYPE.fullmatch(request.content_type) is not None
    if not is_json or (charset or "utf-8").lower() not in {"utf-8", "utf8", "us-ascii"}:
        message = "must be application/json in UTF-8"
        raise UnsupportedMediaTypeError(
            f"Content-Type {message}", errors=[FieldError("Content-Type", message)]
        )


def is_form(request: web.Request) -> bool:
    """Whether the body says that it is a form in UTF-8."""
    charset = (request.charset or "utf-8").lower()
    return request.content_type == "application/x-www-form-urlencoded" and charset in {
        "utf-8",
        "utf8",
        "us-ascii",
    }


def check_form_type(request: web.Request) -> None:
    """Let only forms in UTF-8 through.

    Raises
    ------
    UnsupportedMediaTypeError
        ``Content-Type`` is missing or names something else.
    """
    if not is_form(request):
        message = "must be application/x-www-form-urlencoded in UTF-8"
        raise UnsupportedMediaTypeError(
            f"Content-Type {message}", errors=[FieldError("Content-Type", message)]
        )


def parse_json(model: type[M], body: bytes) -> M:
    """A JSON document as a model, checked strictly.

    Raises
    ------
    InvalidInputError
        Not JSON, or not what the model says; each wrong field is named.
    """
    if not body:
        raise invalid("", "a JSON document is required")
    try:
        if _SUSPICIOUS.search(body):
            _check_value(from_json(body, allow_inf_nan=False))
        parsed = model.model_validate_json(body, strict=True)
    except ValidationError as error:
        _name_half_pairs(body)
        raise _translate(error) from None
    except ValueError as error:
        _name_half_pairs(body)
        raise invalid("", f"not valid JSON: {error}") from None
    _refuse_doubled_keys(body)
    return parsed


def _name_half_pairs(body: bytes) -> None:
    """Name the fields of a refused document that hold half of a surrogate pair; its parser tells only the place."""
    if _SURROGATE.search(body):
        with suppress(ValueError, RecursionError):
            _check_value(json.loads(body))


class _Doubled(dict[str, Any]):
    """An object in which a key came twice."""

    key = ""


def _refuse_doubled_keys(body: bytes) -> None:
    """Refuse what pydantic's parser lets pass: of two equal keys it takes the last. The document is known to be good JSON."""
    found = []

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) == len(pairs):
            return value
        names = [name for name, _ in pairs]
        value = _Doubled(value)
        value.key = next(name for name in names if names.count(name) > 1)
        found.append(value)
        return value

    document = json.loads(body, object_pairs_hook=build)
    if found:
        raise invalid(next(_doubled(document, "")), "given more than once")


def _doubled(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, _Doubled):
        yield f"{where}.{value.key}"[:MAX_FIELD_LENGTH].lstrip(".")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from _doubled(item, f"{where}.{name}"[:MAX_FIELD_LENGTH].lstrip("."))


def check_target(request: web.Request) -> None:
    """Refuse addresses that are not UTF-8 or hold control characters, wherever they lead.

    Raises
    ------
    InvalidInputError
        Names the path or the query.
    """
    url = request.rel_url
    for field, raw in (("path", url.raw_path), ("query", url.raw_query_string)):
        if "%" in raw:
            try:
                text = unquote_to_bytes(raw).decode()
            except UnicodeDecodeError:
                raise invalid(field, "not valid UTF-8") from None
            if _CONTROL.search(text):
                raise invalid(field, _NO_CONTROL)


def parse_query(model: type[M], raw_query: str) -> M:
    """A query string as a model. A repeated key is an error unless its field is a list or set.

    Raises
    ------
    InvalidInputError
        A parameter is unknown, doubled, missing or of the wrong kind.
    """
    return _parse_pairs(model, _pairs(raw_query, "query", keep_empty=True))


def parse_form(model: type[M], body: bytes) -> M:
    """A form's fields as a model: as `parse_query`, but an empty field counts as not given (RFC 6749 section 3.1).

    Raises
    ------
    InvalidInputError
        A field is unknown to a model that forbids more, doubled, missing or of the wrong kind.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise invalid("", "the form is not valid UTF-8") from None
    return _parse_pairs(model, _pairs(text, "form", keep_empty=False))


def unchecked_fields(body: bytes) -> dict[str, str]:
    """The fields of a form that are given once, for whoever has to look before the form is checked; a broken one has none."""
    try:
        pairs = _pairs(body.decode(), "form", keep_empty=False)
    except (UnicodeDecodeError, InvalidInputError):
        return {}
    names = [name for name, _ in pairs]
    return {name: value for name, value in pairs if names.count(name) == 1}


def _pairs(text: str, what: str, *, keep_empty: bool) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=keep_empty, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
    except UnicodeDecodeError:
        raise invalid(what, "not valid UTF-8") from None
    except ValueError:
        raise invalid(what, f"more than {MAX_QUERY_FIELDS} parameters") from None


def _parse_pairs(model: type[M], pairs: list[tuple[str, str]]) -> M:
    many = _many_valued(model)
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in many:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise invalid(name[:MAX_FIELD_LENGTH], "given more than once")
        else:
            values[name] = value
    return _parse_text(model, values)


def parse_path(model: type[M], variables: Mapping[str, str]) -> M:
    """The variables of a path as a model.

    Raises
    ------
    InvalidInputError
        A variable is of the wrong kind.
    """
    return _parse_text(model, dict(variables))


def _parse_text(model: type[M], values: dict[str, Any]) -> M:
    _check_value(values)
    try:
        parsed = model.model_validate(values)
    except ValidationError as error:
        raise _translate(error) from None
    # Text is converted by the model, so numbers are looked at afterwards; what stayed text has been looked at.
    made = {name: value for name, value in parsed if not isinstance(value, BaseModel | str | None)}
    if made:
        _check_value(made)
    return parsed


def _check_value(value: Any) -> None:
    errors = [FieldError(field, message) for field, message in _problems(value, "")][:MAX_FIELD_ERRORS]
    if errors:
        raise InvalidInputError(f"{errors[0].field}: {errors[0].message}".lstrip(": "), errors=errors)


def _problems(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Walk a value as parsed from JSON; its depth is bounded by the parser (200)."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            inner = f"{where}.{name}"[:MAX_FIELD_LENGTH].lstrip(".")
            if _CONTROL.search(str(name)):
                yield _CONTROL.sub("?", inner), _NO_CONTROL
            else:
                yield from _problems(item, inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            yield from _problems(item, f"{where}.{index}".lstrip("."))
    elif (message := _scalar_problem(value)) is not None:
        yield where, message


def _scalar_problem(value: Any) -> str | None:
    if isinstance(value, str):
        if _HALF_PAIR.search(value):
            return _NO_TEXT
        return _NO_CONTROL if _CONTROL.search(value) else None
    if isinstance(value, float):
        return None if math.isfinite(value) else "must be a finite number"
    if isinstance(value, int):
        return None if value in INT64 else "must fit into 64 bits"
    return None


@cache  # a program declares so many models and no more
def _many_valued(model: type[BaseModel]) -> frozenset[str]:
    """Names under which a query may give several values."""
    names: set[str] = set()
    for name, info in model.model_fields.items():
        if _takes_many(info.annotation):
            alias = info.validation_alias or info.alias
            choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
            names.update([name, *(choice for choice in choices if isinstance(choice, str))])
    return frozenset(names)


def _takes_many(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    if origin in {list, set, frozenset, tuple}:
        return True
    return any(
        _takes_many(part) for part in get_args(annotation) if isinstance(part, type) or get_origin(part)
    )


def _translate(error: ValidationError) -> InvalidInputError:
    """Pydantic's findings as ours: no input repeated, no link to pydantic's pages."""
    found = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False)[
        :MAX_FIELD_ERRORS
    ]:
        field = ".".join(str(part) for part in problem["loc"])[:MAX_FIELD_LENGTH]
        found.append(FieldError(_CONTROL.sub("?", field), message_of(problem)))
    first = found[0]
    return InvalidInputError(
        f"{first.field}: {first.message}" if first.field else first.message, errors=found
    )
