"""Cost of text and vector search by the size of the catalogue, 10,000 to 300,000 films. Used by ``search.py --growth``.

Made-up films: titles, names and overviews of words drawn as often as the measured catalogue has them, so that posting lists
grow as those of a larger catalogue of its kind would. Vectors are made up, too (see ``vectors.py``). The exponent is that of
the power law through the smallest and the largest size: 1 is linear.
"""

import math
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import psutil
import vectors
from autocomplete import timed_ms
from rich.console import Console
from rich.table import Table
from text_index import indexed, search

from media_gateway.core.domain.content import SourceRecord
from media_gateway.discovery.documents import IndexedContent, Person
from media_gateway.discovery.text_index import TextIndex
from media_gateway.discovery.text_index.analysis import fold

SIZES: Final = (10_000, 30_000, 100_000, 300_000)
QUERIES: Final = 200
PEOPLE: Final = 10
OVERVIEW_WORDS: Final = 45
CHUNK: Final = 2_000


@dataclass(frozen=True)
class Grown:
    """Text search at one size: medians in milliseconds, memory in megabytes (10^6 bytes) of PSS."""

    size: int
    title_ms: float
    description_ms: float
    build_s: float
    memory_mb: float


class _Words:
    """Words of a catalogue, drawn as often as they occur there."""

    def __init__(self, records: Sequence[SourceRecord], seed: int) -> None:
        self._rng = random.Random(seed)
        self._films = [indexed(record) for record in records]
        self._titles = [word for film in self._films for word in film.title.split()]
        self._overviews = [word for film in self._films for word in (film.overview or "").split()]
        self._names = [word for film in self._films for person in film.people for word in person.name.split()]

    def film(self, model: IndexedContent, number: int) -> IndexedContent:
        """A film with another's genres, year and popularity."""
        rng = self._rng
        return indexed(
            SourceRecord(
                source="bench",
                source_id=str(number),
                content_type=model.content_type,
                title=" ".join(rng.choices(self._titles, k=rng.randint(1, 4)))[:500],
                overview=" ".join(rng.choices(self._overviews, k=OVERVIEW_WORDS)),
                release_year=model.release_year,
                genres=model.genres,
                keywords=tuple(rng.choices(self._overviews, k=4)),
                popularity_score=model.popularity_score,
            )
        )

    def films(self, count: int) -> list[IndexedContent]:
        """So many films, each with people."""
        rng = self._rng
        pool = [" ".join(rng.choices(self._names, k=2)) for _ in range(count // 2 + PEOPLE)]
        made = []
        for number, model in enumerate(rng.choices(self._films, k=count)):
            people = tuple(Person("actor", name) for name in rng.sample(pool, PEOPLE))
            film = self.film(model, number)
            made.append(
                IndexedContent(**{name: getattr(film, name) for name in film.__slots__} | {"people": people})
            )
        return made


def grow_text(records: Sequence[SourceRecord], sizes: Sequence[int] = SIZES) -> list[Grown]:
    """One index, measured at each size on the way."""
    words, rng = _Words(records, 11), random.Random(12)
    index, process = TextIndex(), psutil.Process()
    contents: list[IndexedContent] = []
    found: list[Grown] = []
    build_s = 0.0
    for size in sorted(sizes):
        fresh = words.films(size - len(contents))
        before = process.memory_full_info().pss
        began_s = time.perf_counter()
        for start in range(0, len(fresh), CHUNK):
            index.apply(fresh[start : start + CHUNK])
            index.commit()
        build_s += time.perf_counter() - began_s
        grown_mb = (process.memory_full_info().pss - before) / 1e6
        contents += fresh
        asked = rng.sample(contents, QUERIES)
        titles = [timed_ms(partial(search, index, film.title)) for film in asked]
        described = [timed_ms(partial(search, index, _description(film, rng))) for film in asked]
        memory_mb = grown_mb + (found[-1].memory_mb if found else 0.0)
        found.append(Grown(size, statistics.median(titles), statistics.median(described), build_s, memory_mb))
    index.close()
    return found


def _description(film: IndexedContent, rng: random.Random) -> str:
    words = fold(film.overview or "").split()
    return " ".join(rng.sample(words, min(len(words), rng.randint(12, 25))))


async def grow_vectors(sizes: Sequence[int] = SIZES) -> list[vectors.Search]:
    """The 200 nearest, unfiltered, at each size."""
    result = await vectors.measure(list(sizes), rounds=3)
    return [search for search in result.searches if search.top_k == max(s.top_k for s in result.searches)]


def show_growth(text: Sequence[Grown], found: Sequence[vectors.Search], console: Console) -> None:
    """A table with a row for each cost."""
    table = Table("cost at", *(f"{one.size:,}" for one in text), "exponent")
    rows = {
        "title query, ms": [one.title_ms for one in text],
        "description, ms": [one.description_ms for one in text],
        "building the index, s": [one.build_s for one in text],
        "its memory, MB": [one.memory_mb for one in text],
        "100 nearest vectors, ms": [one.p50_ms for one in found if not one.filtered],
        "the same, genre and year, ms": [one.p50_ms for one in found if one.filtered],
    }
    for name, values in rows.items():
        exponent = math.log(values[-1] / values[0]) / math.log(text[-1].size / text[0].size)
        table.add_row(name, *(f"{value:.2f}" for value in values), f"{exponent:.2f}")
    console.print(table)
