"""GitHub: OAuth 2 without OpenID, so that who somebody is must be asked for with the token."""

from typing import Any
from urllib.parse import urlencode

from media_gateway.auth.social.asking import Asking, Claimed
from media_gateway.auth.social.client import ProviderClient
from media_gateway.auth.social.providers import ProviderConfig


class GitHubProvider:
    """`SocialProvider` by GitHub's web flow and its API for users."""

    def __init__(self, config: ProviderConfig) -> None:
        self._config = config
        self._client = ProviderClient(config)

    @property
    def name(self) -> str:
        """Its name in addresses."""
        return self._config.name

    @property
    def title(self) -> str:
        """Its name among people."""
        return self._config.title

    @property
    def posts_back(self) -> bool:
        """It comes back by an address."""
        return False

    async def address(self, asking: Asking) -> str:
        """Where the browser is sent."""
        query = {
            "client_id": self._config.client_id,
            "redirect_uri": asking.redirect_uri,
            "scope": " ".join(self._config.scopes),
            "state": asking.state,
            "code_challenge": asking.challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._config.authorization_endpoint}?{urlencode(query)}"

    async def person(self, code: str, asking: Asking) -> Claimed:
        """Who it is; raises ProviderRefusedError, ProviderAwayError."""
        config = self._config
        assert config.token_endpoint is not None
        assert config.user_endpoint is not None
        assert config.emails_endpoint is not None
        answer = await self._client.redeem(config.token_endpoint, code, asking, basic=False)
        token = answer.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self._client.refused("there was no token")
        headers = {"Authorization": f"Bearer {token}"}
        user = await self._client.read(config.user_endpoint, headers)
        emails = await self._client.read(config.emails_endpoint, headers)
        # The login may be given to somebody else one day; the number is not.
        number = user.get("id") if isinstance(user, dict) else None
        if not isinstance(number, int):
            raise self._client.refused("the user has no id")
        email = _verified_email(emails)
        return Claimed(
            id=str(number),
            email=email,
            email_verified=email is not None,
            name=str(user.get("name") or user.get("login") or ""),
        )

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()


def _verified_email(emails: Any) -> str | None:
    """The main verified address, or else the first one."""
    listed = emails if isinstance(emails, list) else []
    verified = [
        one
        for one in listed
        if isinstance(one, dict) and one.get("verified") is True and isinstance(one.get("email"), str)
    ]
    verified.sort(key=lambda one: one.get("primary") is not True)
    return str(verified[0]["email"]) if verified else None
