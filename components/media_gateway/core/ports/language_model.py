"""Port to a language model that answers in JSON. Backend adapter: `openai:` (any compatible server)."""

from typing import Any, Protocol


class LanguageModel(Protocol):
    """Instructions and a text to a JSON object."""

    @property
    def model(self) -> str:
        """Name of the model."""

    async def answer(self, instructions: str, text: str) -> dict[str, Any]:
        """What the model makes of a text, as the JSON object that the instructions ask for.

        Raises
        ------
        UnavailableError, DeadlineExceededError, RateLimitedError
            The server can't be reached, is too slow, or asks to wait.
        NotConfiguredError
            It does not know the model or refuses the key.
        UpstreamError
            It answers with something else than a JSON object.
        """

    async def close(self) -> None:
        """Close the connections."""
