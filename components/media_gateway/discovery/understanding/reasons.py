"""Why a content fulfils what a query asks for, in words for a person."""

from media_gateway.discovery.documents import IndexedContent, Person
from media_gateway.discovery.filters import PersonAsked
from media_gateway.discovery.text_index.analysis import fold, last_names, name_keys
from media_gateway.discovery.understanding.facts import Facts

_ROLE_WORDS = {"actor": "cast"}


def fact_reasons(asked: Facts, content: IndexedContent) -> list[str]:
    """What of a content is asked for: people first, then kinds, times and the rest."""
    return [
        *_people(asked.people, content.people),
        *(
            f"genre: {genre.replace('_', ' ')}"
            for genre in content.genres
            if any(genre in genres for genres in asked.genres)
        ),
        *([f"year: {content.release_year}"] if asked.years and content.release_year else []),
        *(f"keyword: {keyword}" for keyword in content.keywords if fold(keyword) in asked.keywords),
        *(f"language: {language}" for language in content.languages if language in asked.languages),
        *(
            f"on {platform.replace('_', ' ')}"
            for platform in content.platforms
            if platform in asked.platforms
        ),
    ]


def _people(asked: tuple[PersonAsked, ...], people: tuple[Person, ...]) -> list[str]:
    found: dict[str, None] = {}
    for one in asked:
        meant = next((person for person in people if _is_meant(one, person)), None)
        if meant is not None:
            found[f"{_ROLE_WORDS.get(meant.role, meant.role)}: {meant.name}"] = None
    return list(found)


def _is_meant(asked: PersonAsked, person: Person) -> bool:
    name = fold(person.name)
    return asked.role in {None, person.role} and asked.key in {*name_keys(name), *last_names(name)}
