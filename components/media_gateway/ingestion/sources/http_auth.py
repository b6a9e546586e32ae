"""Credentials of HTTP sources: put on requests, kept out of addresses that are stored or logged."""

import base64
from collections.abc import Mapping

from yarl import URL

from media_gateway.core.domain.specs import HttpAuth
from media_gateway.core.errors import NotConfiguredError
from media_gateway.ingestion.sources.secret_values import Secrets


class Credentials:
    """What a source wants to see.

    Parameters
    ----------
    auth
        Kind and secret; None for an open source.
    secrets
        Where the secret is found, now: a missing one is told before the first request.

    Raises
    ------
    NotConfiguredError
        The secret is missing, or can't stand in a header.
    """

    def __init__(self, auth: HttpAuth | None, secrets: Secrets) -> None:
        self._auth = auth
        self._value = secrets.value(auth.secret_ref) if auth is not None else ""
        if any(ord(c) < 32 or ord(c) == 127 for c in self._value):
            raise NotConfiguredError("spec.source.http.auth.secretRef: the secret holds control characters")

    def applied(self, url: URL, headers: Mapping[str, str]) -> tuple[URL, dict[str, str]]:
        """Address and headers to send."""
        sent = dict(headers)
        if self._auth is None:
            return url, sent
        name = self._auth.name or ""
        match self._auth.type:
            case "Bearer":
                sent["Authorization"] = f"Bearer {self._value}"
            case "Header":
                sent[name] = self._value
            case "Basic":
                sent["Authorization"] = f"Basic {base64.b64encode(f'{name}:{self._value}'.encode()).decode()}"
            case "Query":
                url = url.update_query({name: self._value})
        return url, sent

    @property
    def are_sent(self) -> bool:
        """Whether requests carry a secret."""
        return self._auth is not None

    def stripped(self, url: URL) -> URL:
        """The address without the secret."""
        if self._auth is not None and self._auth.type == "Query" and self._auth.name:
            return url.without_query_params(self._auth.name)
        return url
