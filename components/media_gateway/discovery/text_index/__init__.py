"""The text leg of search: an in-memory BM25 index; the only package that imports tantivy."""

from media_gateway.discovery.text_index.analysis import QueryText, analyse, decade_of
from media_gateway.discovery.text_index.facets import FacetValue, Summary
from media_gateway.discovery.text_index.index import TextHit, TextHits, TextIndex
from media_gateway.discovery.text_index.query import DESCRIPTION_WORDS, certainty
from media_gateway.discovery.text_index.reasons import match_reasons
from media_gateway.discovery.text_index.schema import stems
from media_gateway.discovery.text_index.wording import Wording

__all__ = [
    "DESCRIPTION_WORDS",
    "FacetValue",
    "QueryText",
    "Summary",
    "TextHit",
    "TextHits",
    "TextIndex",
    "Wording",
    "analyse",
    "certainty",
    "decade_of",
    "match_reasons",
    "stems",
]
