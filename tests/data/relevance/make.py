"""Makes ``demo.jsonl``, the judged queries over the demo catalogue, from the catalogue and ``written.yaml``.

    python tests/data/relevance/make.py [--check]

The same catalogue gives the same bytes; ``--check`` writes nothing and fails if the file is another one. Exact and
mistyped titles are drawn and mistyped here, by a seed; the other queries are written by hand, and what answers them
follows from the facts of the catalogue, never from what any search has found.
"""

import argparse
import asyncio
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import yaml
from rapidfuzz import process
from rapidfuzz.distance import OSA

from media_gateway.cli.evaluation.matching import YEAR_TOLERANCE, fold
from media_gateway.core.domain.content import SourceRecord
from media_gateway.core.domain.specs import IngestionJobSpec
from media_gateway.core.settings import CoreSettings, load_settings
from media_gateway.ingestion.mapping import Mapper
from media_gateway.ingestion.sources.demo import DemoFilms
from media_gateway.ingestion.sources.items import RawRecord

HERE = Path(__file__).parent
WRITTEN = HERE / "written.yaml"
TARGET = HERE / "demo.jsonl"

SEED = "judged queries over the demo catalogue"

WELL_KNOWN = 1_500
"""Films of the highest popularity of which half of the drawn titles are; the other half is of all the others."""

EXACT, NAMESAKES, MISTYPED = 25, 10, 25
"""Titles drawn: well-known and as many others, of several films with their year, and for each number of errors."""

AWKWARD = ("Up", "Her", "Z", "8½", "$", "WALL-E", "(500) Days of Summer", "Amélie", "M", "If....")
"""Titles that are hard for a search: short, of digits or signs, of words that are left out elsewhere. Those not in the
catalogue are passed over."""

LEAST_LETTERS = {1: 6, 2: 9}
"""Letters of a title that is mistyped so many times. In shorter ones nobody could tell what was meant."""

LIKE_YEARS = 10
"""Years on each side within which a film is of the same time as another."""

LIKE_SHARE = 0.6
"""Least Jaccard similarity of the genres of two films of one kind: of three genres in all two are shared."""

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SUBTITLE = re.compile(r"\s*:\s+|\s+[–-]\s+")
_NUMBER = re.compile(r"\s+(?:part\s+|volume\s+)?(?:\d{1,2}|[ivx]{2,4})$")

Query = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Film:
    """A film of the catalogue with the facts that decide."""

    title: str
    year: int
    genres: frozenset[str]
    keywords: frozenset[str]
    people: frozenset[str]
    directors: frozenset[str]
    popularity: float

    @classmethod
    def of(cls, record: SourceRecord) -> "Film":
        """The film of a record."""
        assert record.release_year is not None
        credited = record.credits or ()
        return cls(
            title=record.title,
            year=record.release_year,
            genres=frozenset(genre.value for genre in record.genres or ()),
            keywords=frozenset(record.keywords or ()),
            people=frozenset(fold(credit.name) for credit in credited),
            directors=frozenset(fold(credit.name) for credit in credited if credit.role == "director"),
            popularity=record.popularity_score or 0.0,
        )

    @cached_property
    def key(self) -> str:
        """The folded title."""
        return fold(self.title)

    @cached_property
    def series(self) -> str:
        """What films of a series share: the title without subtitle and number."""
        return _NUMBER.sub("", fold(_SUBTITLE.split(self.title, maxsplit=1)[0]))


