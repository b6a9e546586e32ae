"""What the understanding of queries knows of the catalogue: titles, people, platforms. Over the text index."""

from functools import cached_property

from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.fusion import TITLE_LIKENESS
from media_gateway.discovery.text_index import QueryText, TextIndex, analyse
from media_gateway.discovery.text_index.analysis import loose, sequel_keys
from media_gateway.discovery.text_index.schema import credit_key
from media_gateway.discovery.understanding import Reference


class CatalogueWords:
    """The `understanding.Lexicon` of one moment; made anew for each query."""

    def __init__(self, index: TextIndex) -> None:
        self._index = index

    def is_title(self, query: QueryText) -> bool:
        """See `Lexicon`."""
        names = [query.key, *(query.title_and_year or ())[:1]]
        keys = [key for name in names if (key := loose(str(name)))]
        numbered = sequel_keys(query.text, continued=False)
        return any(
            self._index.has(field, key) for key in keys for field in ("title_loose", "title_series")
        ) or any(self._index.has("title_number", key) for key in numbered)

    def is_nearly_title(self, query: QueryText) -> bool:
        """See `Lexicon`."""
        found = self._index.similar_titles(query, SearchFilter(), limit=10)
        return bool(found) and found[0].score >= TITLE_LIKENESS

    def titled(self, text: str, year: int | None) -> Reference | None:
        """See `Lexicon`."""
        namesakes = self._index.titled(analyse(text))
        fitting = [one for one in namesakes if year is None or one.release_year == year]
        return _reference(fitting[0]) if fitting else None

    def nearly_titled(self, text: str) -> Reference | None:
        """See `Lexicon`."""
        found = self._index.similar_titles(analyse(text), SearchFilter(), limit=10)
        if not found or found[0].score < TITLE_LIKENESS:
            return None
        content = self._index.contents([found[0].content_id]).get(found[0].content_id)
        return _reference(content) if content else None

    def has_person(self, name: str, role: str | None) -> bool:
        """See `Lexicon`."""
        key = name.replace(" ", "")
        if role is None:
            return self._index.has("person_key", key)
        return self._index.has("credit", credit_key(role, key))

    def is_in_names(self, word: str) -> bool:
        """See `Lexicon`."""
        return self._index.has("people", word)

    def has_last_name(self, word: str) -> bool:
        """See `Lexicon`."""
        return self._index.is_last_name(word)

    def has_word(self, word: str) -> bool:
        """See `Lexicon`."""
        return self._index.frequency(word) > 0

    @cached_property
    def platforms(self) -> dict[str, str]:
        """See `Lexicon`."""
        return {platform.replace("_", " "): platform for platform in self._index.values("platform")}

    @cached_property
    def first_words_of_platforms(self) -> frozenset[str]:
        """See `Lexicon`."""
        return frozenset(name.split()[0] for name in self.platforms)


def _reference(content: IndexedContent) -> Reference:
    return Reference(content.content_id, content.title, content.release_year)
