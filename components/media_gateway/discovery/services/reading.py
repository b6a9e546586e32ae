"""Understanding a query: by rules, by a language model where there is one, and never so that nothing is left.

Used by the search service.
"""

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import structlog

from media_gateway.core.errors import MediaGatewayError
from media_gateway.discovery.catalogue_words import CatalogueWords
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.model_reader import TIMEOUT_MS, ModelReader, understood
from media_gateway.discovery.text_index import TextIndex, analyse
from media_gateway.discovery.understanding import Facts, Reader, Understanding

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A query as it is searched.

    Attributes
    ----------
    relaxed : Facts
        What it asks for and nothing fulfils; let go.
    whole : bool
        False if the language model should have read it, too, and could not.
    """

    understood: Understanding
    relaxed: Facts
    whole: bool = True


class QueryReading:
    """Understands queries.

    Parameters
    ----------
    model
        None where no language model is configured.
    threads
        Where the index is asked, beside the event loop.
    """

    def __init__(self, index: TextIndex, threads: Executor, model: ModelReader | None) -> None:
        self._index = index
        self._threads = threads
        self._model = model

    async def read(self, text: str, where: SearchFilter) -> Read:
        """What a query asks for beside a filter."""
        loop = asyncio.get_running_loop()
        read = await loop.run_in_executor(self._threads, self._by_rules, text, where)
        if self._model is None or not self._model.is_worth_asking(read.understood):
            return read
        try:
            async with asyncio.timeout(TIMEOUT_MS / 1000):
                answer = await self._model.ask(text)
        except (MediaGatewayError, TimeoutError) as error:
            _log.info("a query was read by rules alone", problem=str(error) or "the model took too long")
            return replace(read, whole=False)
        return await loop.run_in_executor(self._threads, self._by_model, text, where, answer, read)

    def _by_rules(self, text: str, where: SearchFilter) -> Read:
        return self._possible(Reader(CatalogueWords(self._index)).read(text), text, where)

    def _by_model(self, text: str, where: SearchFilter, answer: dict[str, object], by_rules: Read) -> Read:
        lexicon = CatalogueWords(self._index)
        by_model = understood(text, answer, lexicon)
        if by_model is None or lexicon.is_title(analyse(text)):
            return by_rules
        return self._possible(by_model, text, where)

    def _possible(self, read: Understanding, text: str, where: SearchFilter) -> Read:
        """The reading, without conditions that nothing fulfils together."""
        if read.is_plain:
            return Read(understood=read, relaxed=Facts())
        narrowed = where.narrowed(read.words.kind or read.where)
        if not self._index.has_any(narrowed):
            return without_conditions(read, text)
        if read.words.kind is not None:
            read = replace(read, words=replace(read.words, kind=narrowed))
        return Read(understood=read, relaxed=Facts())


def without_conditions(read: Understanding, text: str) -> Read:
    """The words and the references alone; the conditions are let go."""
    references = Facts(references=read.asked.references)
    words = read.words if references else analyse(text)
    return Read(
        understood=Understanding(words=words, asked=references, by=read.by),
        relaxed=replace(read.asked, references=()),
    )