class Catalogue:
    """All films, the best known first."""

    def __init__(self, films: Iterable[Film]) -> None:
        self.films = sorted(films, key=lambda film: (-film.popularity, film.title, film.year))
        self.by_key: dict[str, list[Film]] = {}
        for film in self.films:
            self.by_key.setdefault(film.key, []).append(film)

    def find(self, title: str, year: int) -> Film:
        """The film of a title and year, which no other may be taken for."""
        near = [film for film in self.by_key.get(fold(title), ()) if abs(film.year - year) <= YEAR_TOLERANCE]
        if len(near) != 1 or (near[0].title, near[0].year) != (title, year):
            raise SystemExit(f"{title} ({year}): {len(near)} films of the catalogue fit: {near}")
        return near[0]

    def where(self, wanted: dict[str, Any]) -> list[Film]:
        """All films with the facts of a written query."""
        first, last = wanted.get("years", (0, 9_999))
        people, directors = (
            {fold(name) for name in wanted.get(role, ())} for role in ("people", "directors")
        )
        genres, refused, keywords = (set(wanted.get(n, ())) for n in ("genres", "not_genres", "keywords"))
        begins = fold(wanted.get("begins", ""))
        return [
            film
            for film in self.films
            if first <= film.year <= last
            and people <= film.people
            and directors <= film.directors
            and genres <= film.genres
            and not refused & film.genres
            and keywords <= film.keywords
            and film.key.startswith(begins)
        ]

    @cached_property
    def alone(self) -> list[Film]:
        """Films whose title no other has."""
        return [films[0] for films in self.by_key.values() if len(films) == 1]


def like(catalogue: Catalogue, film: Film) -> list[tuple[Film, int]]:
    """What answers "like this film", with its grade; the film itself is no answer, whoever asks knows it.

    3: a sequel. 2: by one of its directors, with a genre in common. 1: of the same time, with two genres or more in
    common that are `LIKE_SHARE` of the genres of both. Drama is not counted: every second film is one.
    """
    found = []
    for other in catalogue.films:
        shared, either = (film.genres & other.genres) - {"drama"}, (film.genres | other.genres) - {"drama"}
        if other.key == film.key or not shared:
            continue
        if other.series == film.series:
            found.append((other, 3))
        elif film.directors & other.directors:
            found.append((other, 2))
        elif (
            len(shared) >= 2
            and len(shared) / len(either) >= LIKE_SHARE
            and abs(film.year - other.year) <= LIKE_YEARS
        ):
            found.append((other, 1))
    return found


def exact(catalogue: Catalogue, chance: random.Random) -> Iterator[Query]:
    """Whole titles: every other one as people type it, and with the year where several films have the title."""
    awkward = [films[0] for title in AWKWARD if len(films := catalogue.by_key.get(fold(title), [])) == 1]
    drawn = _drawn(catalogue, [film for film in catalogue.alone if film not in awkward], EXACT, chance)
    for number, film in enumerate([*awkward, *drawn]):
        yield _query("exact", film.title if number < len(awkward) or number % 2 else film.key, [film])
    namesakes = [
        film
        for film in catalogue.films[:WELL_KNOWN]
        if len(films := catalogue.by_key[film.key]) > 1
        and all(other is film or abs(other.year - film.year) > YEAR_TOLERANCE for other in films)
    ]
    for film in chance.sample(namesakes, NAMESAKES):
        yield _query("exact", f"{film.title.lower()} {film.year}", [film])


def mistyped(catalogue: Catalogue, errors: int, chance: random.Random) -> Iterator[Query]:
    """Titles with a number of typing errors, which are still nearer to their own title than to any other."""
    long_enough = [
        film
        for film in catalogue.alone
        if sum(character.isalpha() for character in film.key) >= LEAST_LETTERS[errors] and film.key.isascii()
    ]
    keys = list(catalogue.by_key)
    for film in _drawn(catalogue, long_enough, MISTYPED, chance):
        query = film.key
        while not _is_clear(query, film.key, errors, keys):
            query = film.key
            for _ in range(errors):
                query = _with_error(query, chance)
        yield _query(f"typo{errors}", query, [film])


def _drawn(catalogue: Catalogue, films: Sequence[Film], number: int, chance: random.Random) -> list[Film]:
    """As many well-known films as others, in turn."""
    known = set(catalogue.films[:WELL_KNOWN])
    halves = [[film for film in films if (film in known) is wanted] for wanted in (True, False)]
    return [
        film for both in zip(*(chance.sample(half, number) for half in halves), strict=True) for film in both
    ]


def _is_clear(query: str, key: str, errors: int, keys: Sequence[str]) -> bool:
    """Whether optimal string alignment sees so many errors, and no other title as near."""
    near = process.extract(query, keys, scorer=OSA.distance, score_cutoff=errors, limit=2)
    return [(found, distance) for found, distance, _ in near] == [(key, errors)]


