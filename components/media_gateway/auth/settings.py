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

    @property
    def is_https(self) -> bool:
        """Whether cookies may be limited to encrypted connections."""
        return self.public_url.startswith("https://")
