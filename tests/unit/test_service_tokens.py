"""Claims about the tokens of services."""

import jwt
import pytest

from media_gateway.core.errors import NotConfiguredError, UnauthenticatedError
from media_gateway.core.service_tokens import mint_internal, verify_internal
from media_gateway.core.tokens import TokenVerifier, mint_token

SECRET = "a secret of the tests, at least thirty-two bytes long"
OTHER = "another secret of the tests, as long as the first one"


def test_a_service_is_known_by_its_token():
    assert verify_internal(SECRET, mint_internal(SECRET, "gateway")) == "gateway"


def signed(typ: str = "service+jwt", algorithm: str = "HS256", **claims: object) -> str:
    whole = {"aud": "internal", "sub": "gateway", "iat": 1, "exp": 4_000_000_000, **claims}
    key = "" if algorithm == "none" else SECRET
    return jwt.encode(
        {n: v for n, v in whole.items() if v is not None}, key, algorithm=algorithm, headers={"typ": typ}
    )


@pytest.mark.parametrize(
    "token",
    [
        "",
        "true",
        SECRET,
        "é" * 50,
        "x" * 10_000,
        mint_internal(OTHER, "gateway"),
        mint_internal(SECRET, "gateway", ttl_s=-3600),
        mint_token(SECRET, "user-1"),
        mint_token(SECRET, "user-1", audience="internal"),  # an access token, whatever its audience
        signed(typ="at+jwt"),
        signed(algorithm="none"),
        signed(algorithm="HS384"),
        signed(aud="media-gateway"),
        signed(exp=None),
        signed(sub=None),
        signed(sub=""),
    ],
)
def test_everything_else_is_refused(token):
    with pytest.raises(UnauthenticatedError) as caught:
        verify_internal(SECRET, token)
    assert not token or token not in caught.value.message


async def test_it_is_no_access_token():
    verifier = TokenVerifier(issuer="media-gateway", audience="internal", secret=SECRET)
    with pytest.raises(UnauthenticatedError, match="not an access token"):
        await verifier.verify(mint_internal(SECRET, "gateway"))


def test_a_short_secret_signs_nothing():
    with pytest.raises(NotConfiguredError):
        mint_internal("short", "gateway")
