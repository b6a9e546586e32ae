"""What is kept of a search and of a click on one of its results, as the routes note it. Pure.

An event holds the query and the searcher in clear and lives in memory only, for about a second: `analytics` writes it
with both replaced by keyed hashes (`pseudonyms`).
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.domain.ids import uuid7
from media_gateway.discovery.cache import normalised_query

CacheState = Literal["hit", "miss", "stale", "bypass"]
"""Where an answer came from: the cache, the legs, the cache while it is renewed, the legs because there is no cache."""

SOURCE = "discovery"
"""Component named in the events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searcher:
    """Who searches or clicks.

    Attributes
    ----------
    subject : str | None
        The user, None without a token.
    client : str
        What tells callers without a token apart, as well as can be: address and user agent.
    """

    subject: str | None = None
    client: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchEvent:
    """An answered search; each page that is answered is one.

    Attributes
    ----------
    query : str
        As it was sent.
    variant : str
        Name of the ranking variant that was used.
    filters : tuple of str
        Names of the filters that were set, without their values.
    result_count : int
        Contents that match, on all pages.
    first_position : int
        Rank of the first result of the page, from 1.
    shown : int
        Results on the page.
    latency_ms : float
        Time the search took, in milliseconds.
    degraded : bool
        Whether the answer lacked something.
    search_id : UUID
        Version 7; clicks name it.
    """

    query: str
    searcher: Searcher
    variant: str
    filters: tuple[str, ...] = ()
    result_count: int
    first_position: int = 1
    shown: int
    latency_ms: float
    degraded: bool = False
    cache: CacheState = "bypass"
    search_id: UUID = field(default_factory=uuid7)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickEvent:
    """A click on a result; ``position`` is its rank, from 1 on the first page, ``region`` where the searcher said to be."""

    search_id: UUID
    content_id: UUID
    position: int
    searcher: Searcher
    region: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def normalised(query: str) -> str:
    """A query in the form in which two are the same for the cache, too, without signs that can't be stored."""
    # Half of a surrogate pair has no UTF-8 form, and Postgres keeps no NUL.
    text = normalised_query(query).encode(errors="replace").decode().replace("\0", " ")
    return " ".join(text.split())


def performed(search: SearchEvent, query_hash: str) -> Event:
    """What others are told of a search: nothing of its words.

    A user's event does not name the search, since the id would lead to the row of the analytics.
    """
    data = {
        "anonymous": search.searcher.subject is None,
        "query_hash": query_hash,
        "result_count": search.result_count,
        "variant": search.variant,
        "filters": search.filters,
    }
    return _activity("search.performed", search, data)


def clicked(click: ClickEvent, visitor: str) -> Event:
    """What others are told of a click.

    Parameters
    ----------
    visitor
        The caller's pseudonym for this content and day, told of callers without a token only: so that one of them
        counts once.
    """
    anonymous = click.searcher.subject is None
    data: dict[str, object] = {
        "anonymous": anonymous,
        "content_id": str(click.content_id),
        "position": click.position,
    }
    if anonymous:
        data["visitor"] = visitor
    if click.region is not None:
        data["region"] = click.region
    return _activity("search.clicked", click, data)


def _activity(kind: str, cause: SearchEvent | ClickEvent, data: dict[str, object]) -> Event:
    return Event(
        topic=Topic.ACTIVITY,
        type=kind,
        key=cause.searcher.subject or str(cause.search_id),
        data=data,
        source=SOURCE,
        occurred_at=cause.created_at,
    )
