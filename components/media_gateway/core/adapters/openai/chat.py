"""The `LanguageModel` over an OpenAI-compatible server (OpenAI, vLLM, Ollama, llama.cpp …).

Wire format: platform.openai.com/docs/api-reference/chat, in JSON mode. Bootstrap makes one where a component asks for it.
"""

from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import orjson

from media_gateway.core.breaker import BreakerPolicy, CircuitBreaker
from media_gateway.core.errors import (
    NotConfiguredError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UpstreamError,
)
from media_gateway.core.http_client import Call, HttpClient, Limits
from media_gateway.core.settings import PREFIX

ANSWER_BYTES = 65_536
"""Largest answer that is read; what is asked for has a few hundred bytes."""


class OpenAIChat:
    """A model behind an OpenAI-compatible server.

    Parameters
    ----------
    url
        ``openai[+http]://host[:port]/path?model=…``.
    name
        Setting that the URL is from, for messages.
    timeout_ms
        Longest one answer may take, in milliseconds. Nothing is asked twice: who waits has no time for it.
    """

    def __init__(self, url: str, *, name: str, timeout_ms: int, api_key: str | None = None) -> None:
        base_url, self._model = _parsed(url, name)
        self._name = name
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = HttpClient(
            "language model",
            base_url,
            limits=Limits(timeout_ms=timeout_ms, body_bytes=ANSWER_BYTES),
            breaker=CircuitBreaker("language model", BreakerPolicy(open_ms=30_000, slow_ms=timeout_ms // 2)),
        )

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._model

    async def answer(self, instructions: str, text: str) -> dict[str, Any]:
        """See `LanguageModel`."""
        body = {
            "model": self._model,
            "temperature": 0,
            "response_format": {"type": "json_object"},
            "messages": [
                {"role": "system", "content": instructions},
                {"role": "user", "content": text},
            ],
        }
        call = Call(json=body, headers=self._headers, repeatable=False, follow_redirects=False)
        try:
            answer = await self._http.request("POST", "/chat/completions", call)
        except (UnauthenticatedError, PermissionDeniedError) as error:
            raise NotConfiguredError(f"the language model refused the key of {PREFIX}{self._name}") from error
        except NotFoundError as error:
            raise NotConfiguredError(
                f"{PREFIX}{self._name}: the server knows no such model or address"
            ) from error
        try:
            found = orjson.loads(answer.json()["choices"][0]["message"]["content"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UpstreamError("the language model answered with something else than JSON") from error
        if not isinstance(found, dict):
            raise UpstreamError("the language model answered with something else than a JSON object")
        return found

    async def close(self) -> None:
        """See `LanguageModel`."""
        await self._http.close()


def _parsed(url: str, name: str) -> tuple[str, str]:
    """Address of the server, and the model's name."""
    parts = urlsplit(url)
    try:
        options = dict(parse_qsl(parts.query, strict_parsing=True))
        model = options.pop("model")
    except (ValueError, KeyError) as error:
        raise _malformed(name, "needs a model") from error
    if not parts.hostname or options:
        raise _malformed(name, f"unknown option {min(options)!r}" if options else "needs a host")
    scheme = "http" if parts.scheme.endswith("+http") else "https"
    return urlunsplit((scheme, parts.netloc, parts.path, "", "")), model


def _malformed(name: str, problem: str) -> NotConfiguredError:
    example = f"{PREFIX}{name}=openai://host/v1?model=gpt-4o-mini"
    return NotConfiguredError(f"{PREFIX}{name}: {problem}; example: {example}")
