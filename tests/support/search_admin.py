"""An administrator of a running discovery, and people who search with and without a token."""

from dataclasses import dataclass
from typing import Any

from media_gateway.core.tokens import mint_token
from media_gateway.discovery.activity_schemas import SEARCH_ID
from tests.support.discovery import SECRET, Discovery

RANKING = "/api/v1/admin/search/ranking"


@dataclass(frozen=True)
class Answer:
    """An answer with its document."""

    status: int
    document: Any
    etag: str | None

    @property
    def fields(self) -> list[str]:
        """Names of the fields that a problem document complains about."""
        return [error["field"] for error in self.document.get("errors", [])]


class Admin:
    """Sends requests with the scope ``admin``."""

    def __init__(self, discovery: Discovery, subject: str = "admin-1") -> None:
        self._discovery = discovery
        self._token = mint_token(SECRET, subject, scopes=frozenset({"admin"}))

    async def send(self, method: str, path: str, body: Any = None, *, seen: str | None = None) -> Answer:
        """Send a request; ``seen`` is the ``If-Match`` header."""
        headers = {"Authorization": f"Bearer {self._token}"}
        if seen is not None:
            headers["If-Match"] = seen
        request = self._discovery.session.request(
            method, self._discovery.url + path, json=body, headers=headers
        )
        async with request as response:
            document = await response.json(content_type=None) if response.status != 204 else None
            return Answer(response.status, document, response.headers.get("ETag"))

    async def get(self, path: str) -> Any:
        """The document at a path."""
        answer = await self.send("GET", path)
        assert answer.status == 200, answer
        return answer.document

    async def put_variant(self, name: str, settings: Any, **more: Any) -> Answer:
        """Store a variant, from whatever state there is."""
        return await self.send("PUT", f"{RANKING}/variants/{name}", settings, **({"seen": "*"} | more))


class Person:
    """Somebody who searches and clicks; without a subject, without a token; ``address`` is what a proxy says of him."""

    def __init__(
        self,
        discovery: Discovery,
        subject: str | None = None,
        agent: str = "tests",
        address: str | None = None,
    ) -> None:
        self._discovery = discovery
        self._headers = {"User-Agent": agent}
        if address is not None:
            self._headers["X-Forwarded-For"] = address
        if subject is not None:
            self._headers["Authorization"] = f"Bearer {mint_token(SECRET, subject)}"

    async def search(self, query: str, **more: Any) -> tuple[str, dict[str, Any]]:
        """Search; the id of the search and its answer."""
        request = self._discovery.session.post(
            f"{self._discovery.url}/api/v1/search", json={"query": query, **more}, headers=self._headers
        )
        async with request as response:
            assert response.status == 200, await response.text()
            return response.headers[SEARCH_ID], await response.json()

    async def click(self, search_id: str, content_id: object, position: Any = 1) -> int:
        """Tell of a click; the status."""
        body = {"search_id": search_id, "content_id": str(content_id), "position": position}
        request = self._discovery.session.post(
            f"{self._discovery.url}/api/v1/search/clicks", json=body, headers=self._headers
        )
        async with request as response:
            return response.status
