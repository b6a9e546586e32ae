import orjson
from aiohttp import web

from media_gateway.auth.oauth_answers import oauth_answer
from media_gateway.auth.oauth_errors import OAuthError
from media_gateway.core.errors import RateLimitedError, UnauthenticatedError


def read(answer: web.Response) -> tuple[int, str]:
    assert isinstance(answer.body, bytes)
    return answer.status, orjson.loads(answer.body)["error"]


def test_over_a_limit_a_poll_is_told_to_slow_down_and_for_how_long():
    answer = oauth_answer(
        RateLimitedError("too many requests", retry_after_ms=4_200, details={"violated-policies": ["poll"]})
    )
    assert read(answer) == (429, "slow_down")
    assert answer.headers["Retry-After"] == "5"


def test_other_requests_over_a_limit_are_not_told_to_slow_down():
    assert read(oauth_answer(RateLimitedError("too many"))) == (429, "rate_limit_exceeded")


def test_what_a_poll_waits_for_is_no_failure_of_the_server():
    assert read(oauth_answer(OAuthError("slow_down", "polls must be 10 s apart"))) == (400, "slow_down")


def test_a_bad_token_is_answered_with_its_challenge():
    answer = oauth_answer(
        UnauthenticatedError("the token is expired", details={"challenge": 'Bearer error="x"'})
    )
    assert read(answer) == (401, "invalid_token")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="x"'
    assert answer.headers["Cache-Control"] == "no-store"
