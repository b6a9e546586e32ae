"""The text index over the films: search latency by kind of query, build and update times, memory. Used by ``search.py``.

In one process, without HTTP or database. The floor is an index of the overviews alone with the engine's defaults, asked
for one word: what the engine costs before we ask anything clever. Floor and search alternate query by query; each
round draws other films, medians of the rounds are reported.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import psutil
import tantivy
from autocomplete import Autocomplete, measure_autocomplete, show_autocomplete, timed_ms
from rich.console import Console
from rich.table import Table

from media_gateway.core.domain.content import SourceRecord
from media_gateway.core.domain.ids import uuid7
from media_gateway.discovery.documents import IndexedContent, Person
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.text_index import TextIndex, analyse
from media_gateway.discovery.text_index.analysis import fold

HITS = 20


@dataclass(frozen=True)
class Latency:
    """Of one kind of query, in milliseconds; the floor's median beside it."""

    kind: str
    example: str
    p50_ms: float
    p95_ms: float
    floor_p50_ms: float


@dataclass(frozen=True)
class InProcess:
    """Times in seconds or milliseconds, memory in megabytes (10^6 bytes) of PSS."""

    films: int
    build_s: float
    build_mb: float
    update_ms: float
    latencies: list[Latency]
    autocomplete: Autocomplete


def indexed(record: SourceRecord) -> IndexedContent:
    """A record as the index takes it."""
    return IndexedContent(
        content_id=uuid7(),
        revision=1,
        content_type=record.content_type,
        title=record.title,
        overview=record.overview,
        release_year=record.release_year,
        genres=tuple(record.genres or ()),
        keywords=record.keywords or (),
        people=tuple(Person(credit.role, credit.name) for credit in record.credits or ()),
        popularity_score=record.popularity_score,
    )


def title(film: IndexedContent, _rng: random.Random) -> str:
    return film.title


def mistyped(film: IndexedContent, rng: random.Random) -> str:
    at = rng.randrange(len(film.title))
    return film.title[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz") + film.title[at + 1 :]


def person_and_genre(film: IndexedContent, rng: random.Random) -> str:
    return f"{rng.choice(film.people).name} {film.genres[0].replace('_', ' ')}"


def description(film: IndexedContent, rng: random.Random) -> str:
    words = fold(film.overview or "").split()
    return " ".join(rng.sample(words, min(12, len(words))))


KINDS: dict[str, Callable[[IndexedContent, random.Random], str]] = {
    "title": title,
    "title with an error": mistyped,
    "person and genre": person_and_genre,
    "description, 12 words": description,
}


class Bare:
    """The floor."""

    def __init__(self, contents: Sequence[IndexedContent]) -> None:
        self._schema = tantivy.SchemaBuilder().add_text_field("overview").build()
        self._index = tantivy.Index(self._schema)
        writer = self._index.writer(15_000_000, 1)
        for content in contents:
            document = tantivy.Document()
            document.add_text("overview", content.overview or "")
            writer.add_document(document)
        writer.commit()
        self._index.reload()

    def search(self, film: IndexedContent) -> None:
        """Twenty films whose overview names somebody of this film."""
        word = fold(film.people[0].name).split()[-1]
        query = tantivy.Query.term_query(self._schema, "overview", word)
        self._index.searcher().search(query, HITS)


def measure_kind(
    index: TextIndex, floor: Bare, kind: str, chosen: Sequence[IndexedContent], rng: random.Random
) -> Latency:
    queries = [KINDS[kind](film, rng) for film in chosen]
    took_ms, floor_ms = [], []
    for query, film in zip(queries, chosen, strict=True):
        floor_ms.append(timed_ms(partial(floor.search, film)))
        took_ms.append(timed_ms(partial(search, index, query)))
    p95 = statistics.quantiles(took_ms, n=20)[-1]
    return Latency(kind, queries[0], statistics.median(took_ms), p95, statistics.median(floor_ms))


def search(index: TextIndex, query: str) -> None:
    index.search(analyse(query), SearchFilter(), offset=0, limit=HITS)


def update(index: TextIndex, film: IndexedContent) -> None:
    index.apply([film])
    index.commit()


def measure_index(records: Sequence[SourceRecord], queries: int, rounds: int) -> InProcess:
    """Build an index of the records and ask it."""
    contents = [indexed(record) for record in records]
    process = psutil.Process()
    before = process.memory_full_info().pss
    index = TextIndex()
    started = time.perf_counter()
    for start in range(0, len(contents), 500):
        index.apply(contents[start : start + 500])
    index.commit()
    build_s = time.perf_counter() - started
    build_mb = (process.memory_full_info().pss - before) / 1e6
    floor = Bare(contents)
    rng = random.Random(7)
    searchable = [film for film in contents if film.people and film.genres]
    latencies = []
    for kind in KINDS:
        found = [
            measure_kind(index, floor, kind, rng.sample(searchable, queries), rng) for _ in range(rounds)
        ]
        latencies.append(sorted(found, key=lambda latency: latency.p50_ms)[len(found) // 2])
    updates = [timed_ms(partial(update, index, film)) for film in contents[:50]]
    autocomplete = measure_autocomplete(contents, index, queries)
    index.close()
    return InProcess(len(contents), build_s, build_mb, statistics.median(updates), latencies, autocomplete)


def show_index(result: InProcess, console: Console) -> None:
    table = Table("query", "example", "p50 ms", "p95 ms", "floor p50 ms", "ratio")
    for latency in result.latencies:
        table.add_row(
            latency.kind,
            latency.example[:40],
            f"{latency.p50_ms:.2f}",
            f"{latency.p95_ms:.2f}",
            f"{latency.floor_p50_ms:.3f}",
            f"{latency.p50_ms / latency.floor_p50_ms:.0f}",
        )
    console.print(table)
    console.print(
        f"{result.films:,} films indexed in {result.build_s:.1f} s; {result.build_mb:.0f} MB of memory; "
        f"one changed film searchable after {result.update_ms:.1f} ms"
    )
    show_autocomplete(result.autocomplete, console)
