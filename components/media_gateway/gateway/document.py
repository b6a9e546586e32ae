"""One OpenAPI document of all services, made of theirs: what the gateway serves as ``/openapi.json`` and shows at ``/docs``."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import aiohttp
import orjson
import structlog

from media_gateway.gateway.table import ANY, TABLE, Forward, Upstream

FETCH_S: Final = 2.0
KEPT_S: Final = 60.0
"""How long a merged document is served, in seconds; one that lacks a service only `RETRY_S`."""

RETRY_S: Final = 5.0

_REF: Final = "#/components/schemas/"
_METHODS: Final = ("get", "put", "post", "delete", "patch")
_log = structlog.get_logger(__name__)


class MergedDocument:
    """The documents of the services in one.

    Parameters
    ----------
    own
        The gateway's own document.
    addresses
        Of the services that this installation has.
    """

    def __init__(
        self, own: Mapping[str, Any], session: aiohttp.ClientSession, addresses: Mapping[Upstream, str]
    ) -> None:
        self._own = own
        self._session = session
        self._addresses = addresses
        self._merged = b""
        self._fresh_until_s = -float("inf")
        self._making = asyncio.Lock()

    async def json(self) -> bytes:
        """The document as JSON. A service that does not answer is named in its description and missing otherwise."""
        async with self._making:
            if time.monotonic() >= self._fresh_until_s:
                found = await asyncio.gather(*(self._fetch(upstream) for upstream in self._addresses))
                documents = dict(zip(self._addresses, found, strict=True))
                self._merged = orjson.dumps(merge(self._own, documents))
                self._fresh_until_s = time.monotonic() + (KEPT_S if all(found) else RETRY_S)
            return self._merged

    async def _fetch(self, upstream: Upstream) -> dict[str, Any] | None:
        try:
            async with self._session.get(
                f"{self._addresses[upstream]}/openapi.json", timeout=aiohttp.ClientTimeout(total=FETCH_S)
            ) as answer:
                answer.raise_for_status()
                document: dict[str, Any] = orjson.loads(await answer.read())
                return document
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            _log.warning("no document of a service", upstream=upstream.value, problem=type(error).__name__)
            return None


def merge(own: Mapping[str, Any], documents: Mapping[Upstream, Mapping[str, Any] | None]) -> dict[str, Any]:
    """One document: the gateway's own operations, and those of the services that the route table leads to.

    Schemas of one name that differ between services get the name of the later service in front.
    """
    schemas: dict[str, Any] = dict(own["components"]["schemas"])
    paths: dict[str, Any] = {path: dict(operations) for path, operations in own["paths"].items()}
    tags = list(own["tags"])
    missing = []
    for upstream, document in documents.items():
        if document is None:
            missing.append(upstream.value)
            continue
        theirs = document["components"]["schemas"]
        renamed = {
            name: f"{upstream.value.capitalize()}{name}"
            for name, schema in theirs.items()
            if name in schemas and schemas[name] != schema
        }
        schemas.update(
            {renamed.get(name, name): _with_names(schema, renamed) for name, schema in theirs.items()}
        )
        for path, method, operation in _led_to(document, upstream):
            paths.setdefault(path, {})[method] = _with_names(operation, renamed)
        tags += [tag for tag in document["tags"] if tag not in tags]
    about = own["info"]["description"]
    if missing:
        about = f"{about}\n\nNot answering at the moment, and therefore not shown: {', '.join(missing)}."
    return {
        **own,
        "info": {**own["info"], "title": "Media Gateway", "description": about},
        "tags": tags,
        "paths": dict(sorted(paths.items())),
        "components": {**own["components"], "schemas": dict(sorted(schemas.items()))},
    }


def _led_to(document: Mapping[str, Any], upstream: Upstream) -> Iterator[tuple[str, str, Any]]:
    """Operations of a service that can be reached through the gateway."""
    rows = [row for row in TABLE if row.upstream is upstream and row.target is None]
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations and any(_leads_to(row, path, method) for row in rows):
                yield path, method, operations[method]


def _leads_to(row: Forward, path: str, method: str) -> bool:
    if row.method not in {ANY, method.upper()}:
        return False
    beginning, rest, _ = row.template.partition("{rest:")
    return path.startswith(beginning) if rest else path == row.template


def _with_names(value: Any, renamed: Mapping[str, str]) -> Any:
    """A part of a document with references to schemas under their new names."""
    if not renamed:
        return value
    if isinstance(value, dict):
        return {
            key: _REF + renamed.get(item.removeprefix(_REF), item.removeprefix(_REF))
            if key == "$ref" and isinstance(item, str) and item.startswith(_REF)
            else _with_names(item, renamed)
            for key, item in value.items()
        }
    return [_with_names(item, renamed) for item in value] if isinstance(value, list) else value
