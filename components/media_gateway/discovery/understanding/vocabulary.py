"""Words by which people ask for genres, moods, languages and the rest, in English, folded. Data only."""

from typing import Final

from media_gateway.core.domain.content import AvailabilityType, ContentType, Genre
from media_gateway.discovery.text_index.analysis import STOPWORDS, fold, singular
from media_gateway.discovery.text_index.schema import GENRE_WORDS

LONGEST_PHRASE: Final = 3
"""Words of the longest phrase of these tables."""

FILLERS: Final = STOPWORDS | frozenset(
    [
        "best",
        "top",
        "good",
        "great",
        "popular",
        "famous",
        "all",
        "list",
        "please",
        "something",
        "anything",
        "some",
        "other",
        "others",
        "more",
        "most",
        "ever",
        "made",
        "released",
        "set",
        "one",
        "ones",
        "picture",
        "pictures",
        "cinema",
        "flick",
        "flicks",
        "story",
        "stories",
        "title",
        "titles",
        "really",
        "very",
        "too",
    ]
)
"""Words that a query may also hold without asking for anything else."""

TITLES_OF: Final = frozenset(
    [
        "film",
        "films",
        "movie",
        "movies",
        "show",
        "shows",
        "something",
        "anything",
        "stuff",
        "one",
        "ones",
        "more",
        "picture",
        "pictures",
        "story",
        "stories",
        "else",
        "series",
        "flick",
        "flicks",
        "thing",
        "things",
        "titles",
    ]
)
"""Words after which "like" means a comparison; elsewhere it belongs to a description."""

DECADE_WORDS: Final = {
    word: 1900 + 10 * number
    for number, word in enumerate(
        ["twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties"], 2
    )
} | {"noughties": 2000, "aughts": 2000}
"""Decades in words, by their first year."""

PARTS_OF_DECADES: Final = {"early": (0, 3), "mid": (4, 6), "middle": (4, 6), "late": (7, 9)}
"""Years of a decade that are its early, middle and late ones."""

MOODS: Final[dict[str, tuple[str, ...]]] = {
    "funny": (Genre.COMEDY,),
    "hilarious": (Genre.COMEDY,),
    "laugh out loud": (Genre.COMEDY,),
    "scary": (Genre.HORROR,),
    "creepy": (Genre.HORROR,),
    "spooky": (Genre.HORROR,),
    "frightening": (Genre.HORROR,),
    "terrifying": (Genre.HORROR,),
    "romantic": (Genre.ROMANCE,),
    "tense": (Genre.THRILLER,),
    "suspenseful": (Genre.THRILLER,),
    "gripping": (Genre.THRILLER,),
    "nail biting": (Genre.THRILLER,),
    "sad": (Genre.DRAMA,),
    "moving": (Genre.DRAMA,),
    "emotional": (Genre.DRAMA,),
    "tear jerker": (Genre.DRAMA,),
    "tearjerker": (Genre.DRAMA,),
    "exciting": (Genre.ACTION, Genre.ADVENTURE, Genre.THRILLER),
    "action packed": (Genre.ACTION,),
    "feel good": (Genre.COMEDY, Genre.FAMILY, Genre.ROMANCE, Genre.MUSICAL),
    "uplifting": (Genre.COMEDY, Genre.FAMILY, Genre.MUSICAL, Genre.SPORT),
    "heartwarming": (Genre.COMEDY, Genre.FAMILY, Genre.ROMANCE),
    "light hearted": (Genre.COMEDY, Genre.FAMILY),
    "lighthearted": (Genre.COMEDY, Genre.FAMILY),
    "cosy": (Genre.COMEDY, Genre.FAMILY, Genre.ROMANCE),
    "cozy": (Genre.COMEDY, Genre.FAMILY, Genre.ROMANCE),
    "magical": (Genre.FANTASY,),
    "whimsical": (Genre.FANTASY, Genre.FAMILY),
    "mind bending": (Genre.SCIENCE_FICTION, Genre.MYSTERY, Genre.THRILLER),
    "inspiring": (Genre.BIOGRAPHY, Genre.SPORT),
}
"""Moods and genres of which any one suits them: our choice, after the moods that catalogues put on their shelves."""

AUDIENCES: Final[dict[str, tuple[str, ...]]] = {
    "for kids": (Genre.FAMILY, Genre.KIDS, Genre.ANIMATION),
    "for children": (Genre.FAMILY, Genre.KIDS, Genre.ANIMATION),
    "family friendly": (Genre.FAMILY, Genre.KIDS),
}

_OTHER_GENRE_WORDS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "biopic": ((Genre.BIOGRAPHY,),),
    "biographical": ((Genre.BIOGRAPHY,),),
    "historical": ((Genre.HISTORY,),),
    "cartoon": ((Genre.ANIMATION,),),
    "animated": ((Genre.ANIMATION,),),
    "whodunit": ((Genre.MYSTERY,),),
    "suspense": ((Genre.THRILLER,),),
    "romcom": ((Genre.ROMANCE,), (Genre.COMEDY,)),
    "rom com": ((Genre.ROMANCE,), (Genre.COMEDY,)),
    "docs": ((Genre.DOCUMENTARY,),),
    "sports": ((Genre.SPORT,),),
}
"""Beside the names that the text index knows too; each asks for all of its parts."""

