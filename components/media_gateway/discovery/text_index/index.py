"""The text index: contents in, ranked ids out. In memory, one a process, built from the database.

Called from threads (the library releases the GIL): by the index feed's single writer thread and by search threads at
the same time. Must not read the database or the bus.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self
from uuid import UUID

import tantivy

from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.fingerprint import Fingerprint, checksum_of
from media_gateway.discovery.text_index import query as queries
from media_gateway.discovery.text_index.analysis import GRAM_QUERY_LIMIT, QueryText, loose
from media_gateway.discovery.text_index.conditions import filtered, these
from media_gateway.discovery.text_index.facets import Summary, summarised
from media_gateway.discovery.text_index.frequencies import Frequencies
from media_gateway.discovery.text_index.likeness import title_likeness
from media_gateway.discovery.text_index.schema import build_schema, document_of, join_id, register_tokenizers
from media_gateway.discovery.text_index.wording import Wording

IndexedWord = Literal["title_loose", "title_series", "title_number", "person_key", "people", "credit"]
"""Fields that hold whole titles and names, and the words of names."""

NAMESAKES = 50
"""Contents of one title that are looked at."""

WRITER_HEAP_BYTES = 64_000_000
"""What is gathered before it becomes a segment of its own: a batch of events fits in, and a build makes few to merge."""

BUILT_QUERIES = 256
"""Queries kept as they were built, until the next commit."""


@dataclass(slots=True)
class _View:
    """The index as of one commit, and what was found out about it: true for as long as the view is used."""

    searcher: tantivy.Searcher
    counted: Frequencies
    built: dict[tuple[QueryText, bool], tantivy.Query] = field(default_factory=dict)
    places: dict[UUID, tantivy.DocAddress] = field(default_factory=dict)

    @classmethod
    def of(cls, index: tantivy.Index) -> Self:
        searcher = index.searcher()
        return cls(searcher, Frequencies(searcher))


@dataclass(frozen=True, slots=True)
class TextHit:
    """A found content and its raw score, comparable within one query only."""

    content_id: UUID
    score: float


@dataclass(frozen=True, slots=True)
class TextHits:
    """Hits, best first, how many contents match in all, and whether they have most of the words or only some."""

    hits: tuple[TextHit, ...]
    total: int
    strict: bool


class TextIndex:
    """BM25 over titles, people, genres, keywords and overviews, with whole and near titles.

    Writes (`apply`, `commit`) come from one thread at a time; reads from any number beside them. A reader sees the
    state of the last `commit`.
    """

    def __init__(self) -> None:
        self._schema = build_schema()
        self._index = tantivy.Index(self._schema)
        register_tokenizers(self._index)
        self._index.config_reader("manual")
        self._writer = self._index.writer(WRITER_HEAP_BYTES, 1)
        self._writing = threading.Lock()
        self._revisions: dict[UUID, int] = {}
        self._checksum = 0
        self._view = _View.of(self._index)

    def __len__(self) -> int:
        return len(self._revisions)

    def apply(self, contents: Sequence[IndexedContent], removed: Sequence[UUID] = ()) -> None:
        """Put contents in, in place of what was there under their ids, and take others out. Seen after `commit`."""
        with self._writing:
            for content in contents:
                if content.content_id in self._revisions:
                    self._writer.delete_documents_by_term("id", str(content.content_id))
                self._writer.add_document(document_of(content))
                self._note(content.content_id, content.revision)
            for content_id in removed:
                if self._note(content_id, None) is not None:
                    self._writer.delete_documents_by_term("id", str(content_id))

    def commit(self) -> None:
        """Let readers see what was applied."""
        with self._writing:
            self._writer.commit()
            self._index.reload()
            self._view = _View.of(self._index)

    def fingerprint(self) -> Fingerprint:
        """Of what was applied, to be compared with that of the catalogue."""
        with self._writing:
            return Fingerprint(len(self._revisions), self._checksum)

    def differing(self, catalogue: Mapping[UUID, int]) -> list[UUID]:
        """Ids whose revision here is not that of the catalogue, those missing on either side included."""
        with self._writing:
            stale = [key for key, revision in catalogue.items() if self._revisions.get(key) != revision]
            return stale + [key for key in self._revisions if key not in catalogue]

    def search(self, query: QueryText, where: SearchFilter, *, limit: int, offset: int = 0) -> TextHits:
        """Contents that match by title, person, kind or words, best first.

        Most of the words must be found; if no content has most of them, those with any of them are given.
        """
        found = TextHits((), 0, strict=True)
        if not query.words:
            return found
        view = self._view
        for strict in (True, False):
            asked = filtered(self._schema, self._asked(view, query, strict=strict), where)
            found = self._page(view, asked, offset=offset, limit=limit, strict=strict)
            if found.total or len(query.terms) < 2:
                break
        return found

    def similar_titles(self, query: QueryText, where: SearchFilter, *, limit: int) -> list[TextHit]:
        """Contents whose title is like the whole query, most alike first; the score is the likeness, 0 to 1."""
        if not query.words or len(query.key) > GRAM_QUERY_LIMIT:
            return []
        searcher = self._view.searcher
        asked = filtered(self._schema, queries.nearly(self._schema, query), where)
        found = searcher.search(asked, limit, count=False, weight_by_field="prior")
        cards = (_stored(searcher.doc(address), "card") for _, address in found.hits)
        contents = map(IndexedContent.from_bytes, cards)
        hits = [TextHit(content.content_id, title_likeness(query, content.titles)) for content in contents]
        # Sorted by likeness alone, equals stay in the order of the index: that of popularity.
        return sorted(hits, key=lambda hit: -hit.score)

    def passing(self, content_ids: Sequence[UUID], where: SearchFilter) -> set[UUID]:
        """Those of the ids that are in the catalogue and pass the filter."""
        if where.asks_nothing:
            return {content_id for content_id in content_ids if content_id in self._revisions}
        if not content_ids:
            return set()
        view = self._view
        asked = filtered(self._schema, these(self._schema, content_ids), where)
        found = view.searcher.search(asked, len(content_ids), count=False)
        return set(self._ids(view, [address for _, address in found.hits]))

    def selected(self, where: SearchFilter, *, limit: int) -> tuple[list[UUID], int]:
        """Ids of contents that pass the filter, at most so many, and how many do."""
        view = self._view
        asked = filtered(self._schema, tantivy.Query.all_query(), where)
        found = view.searcher.search(asked, limit, count=True)
        total: int = found.count  # type: ignore[attr-defined]  # missing in the library's stubs
        return self._ids(view, [address for _, address in found.hits]), total

    def sharing(self, content: IndexedContent, where: SearchFilter, *, limit: int) -> list[UUID]:
        """Ids of contents that share series, people, keywords or genres with one, itself among them."""
        view = self._view
        asked = filtered(self._schema, queries.sharing(self._schema, view.counted, content), where)
        found = view.searcher.search(asked, limit, count=False)
        return self._ids(view, [address for _, address in found.hits])

    def popular(self, where: SearchFilter, *, limit: int) -> list[UUID]:
        """Ids of contents that pass the filter, the most popular first."""
        view = self._view
        asked = filtered(self._schema, tantivy.Query.all_query(), where)
        found = view.searcher.search(asked, limit, count=False, order_by_field="prior")
        return self._ids(view, [address for _, address in found.hits])

    def summary(
        self, query: QueryText, where: SearchFilter, others: Sequence[UUID], *, strict: bool
    ) -> Summary:
        """What there is among the contents that match and others that pass the filter.

        Parameters
        ----------
        others
            Ids of contents found in other ways.
        strict
            As the search was, by `TextHits.strict`.
        """
        view = self._view
        matching = [self._asked(view, query, strict=strict)] if query.words else []
        asked = queries.any_of([*matching, these(self._schema, others)])
        return summarised(view.searcher, filtered(self._schema, asked, where))

    def values(self, field: Literal["genre", "platform"]) -> dict[str, int]:
        """What the contents have in a field, the most frequent first, and about how many have it."""
        return dict(self._view.searcher.terms_with_prefix(field, ""))

    def contents(self, content_ids: Sequence[UUID]) -> dict[UUID, IndexedContent]:
        """What the index keeps of those ids that it has."""
        view = self._view
        return {
            content_id: IndexedContent.from_bytes(_stored(view.searcher.doc(place), "card"))
            for content_id, place in self._places(view, content_ids).items()
        }

    def wordings(self, content_ids: Sequence[UUID]) -> dict[UUID, Wording]:
        """The words of those ids that the index has."""
        view = self._view
        return {
            content_id: Wording.from_bytes(_stored(view.searcher.doc(place), "wording"))
            for content_id, place in self._places(view, content_ids).items()
        }

    def worded(self, content_ids: Sequence[UUID]) -> dict[UUID, tuple[IndexedContent, Wording]]:
        """What `contents` and `wordings` give, read once."""
        view = self._view
        documents = {
            content_id: view.searcher.doc(place)
            for content_id, place in self._places(view, content_ids).items()
        }
        return {
            content_id: (
                IndexedContent.from_bytes(_stored(document, "card")),
                Wording.from_bytes(_stored(document, "wording")),
            )
            for content_id, document in documents.items()
        }

    def has_any(self, where: SearchFilter) -> bool:
        """Whether any content passes the filter."""
        asked = filtered(self._schema, tantivy.Query.all_query(), where)
        return bool(self._view.searcher.search(asked, 1, count=False).hits)

    def has(self, field: IndexedWord, word: str) -> bool:
        """Whether any content has a folded word, written without spaces, in a field."""
        return self._view.counted.of(field, word) > 0

    def is_last_name(self, word: str) -> bool:
        """Whether a folded word is meant as the last name of directors or leads, rather than as one of a title."""
        return queries.is_last_name(self._view.counted, word)

    def titled(self, query: QueryText) -> list[IndexedContent]:
        """Contents with exactly this title, articles and spaces apart, the best known first."""
        searcher = self._view.searcher
        asked = tantivy.Query.term_query(self._schema, "title_loose", loose(query.key))
        found = searcher.search(asked, NAMESAKES, count=False, weight_by_field="prior")
        return [
            IndexedContent.from_bytes(_stored(searcher.doc(address), "card")) for _, address in found.hits
        ]

    def rarities(self, words: Iterable[str]) -> dict[str, float]:
        """How much each folded word tells: its inverse document frequency."""
        counted = self._view.counted
        return {word: queries.rarity(counted, word) for word in words}

    def frequency(self, word: str) -> int:
        """How many contents have a folded word, counted where most have it; removed ones may count for a while."""
        return queries.frequency(self._view.counted, word)

    def close(self) -> None:
        """Finish background merges; no writes afterwards."""
        with self._writing:
            self._writer.wait_merging_threads()

    def _note(self, content_id: UUID, revision: int | None) -> int | None:
        """Keep the revision of what is applied (None: it is taken out), and give the one before."""
        before = self._revisions.pop(content_id, None)
        if before is not None:
            self._checksum ^= checksum_of(content_id, before)
        if revision is not None:
            self._revisions[content_id] = revision
            self._checksum ^= checksum_of(content_id, revision)
        return before

    def _asked(self, view: _View, query: QueryText, *, strict: bool) -> tantivy.Query:
        """The query, built once: a search is followed by counting what it finds."""
        asked = view.built.get((query, strict))
        if asked is None:
            if len(view.built) >= BUILT_QUERIES:
                view.built.clear()
            asked = view.built[query, strict] = queries.build(
                self._schema, view.counted, query, strict=strict
            )
        return asked

    def _page(self, view: _View, asked: tantivy.Query, *, offset: int, limit: int, strict: bool) -> TextHits:
        found = view.searcher.search(asked, limit, count=True, offset=offset, weight_by_field="prior")
        ids = self._ids(view, [address for _, address in found.hits])
        hits = tuple(
            TextHit(content_id, score) for content_id, (score, _) in zip(ids, found.hits, strict=True)
        )
        total: int = found.count  # type: ignore[attr-defined]  # missing in the library's stubs
        return TextHits(hits, total, strict=strict)

    def _places(self, view: _View, content_ids: Sequence[UUID]) -> dict[UUID, tantivy.DocAddress]:
        """Where the documents of those ids are that the index has, in the order of the ids."""
        if missing := [content_id for content_id in content_ids if content_id not in view.places]:
            # Nothing is given twice: an id is deleted and added again in one commit.
            found = view.searcher.search(these(self._schema, missing), len(missing), count=False)
            self._ids(view, [address for _, address in found.hits])
        return {one: view.places[one] for one in content_ids if one in view.places}

    @staticmethod
    def _ids(view: _View, addresses: list[tantivy.DocAddress]) -> list[UUID]:
        """Their ids; where they are is kept, since what was found is asked for again."""
        highs = view.searcher.fast_field_values("id_high", addresses)
        lows = view.searcher.fast_field_values("id_low", addresses)
        ids = [join_id(int(high or 0), int(low or 0)) for high, low in zip(highs, lows, strict=True)]
        view.places.update(zip(ids, addresses, strict=True))
        return ids


def _stored(document: tantivy.Document, name: str) -> bytes:
    """A stored field that every document has."""
    kept = document.get_first(name)
    assert kept is not None
    return bytes(kept)
