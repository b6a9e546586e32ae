"""The text index: contents in, ranked ids out. In memory, one a process, built from the database.

Called from threads (the library releases the GIL): by the index feed's single writer thread and by search threads at
the same time. Must not read the database or the bus.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import tantivy

from media_gateway.core.domain.vectors import VectorFilter
from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.text_index import query as queries
from media_gateway.discovery.text_index.analysis import QueryText
from media_gateway.discovery.text_index.schema import build_schema, document_of, join_id, register_tokenizers

WRITER_HEAP_BYTES = 15_000_000
"""Least the library accepts for one thread; a batch is far smaller."""


@dataclass(frozen=True, slots=True)
class TextHit:
    """A found content and its raw score, comparable within one query only."""

    content_id: UUID
    score: float


@dataclass(frozen=True, slots=True)
class TextHits:
    """One page of hits, best first, and how many contents match in all."""

    hits: tuple[TextHit, ...]
    total: int


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

    def __len__(self) -> int:
        return len(self._revisions)

    def apply(self, contents: Sequence[IndexedContent], removed: Sequence[UUID] = ()) -> None:
        """Put contents in, in place of what was there under their ids, and take others out. Seen after `commit`."""
        with self._writing:
            for content in contents:
                if content.content_id in self._revisions:
                    self._writer.delete_documents_by_term("id", str(content.content_id))
                self._writer.add_document(document_of(content))
                self._revisions[content.content_id] = content.revision
            for content_id in removed:
                if self._revisions.pop(content_id, None) is not None:
                    self._writer.delete_documents_by_term("id", str(content_id))

    def commit(self) -> None:
        """Let readers see what was applied."""
        with self._writing:
            self._writer.commit()
            self._index.reload()

    def differing(self, catalogue: Mapping[UUID, int]) -> list[UUID]:
        """Ids whose revision here is not that of the catalogue, those missing on either side included."""
        with self._writing:
            stale = [key for key, revision in catalogue.items() if self._revisions.get(key) != revision]
            return stale + [key for key in self._revisions if key not in catalogue]

    def search(self, query: QueryText, where: VectorFilter, *, offset: int, limit: int) -> TextHits:
        """Contents that match, best first.

        Most of the words must be found; if no content has most of them, those with any of them are given.
        """
        searcher = self._index.searcher()
        found = TextHits((), 0)
        for strict in (True, False):
            asked = queries.build(self._schema, searcher, query, strict=strict)
            asked = queries.filtered(self._schema, asked, where)
            found = self._page(searcher, asked, offset=offset, limit=limit)
            if found.total or len(query.terms) < 2:
                break
        return found

    def contents(self, content_ids: Sequence[UUID]) -> dict[UUID, IndexedContent]:
        """What the index keeps of those ids that it has."""
        if not content_ids:
            return {}
        searcher = self._index.searcher()
        ids = [str(content_id) for content_id in content_ids]
        asked = tantivy.Query.term_set_query(self._schema, "id", ids)
        # Nothing is given twice: an id is deleted and added again in one commit.
        found = searcher.search(asked, len(ids), count=False)
        cards = (searcher.doc(address).get_first("card") for _, address in found.hits)
        kept = (IndexedContent.from_bytes(bytes(card)) for card in cards if card is not None)
        return {content.content_id: content for content in kept}

    def close(self) -> None:
        """Finish background merges; no writes afterwards."""
        with self._writing:
            self._writer.wait_merging_threads()

    @staticmethod
    def _page(searcher: tantivy.Searcher, asked: tantivy.Query, *, offset: int, limit: int) -> TextHits:
        found = searcher.search(asked, limit, count=True, offset=offset, weight_by_field="prior")
        addresses = [address for _, address in found.hits]
        highs = searcher.fast_field_values("id_high", addresses)
        lows = searcher.fast_field_values("id_low", addresses)
        hits = tuple(
            TextHit(join_id(int(high or 0), int(low or 0)), score)
            for (score, _), high, low in zip(found.hits, highs, lows, strict=True)
        )
        total: int = found.count  # type: ignore[attr-defined]  # missing in the library's stubs
        return TextHits(hits, total)