LANGUAGES: Final = {
    "arabic": "ar", "cantonese": "yue", "chinese": "zh", "czech": "cs", "danish": "da", "dutch": "nl", "finnish": "fi",
    "french": "fr", "german": "de", "greek": "el", "hebrew": "he", "hindi": "hi", "hungarian": "hu", "icelandic": "is",
    "italian": "it", "japanese": "ja", "korean": "ko", "mandarin": "zh", "norwegian": "no", "persian": "fa",
    "polish": "pl", "portuguese": "pt", "romanian": "ro", "russian": "ru", "spanish": "es", "swedish": "sv",
    "thai": "th", "turkish": "tr", "ukrainian": "uk", "english": "en",
}  # fmt: skip
"""ISO 639 by English name."""

CONTENT_TYPES: Final = {
    "tv series": ContentType.SERIES,
    "tv show": ContentType.SERIES,
    "tv shows": ContentType.SERIES,
    "series": ContentType.SERIES,
    "short film": ContentType.SHORT,
    "short films": ContentType.SHORT,
    "shorts": ContentType.SHORT,
}

AVAILABILITY: Final = {
    "free": AvailabilityType.FREE,
    "for free": AvailabilityType.FREE,
    "free to watch": AvailabilityType.FREE,
    "to rent": AvailabilityType.RENTAL,
    "to buy": AvailabilityType.PURCHASE,
}

KEYWORDS: Final = {
    "oscar winning": "oscar winner",
    "oscar winner": "oscar winner",
    "oscar winners": "oscar winner",
    "academy award winning": "oscar winner",
}
"""Phrases for keywords of the catalogue; the demo catalogue has these."""

WELL_RATED: Final = frozenset({"highly rated", "top rated", "best rated", "well rated"})
WELL_RATED_FROM: Final = 7.0
"""Average rating from which on a content counts as well rated: the upper two classes of the rating facet."""

ROLES: Final = {
    "directed by": "director",
    "director": "director",
    "written by": "writer",
    "starring": None,
    "featuring": None,
    "played by": None,
}
"""Words before a name and the role they ask for."""

ROLES_AFTER: Final = {"as director": "director", "director": "director"}

NEGATIONS: Final = (
    "but not",
    "but no",
    "but without",
    "not",
    "no",
    "without",
    "except",
    "excluding",
    "non",
    "minus",
)
"""Longest first."""

WEAK_NEGATIONS: Final = frozenset({"no", "without"})
"""Also usual inside a description ("a life without romance"); they are taken for a condition at the end only."""


TELLING: Final = frozenset(
    [
        "am",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "does",
        "do",
        "did",
        "can",
        "could",
        "will",
        "would",
        "who",
        "he",
        "she",
        "it",
        "they",
    ]
)
"""Words after which "not" tells a story."""

OWNERS: Final = ("amazon", "apple", "hbo")
"""Companies whose names people put before those of their platforms."""


def genre_named(words: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The genres that words name, each by any of its slugs; empty if they name none."""
    if words[0] not in _FIRST_OF_GENRES:
        return ()
    name = " ".join(words)
    # No stems: they make animation of animals.
    return _GENRES.get(name) or _GENRES.get(" ".join((*words[:-1], singular(words[-1]))), ())


def _genre_names() -> dict[str, tuple[tuple[str, ...], ...]]:
    slugs: dict[str, list[str]] = {}
    for genre in Genre:
        plain = genre.replace("_", " ")
        # A lone word of everyday use, which plots are full of.
        name = f"{plain} tv" if genre in {Genre.REALITY, Genre.NEWS} else plain
        for word in (name, *GENRE_WORDS.get(genre, ())):
            slugs.setdefault(fold(word), []).append(genre.value)
    names: dict[str, tuple[tuple[str, ...], ...]] = {
        name: (tuple(dict.fromkeys(found)),) for name, found in slugs.items()
    }
    for name, parts in _OTHER_GENRE_WORDS.items():
        names.setdefault(name, parts)
    return names


_GENRES: Final = _genre_names()

_PLURALS: Final = tuple(f"{name[:-1]}ies" if name.endswith("y") else f"{name}s" for name in _GENRES)
_FIRST_OF_GENRES: Final = frozenset(name.split()[0] for name in (*_GENRES, *_PLURALS))

SPOKEN: Final = frozenset(
    word
    for phrase in (*_GENRES, *_PLURALS, *MOODS, *AUDIENCES, *LANGUAGES, *DECADE_WORDS, *TITLES_OF, *ROLES)
    for word in phrase.split()
    if len(word) > 3
)
"""Words of these tables that are long enough to be mistyped: what people ask with, whether titles have them or not."""
