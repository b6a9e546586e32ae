"""What is said about a demo film: an overview composed from its facts, and keywords. Used by `demo` only.

Phrases are chosen by the film's number, so that films don't all sound alike and each always sounds the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from media_gateway.ingestion.sources.demo_facts import nominations, words

_ADJECTIVES = {
    "Animation": "animated",
    "Family": "family",
    "History": "historical",
    "Biography": "biographical",
    "Romance": "romantic",
    "Sci-Fi": "science fiction",
    "Fantasy": "fantasy",
    "War": "war",
    "Sport": "sports",
    "Music": "music",
    "Crime": "crime",
    "Mystery": "mystery",
    "Action": "action",
    "Adventure": "adventure",
    "Horror": "horror",
}
"""In the order in which English puts them."""

_NOUNS = {"Documentary": "documentary", "Western": "western", "Musical": "musical", "Thriller": "thriller"}

_NATIONS = {
    "Argentina": "Argentine",
    "Australia": "Australian",
    "Austria": "Austrian",
    "Belgium": "Belgian",
    "Brazil": "Brazilian",
    "Bulgaria": "Bulgarian",
    "Canada": "Canadian",
    "Chile": "Chilean",
    "Colombia": "Colombian",
    "Cuba": "Cuban",
    "Czech Republic": "Czech",
    "Czechoslovakia": "Czechoslovak",
    "Denmark": "Danish",
    "Egypt": "Egyptian",
    "Finland": "Finnish",
    "France": "French",
    "Germany": "German",
    "Greece": "Greek",
    "Hong Kong": "Hong Kong",
    "Hungary": "Hungarian",
    "Iceland": "Icelandic",
    "India": "Indian",
    "Indonesia": "Indonesian",
    "Iran": "Iranian",
    "Ireland": "Irish",
    "Israel": "Israeli",
    "Italy": "Italian",
    "Japan": "Japanese",
    "Luxembourg": "Luxembourgish",
    "Mexico": "Mexican",
    "Netherlands": "Dutch",
    "New Zealand": "New Zealand",
    "Norway": "Norwegian",
    "People's Republic of China": "Chinese",
    "Peru": "Peruvian",
    "Philippines": "Philippine",
    "Poland": "Polish",
    "Portugal": "Portuguese",
    "Romania": "Romanian",
    "Russia": "Russian",
    "Senegal": "Senegalese",
    "Serbia": "Serbian",
    "South Africa": "South African",
    "South Korea": "South Korean",
    "Soviet Union": "Soviet",
    "Spain": "Spanish",
    "Sweden": "Swedish",
    "Switzerland": "Swiss",
    "Taiwan": "Taiwanese",
    "Thailand": "Thai",
    "Tunisia": "Tunisian",
    "Turkey": "Turkish",
    "Ukraine": "Ukrainian",
    "United Kingdom": "British",
    "United States": "American",
    "Vietnam": "Vietnamese",
    "West Germany": "West German",
    "Yugoslavia": "Yugoslav",
}

_NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def overview(film: Mapping[str, Any]) -> str:
    """A few sentences of English made of the film's facts."""
    sentences = [
        _opening(film),
        _cast(film),
        _writing(film),
        _making(film),
        _awards(film),
        _reception(film),
        _length(film),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def keywords(film: Mapping[str, Any]) -> list[str]:
    """Words that people search by and that no other field holds."""
    found = [f"{film['year'] // 10 * 10}s"]
    if film["oscars"]:
        found.append("oscar winner")
    elif nominations(film):
        found.append("oscar nominee")
    if (film["box_office"] or 0) >= 100_000_000:
        found.append("box office hit")
    if (film["meter"] or 0) >= 90 and (film["reviews"] or 0) >= 30:
        found.append("critically acclaimed")
    return found


def _choice(film: Mapping[str, Any], number: int, phrases: Sequence[str]) -> str:
    # Knuth's multiplicative hash: films with neighbouring numbers get different phrases.
    return phrases[(int(film["id"]) * 2_654_435_761 + number * 40_503 >> 7) % len(phrases)]


def _opening(film: Mapping[str, Any]) -> str:
    kind, origin = _kind(film)
    title, year = film["title"], film["year"]
    directors = _listed(words(film["director"])[:3])
    if not directors:
        return f"{title} is {_article(kind)} {kind}{origin}, released in {year}."
    phrases = (
        f"{title} is {_article(str(year))} {year} {kind}{origin} directed by {directors}.",
        f"Directed by {directors}, {title} is {_article(kind)} {kind}{origin} released in {year}.",
        f"{_article(kind).capitalize()} {kind}{origin} from {year}, directed by {directors}.",
        f"In {year}, {directors} made {title}, {_article(kind)} {kind}{origin}.",
        f"{title} ({year}) is {_article(kind)} {kind}{origin} by {directors}.",
        f"{directors}'s {title}, released in {year}, is {_article(kind)} {kind}{origin}.",
    )
    return _choice(film, 1, phrases)


def _kind(film: Mapping[str, Any]) -> tuple[str, str]:
    """``French romantic comedy``, and what has to follow (`` from Malta``)."""
    genres = words(film["genre"])
    nouns = [noun for genre, noun in _NOUNS.items() if genre in genres]
    adjectives = [word for genre, word in _ADJECTIVES.items() if genre in genres][: 2 if nouns else 3]
    if "Comedy" in genres and "Drama" in genres:
        nouns.append("comedy-drama")
    elif "Comedy" in genres:
        nouns.append("comedy")
    elif "Drama" in genres and "Thriller" not in genres:
        nouns.append("drama")
    kind = " ".join([*adjectives, " and ".join(nouns[:2]) or "film"])
    countries = words(film["country"])
    nations = [_NATIONS.get(country) for country in countries]
    if 0 < len(countries) <= 2 and all(nations):
        return f"{'-'.join(filter(None, nations))} {kind}", ""
    return kind, f" from {_listed([_place(country) for country in countries[:4]])}" if countries else ""


def _cast(film: Mapping[str, Any]) -> str:
    people = words(film["cast"])
    if not people:
        return ""
    if "Documentary" in words(film["genre"]):
        return f"{_listed(people[:4])} {'appear' if len(people) > 1 else 'appears'} in it."
    # The data don't say who plays the lead; the names stand in the order of `demo_facts.stars_first`.
    some = _listed(people[:5])
    if len(people) == 1:
        return f"The cast includes {some}."
    phrases = (
        f"The cast includes {some}.",
        f"{some} are in the cast.",
        f"Among the cast are {some}.",
        f"Its cast includes {some}.",
    )
    return _choice(film, 2, phrases)


def _writing(film: Mapping[str, Any]) -> str:
    writers, directors = words(film["writer"])[:3], words(film["director"])
    if not writers:
        return ""
    if writers == directors:
        return (
            _choice(film, 3, ("The director also wrote it.", "Its director wrote the screenplay too."))
            if len(writers) == 1
            else "The directors wrote the screenplay as well."
        )
    phrases = (
        f"The screenplay is by {_listed(writers)}.",
        f"{_listed(writers)} wrote the screenplay.",
        f"It was written by {_listed(writers)}.",
    )
    return _choice(film, 3, phrases)


def _making(film: Mapping[str, Any]) -> str:
    companies, languages = words(film["production"])[:2], words(film["language"])
    spoken = (
        ""
        if languages in ([], ["English"])
        else _listed([name.removesuffix(" language") for name in languages[:4]])
    )
    if companies and spoken:
        return f"{_listed(companies)} produced it, in {spoken}."
    if companies:
        return _choice(
            film, 4, (f"It was produced by {_listed(companies)}.", f"{_listed(companies)} produced it.")
        )
    return f"The dialogue is in {spoken}." if spoken else ""


def _awards(film: Mapping[str, Any]) -> str:
    won, nominated = film["oscars"] or 0, nominations(film)
    if won:
        more = f" and was nominated for {_number(nominated)} more" if nominated else ""
        return f"It won {_number(won)} Academy Award{'s' if won > 1 else ''}{more}."
    if nominated:
        return f"It was nominated for {_number(nominated)} Academy Award{'s' if nominated > 1 else ''}."
    return ""


def _reception(film: Mapping[str, Any]) -> str:
    meter, reviews = film["meter"], film["reviews"] or 0
    sentences = []
    if meter is not None and reviews >= 20:
        if meter >= 90:
            sentences.append(
                _choice(film, 5, ("Critics acclaimed it.", f"{meter} percent of its reviews were positive."))
            )
        elif meter <= 20:
            sentences.append(
                _choice(
                    film, 5, ("Critics disliked it.", f"Only {meter} percent of its reviews were positive.")
                )
            )
        elif 45 <= meter <= 60:
            sentences.append("Its reviews were mixed.")
    takings = film["box_office"] or 0
    if takings >= 1_000_000_000:
        sentences.append(f"It took ${takings / 1e9:.1f} billion at the box office.")
    elif takings >= 20_000_000:
        sentences.append(f"It took ${takings / 1e6:.0f} million at the box office.")
    return " ".join(sentences)


def _length(film: Mapping[str, Any]) -> str:
    minutes = int(film["runtime_minutes"] or 0)
    if minutes >= 180:
        return f"It runs for {minutes // 60} hours" + (
            f" and {minutes % 60} minutes." if minutes % 60 else "."
        )
    if 0 < minutes < 60:
        return f"It is a short film of {minutes} minutes."
    return (
        _choice(film, 6, (f"It runs for {minutes} minutes.", f"Running time: {minutes} minutes.", ""))
        if minutes
        else ""
    )


def _number(value: int) -> str:
    return _NUMBERS[value] if value < len(_NUMBERS) else str(value)


def _place(country: str) -> str:
    article = country.startswith(
        ("United ", "Netherlands", "Philippines", "Soviet", "People", "Czech Republic", "Democratic")
    )
    return f"the {country}" if article else country


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _article(following: str) -> str:
    # "an 1808 …" does not occur: the films begin in 1940.
    return "an" if following[:1].lower() in "aeio" and not following.startswith("one") else "a"