def _with_error(text: str, chance: random.Random) -> str:
    """One error of a hand on a keyboard: a neighbouring key, a letter left out, doubled or changed with the next.

    Never the title's first letter: of all places errors are rarest there (Kukich, Techniques for Automatically Correcting
    Words in Text, 1992).
    """
    places = [
        place for place, character in enumerate(text) if place and character.isascii() and character.isalpha()
    ]
    place = chance.choice(places)
    letter, rest = text[place], text[place + 1 :]
    match chance.randrange(4):
        case 0:
            return text[:place] + chance.choice(_neighbours(letter)) + rest
        case 1:
            return text[:place] + rest
        case 2:
            return text[: place + 1] + letter + rest
        case _:
            return text[:place] + rest[:1] + letter + rest[1:]


def _neighbours(letter: str) -> str:
    row = next(row for row in _KEYS if letter in row)
    place = row.index(letter)
    return row[max(0, place - 1) : place] + row[place + 1 : place + 2]


def written(catalogue: Catalogue) -> Iterator[Query]:
    """The queries of ``written.yaml`` with what answers them."""
    document = yaml.safe_load(WRITTEN.read_text(encoding="utf-8"))
    for kind in ("partial", "people", "genre_decade", "like", "description", "plot"):
        for entry in document[kind]:
            film = catalogue.find(*entry["film"]) if "film" in entry else None
            if film is None:
                # Whoever types a name may mean the film that is called so ("hitchcock").
                called_so = catalogue.by_key.get(fold(entry["query"]), [])
                yield _query(kind, entry["query"], [*called_so, *catalogue.where(entry)])
            elif kind == "like":
                alike = like(catalogue, film)
                yield _query(kind, entry["query"], [one for one, _ in alike], [grade for _, grade in alike])
            else:
                if kind == "description" and (fitting := catalogue.where(entry["facts"])) != [film]:
                    told = [f"{one.title} ({one.year})" for one in fitting]
                    raise SystemExit(f"{entry['query']}: its facts fit {told}, not only {entry['film']}")
                yield _query(kind, entry["query"], [film])


def _query(kind: str, text: str, films: Sequence[Film], grades: Sequence[int] = ()) -> Query:
    answers: dict[tuple[str, int], dict[str, Any]] = {}
    for film, grade in zip(films, grades or [1] * len(films), strict=True):
        answers[film.key, film.year] = {"title": film.title, "year": film.year} | (
            {"grade": grade} if grades else {}
        )
    if not answers:
        raise SystemExit(f"{kind}: {text}: nothing in the catalogue answers it")
    return {"query": text, "class": kind, "relevant": list(answers.values())}


async def read_catalogue(cache_path: Path) -> Catalogue:
    """The films as ``media-gateway up`` loads them; the folder keeps what is downloaded for it."""
    spec = IngestionJobSpec.model_validate({"source": {"type": "Demo", "name": "demo", "demo": {}}})
    mapper = Mapper(spec)
    records: dict[str, SourceRecord] = {}
    async for item in DemoFilms(spec.source, cache_path).read(None, None):
        if isinstance(item, RawRecord):
            record = mapper.map(item.payload)
            # A later cut has the id of the film; the catalogue holds them as one, told by its first record.
            records.setdefault(record.external_ids.imdb or record.source_id, record)
    return Catalogue(map(Film.of, records.values()))


def make(catalogue: Catalogue) -> bytes:
    """The file: one query a line."""
    chance = random.Random(SEED)
    queries = [
        *exact(catalogue, chance),
        *mistyped(catalogue, 1, chance),
        *mistyped(catalogue, 2, chance),
        *written(catalogue),
    ]
    return b"".join(orjson.dumps(query) + b"\n" for query in queries)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is another one")
    check = parser.parse_args().check
    content = make(asyncio.run(read_catalogue(load_settings(CoreSettings).state_path / "cache")))
    if not check:
        TARGET.write_bytes(content)
        kinds = Counter(orjson.loads(line)["class"] for line in content.splitlines())
        sys.stdout.write(
            f"{kinds.total()} queries: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}\n"
        )
    elif TARGET.read_bytes() != content:
        raise SystemExit(f"{TARGET.name} is not what make.py makes; run it without --check")


if __name__ == "__main__":
    main()
