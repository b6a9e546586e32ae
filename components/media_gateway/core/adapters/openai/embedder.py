"""The `Embedder` over an OpenAI-compatible server (OpenAI, vLLM, Text Embeddings Inference, Ollama, llama.cpp …).

Wire format: platform.openai.com/docs/api-reference/embeddings. Bootstrap makes one for each process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from media_gateway.core.domain.vectors import check_texts
from media_gateway.core.errors import (
    MediaGatewayError,
    NotConfiguredError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)
from media_gateway.core.http_client import Call, HttpClient, Limits
from media_gateway.core.settings import PREFIX

INPUTS_PER_CALL = 128
"""Texts of one request. OpenAI takes 2,048, self-hosted servers often far fewer."""

DEFAULT_TIMEOUT_MS = 30_000
"""Longest one request may take: 128 texts on a server without GPU."""


@dataclass(frozen=True, slots=True)
class Address:
    """Server and model of an ``openai:`` URL.

    Attributes
    ----------
    base_url : str
        Address that ``/embeddings`` is joined to.
    model, dimension : str, int
        What to ask for, and the length of the vectors that come.
    shorten : bool
        Whether the request asks for that dimension (the server's ``dimensions`` parameter); only some models know it.
    timeout_ms : int
        Longest one request may take.
    """

    base_url: str
    model: str
    dimension: int
    shorten: bool
    timeout_ms: int

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read ``openai[+http]://host[:port]/path?model=…&dimension=…[&shorten=true][&timeout_ms=…]``.

        Raises
        ------
        NotConfiguredError
            A part is missing or wrong.
        """
        parts = urlsplit(url)
        try:
            options = dict(parse_qsl(parts.query, strict_parsing=True))
            scheme = "http" if parts.scheme.endswith("+http") else "https"
            address = cls(
                base_url=urlunsplit((scheme, parts.netloc, parts.path, "", "")),
                model=options.pop("model"),
                dimension=int(options.pop("dimension")),
                shorten={"true": True, "false": False}[options.pop("shorten", "false")],
                timeout_ms=int(options.pop("timeout_ms", DEFAULT_TIMEOUT_MS)),
            )
        except (ValueError, KeyError) as error:
            raise _malformed("needs model and dimension; an option is missing or wrong") from error
        if not parts.hostname or options or address.dimension < 1 or address.timeout_ms < 1:
            raise _malformed(
                f"unknown option {min(options)!r}" if options else "a part is missing or too small"
            )
        return address


def _malformed(problem: str) -> NotConfiguredError:
    example = f"{PREFIX}EMBEDDER_URL=openai://host/v1?model=text-embedding-3-small&dimension=1536"
    return NotConfiguredError(f"{PREFIX}EMBEDDER_URL: {problem}; example: {example}")


class OpenAIEmbedder:
    """A model behind an OpenAI-compatible server.

    Failed requests are repeated as `HttpClient` does it, at the earliest when the server's ``Retry-After`` says so.

    Parameters
    ----------
    url
        See `Address.parse`.
    api_key
        Sent as bearer token, if the server wants one.
    """

    def __init__(self, url: str, *, api_key: str | None = None) -> None:
        self._address = Address.parse(url)
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        limits = Limits(timeout_ms=self._address.timeout_ms)
        self._http = HttpClient("embedder", self._address.base_url, limits=limits)
        self._closed = False

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._address.model

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._address.dimension

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, in the order given.

        Returns
        -------
        ndarray
            Shape (len(texts), dimension) float32, rows L2-normalised.

        Raises
        ------
        UnavailableError, DeadlineExceededError, RateLimitedError
            The server can't be reached, is too slow, or asks to wait.
        NotConfiguredError
            It does not know the model or refuses the key.
        InvalidInputError
            It refuses a text, or a text is not valid Unicode.
        UpstreamError
            It answers with something else than that many vectors of that dimension.
        """
        if self._closed:
            raise UnavailableError("the embedder is closed")
        check_texts(texts)
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for start in range(0, len(texts), INPUTS_PER_CALL):
            piece = texts[start : start + INPUTS_PER_CALL]
            vectors[start : start + len(piece)] = await self._embed_piece(piece)
        return vectors

    async def ping(self) -> None:
        """Return if the server embeds a word."""
        await self.embed(["ping"])

    async def close(self) -> None:
        """Close the connections; further calls raise `UnavailableError`."""
        self._closed = True
        await self._http.close()

    async def _embed_piece(self, texts: Sequence[str]) -> NDArray[np.float32]:
        body: dict[str, Any] = {
            "model": self.model,
            # An empty input is an error for these servers; a blank is what is nearest.
            "input": [text or " " for text in texts],
            "encoding_format": "float",
        }
        if self._address.shorten:
            body["dimensions"] = self.dimension
        call = Call(json=body, headers=self._headers, repeatable=True)
        try:
            answer = await self._http.request("POST", "/embeddings", call)
        except (UnauthenticatedError, PermissionDeniedError) as error:
            raise NotConfiguredError(f"the embedding server refused {PREFIX}EMBEDDER_API_KEY") from error
        except NotFoundError as error:
            raise NotConfiguredError("the embedding server knows no such model or address") from error
        except UpstreamError as error:
            if error.details.get("status", 0) < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise UnavailableError("the embedding server failed") from error
        return _read_vectors(answer.json(), count=len(texts), dimension=self.dimension)


def _read_vectors(answer: Any, *, count: int, dimension: int) -> NDArray[np.float32]:
    """Vectors of an answer by their ``index``, normalised."""
    vectors = np.full((count, dimension), np.nan, np.float32)
    try:
        for item in answer["data"]:
            place = item["index"]
            if not 0 <= place < count:
                raise _unusable(f"an index {place} for {count} texts")
            vectors[place] = _of_length(item["embedding"], dimension)
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable("something that is no list of embeddings") from error
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
        raise _unusable("vectors that are missing, zero or not finite")
    return np.asarray(vectors / lengths, np.float32)


def _of_length(embedding: list[float], dimension: int) -> list[float]:
    if len(embedding) != dimension:
        raise _unusable(f"vectors of {len(embedding)} dimensions where {dimension} are configured")
    return embedding


def _unusable(what: str) -> MediaGatewayError:
    return UpstreamError(f"the embedding server answered {what}")
