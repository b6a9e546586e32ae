"""Settings of auth: those of core and these. Read once, at start."""

from pydantic import Field

from media_gateway.core.settings import CoreSettings


class Settings(CoreSettings):
    """How people and programs sign in."""

    public_url: str = Field(
        default="http://127.0.0.1:8084",
        pattern=r"^https?://[^/?#@\s]+$",
        description="Address under which people and programs reach auth, without a path: the issuer of its tokens, and where "
        "TVs send people to. Other services name it as the issuer that they expect.",
        examples=["https://media.example"],
    )
    browser_session_h: float = Field(
        default=12.0,
        gt=0,
        le=720,
        description="How long a browser stays signed in to the pages of auth, in hours.",
        examples=["12"],
    )

    device_code_s: float = Field(
        default=900.0,
        ge=1,
        le=3_600,
        description="Life of the codes that a TV shows, in seconds. Short, since a code that nobody uses can be guessed.",
        examples=["900"],
    )
    device_poll_s: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="Least time between two polls of a TV, in seconds (RFC 8628 section 3.2).",
        examples=["5"],
    )
    device_guesses: int = Field(
        default=5,
        ge=1,
        le=1_000,
        description="Wrong user codes in ten minutes, from one person and from one address, until no more are looked at.",
        examples=["5"],
    )
    device_guesses_of_all: int = Field(
        default=500,
        ge=1,
        le=1_000_000,
        description="Wrong user codes in ten minutes, from everybody together, until no more are looked at. "
        "500 with 5,000 live codes hit one with a probability of 1 in 10,000.",
        examples=["500"],
    )

    @property
    def is_https(self) -> bool:
        """Whether cookies may be limited to encrypted connections."""
        return self.public_url.startswith("https://")
