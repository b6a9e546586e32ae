"""Facts of a demo film that follow from others. Used by `demo` only."""

import math
from collections.abc import Mapping
from typing import Any

REVIEWS_FULL = 350
"""Reviews of the most reviewed films of the data."""

BOX_OFFICE_FROM, BOX_OFFICE_FULL = 1e5, 2e9
"""US dollars between which takings are told apart, on a logarithmic scale."""

_MAIN_LANGUAGE = {
    "Argentina": "Spanish",
    "Australia": "English",
    "Austria": "German",
    "Brazil": "Portuguese",
    "Canada": "English",
    "Denmark": "Danish",
    "Finland": "Finnish",
    "France": "French",
    "Germany": "German",
    "Greece": "Modern Greek",
    "Hungary": "Hungarian",
    "India": "Hindi",
    "Iran": "Persian",
    "Ireland": "English",
    "Israel": "Hebrew",
    "Italy": "Italian",
    "Japan": "Japanese",
    "Mexico": "Spanish",
    "Netherlands": "Dutch",
    "New Zealand": "English",
    "Norway": "Norwegian",
    "Poland": "Polish",
    "Portugal": "Portuguese",
    "Russia": "Russian",
    "South Korea": "Korean",
    "Soviet Union": "Russian",
    "Spain": "Spanish",
    "Sweden": "Swedish",
    "United Kingdom": "English",
    "United States": "English",
}


def words(text: str | None) -> list[str]:
    """The parts of a list in a text column."""
    return [" ".join(part.split()) for part in (text or "").split(", ") if part.strip()]


def stars_first(cast: str | None, fame: Mapping[str, int]) -> str | None:
    """The cast with the best-known first: the data list it by first name, billing order is not known."""
    return ", ".join(sorted(words(cast), key=lambda name: -fame[name])) or None


def release_day(film: Mapping[str, Any]) -> str | None:
    """The day of release; 1 January is how the data write "some day of that year"."""
    released: str | None = film["released"]
    return None if released is None or released.endswith("-01-01") else released


def spoken_first(film: Mapping[str, Any]) -> str | None:
    """The original language, if it is the only one or the main language of the only country: lists are alphabetical."""
    languages, countries = words(film["language"]), words(film["country"])
    if len(languages) == 1:
        return languages[0]
    main = _MAIN_LANGUAGE.get(countries[0]) if len(countries) == 1 else None
    return main if main in languages else None


def rating(film: Mapping[str, Any]) -> float | None:
    """Critics' average out of 10; where that is missing, the share of positive reviews out of 10."""
    if film["critics_rating"] is not None:
        return float(film["critics_rating"])
    return None if film["meter"] is None else film["meter"] / 10


def nominations(film: Mapping[str, Any]) -> int:
    """Oscar nominations that did not win, from the text of the awards (``Won 1 Oscar. Nominated for 3 Oscars.``)."""
    _, _, rest = (film["awards"] or "").partition("Nominated for ")
    number = rest.partition(" ")[0]
    return int(number) if number.isdecimal() else 0


def popularity(film: Mapping[str, Any]) -> float:
    """How much a film was noticed, 0 to 1.

    0.40 reviews (log(1 + n) / log(1 + `REVIEWS_FULL`)) + 0.25 takings (position on the logarithmic scale) + 0.20 Oscars
    (1 - 0.5 ** (won + nominated / 4)) + 0.15 rating (4 to 9 as 0 to 1), each at most 1 and 0 where nothing is known.
    """
    reviews = math.log1p(film["reviews"] or 0) / math.log1p(REVIEWS_FULL)
    span = math.log(BOX_OFFICE_FULL / BOX_OFFICE_FROM)
    takings = math.log(max(film["box_office"] or 0, BOX_OFFICE_FROM) / BOX_OFFICE_FROM) / span
    awards = 1 - 0.5 ** ((film["oscars"] or 0) + nominations(film) / 4)
    liked = ((rating(film) or 0) - 4) / 5
    parts = ((0.40, reviews), (0.25, takings), (0.20, awards), (0.15, liked))
    return round(sum(weight * min(1.0, max(0.0, part)) for weight, part in parts), 4)
