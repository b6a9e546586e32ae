"""What search owes to who asks: an order of one's own, and limits that no request can widen."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from media_gateway.core.tokens import mint_token
from media_gateway.discovery.cache.keys import KEY_VERSION
from tests.support.discovery import SECRET, Discovery, running_discovery
from tests.support.films import Film, Offer, save
from tests.support.sona import Sona, running_sona

FILMS = (
    Film(
        title="Quiet Night",
        genres=("horror",),
        maturity_rating="R",
        popularity_score=0.9,
        offerings=(Offer(platform="mubi", available_until=datetime.now(UTC) + timedelta(days=2)),),
    ),
    Film(title="Quiet Day", genres=("horror", "comedy"), maturity_rating="PG", popularity_score=0.8),
    Film(title="Quiet Evening", genres=("horror",), maturity_rating="PG-13", popularity_score=0.7),
    Film(title="Quiet Noon", genres=("horror",), popularity_score=0.6),
    Film(
        title="Quiet",
        genres=("drama",),
        maturity_rating="G",
        popularity_score=0.1,
        offerings=(Offer(platform="mubi", available_until=datetime.now(UTC) + timedelta(days=3)),),
    ),
)
HORROR = ["Quiet Night", "Quiet Day", "Quiet Evening", "Quiet Noon"]


@pytest.fixture
def sona() -> Sona:
    return Sona()


@pytest.fixture
async def discovery(database, database_url, redis_url, sona) -> AsyncIterator[Discovery]:
    await save(database, *FILMS)
    async with (
        running_sona(sona) as sona_url,
        running_discovery(database_url, redis_url, sona_url=sona_url) as running,
    ):
        await running.holds(len(FILMS))
        yield running


def bearer(subject: str = "user-1", **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {mint_token(SECRET, subject, more=claims)}"}


async def search(
    discovery: Discovery, query: str, headers: dict[str, str] | None = None, **more: Any
) -> tuple[list[str], dict[str, Any], str]:
    """Titles, the answer, and what the cache did; asked again where Redis was slow for a moment."""
    for _ in range(20):
        request = discovery.session.post(
            f"{discovery.url}/api/v1/search", json={"query": query, **more}, headers=headers
        )
        async with request as response:
            assert response.status == 200, await response.text()
            answer, state = await response.json(), response.headers["X-Cache"]
        if state != "BYPASS":
            break
    return [result["content"]["title"] for result in answer["results"]], answer, state


async def test_a_known_caller_gets_an_order_of_ones_own_and_nobody_else_gets_it(discovery, sona):
    plain, answer, _ = await search(discovery, "horror films")
    assert (plain, answer["personalised"]) == (HORROR, False)
    own, answer, state = await search(discovery, "horror films", bearer(), variant="aggressive")
    assert (own, answer["personalised"], state) == (HORROR[::-1], True, "MISS")
    assert answer["results"][0]["personal_score"] == 0.003
    assert (await search(discovery, "horror films", bearer(), variant="aggressive"))[2] == "HIT"
    # Another user is asked for anew; everybody without a token shares the plain one.
    assert (await search(discovery, "horror films", bearer("user-2"), variant="aggressive"))[2] == "MISS"
    assert (await search(discovery, "horror films"))[2] == "HIT"


async def test_a_variant_without_weight_asks_nobody_and_shares_the_plain_answer(discovery, sona):
    first, _, _ = await search(discovery, "horror films", variant="control")
    own, answer, state = await search(discovery, "horror films", bearer(), variant="control")
    assert (own, answer["personalised"], state) == (first, False, "HIT")
    assert sona.asked == []


async def test_taste_moves_no_whole_title(discovery):
    found, _, _ = await search(discovery, "quiet", bearer(), variant="aggressive")
    assert found[0] == "Quiet"


@pytest.mark.parametrize("trouble", ["hangs", "nonsense"])
async def test_without_sona_the_order_is_the_plain_one_and_soon_asked_for_again(
    discovery, sona, redis, trouble
):
    sona.hangs, sona.answer = trouble == "hangs", {"scores": "none"} if trouble == "nonsense" else None
    found, answer, _ = await search(discovery, "horror films", bearer(), explain=True)
    assert (found, answer["personalised"], answer["degraded"]) == (HORROR, False, True)
    assert "personal" in answer["explanation"]["missing"]
    lives = [await redis.client.pttl(key) async for key in redis.client.scan_iter(f"search:{KEY_VERSION}:*")]
    assert len(lives) == 1
    # A degraded answer is fresh for a minute.
    assert lives[0] <= 120_000


async def test_limits_of_a_profile_hold_on_every_path(discovery):
    limited = bearer(content_rating_limit="PG-13")
    assert sorted((await search(discovery, "horror films", limited))[0]) == ["Quiet Day", "Quiet Evening"]
    assert (await search(discovery, "quiet night", limited))[0][:1] != ["Quiet Night"]
    for path in (
        "/api/v1/content/popular",
        "/api/v1/content/popular?window=week",
        "/api/v1/content/trending",
        f"/api/v1/content/{FILMS[1].id}/similar",
        "/api/v1/content/expiring",
    ):
        _, answer = await discovery.get(path, headers=limited)
        titles = {item.get("content", item)["title"] for item in answer["results"]}
        assert titles
        assert titles <= {"Quiet Day", "Quiet Evening", "Quiet"}
    _, answer = await discovery.get("/api/v1/search/autocomplete?q=quiet", headers=limited)
    assert {one["text"] for one in answer["suggestions"]} == {"Quiet", "Quiet Day", "Quiet Evening"}


async def test_what_limits_leave_out_is_not_shown_by_its_id_either(discovery):
    limited = bearer(content_rating_limit="PG-13")
    seen: dict[str, set[tuple[int, str | None]]] = {}
    for film in FILMS:
        for path in (f"/api/v1/content/{film.id}", f"/api/v1/content/{film.id}/availability"):
            status, answer = await discovery.get(path, headers=limited)
            assert (await discovery.get(path))[0] == 200
            seen.setdefault(film.title, set()).add((status, answer.get("code")))
    shown = {title for title, answers in seen.items() if answers == {(200, None)}}
    hidden = {title for title, answers in seen.items() if answers == {(403, "permission_denied")}}
    assert shown == {"Quiet Day", "Quiet Evening", "Quiet"}
    assert shown | hidden == {film.title for film in FILMS}


async def test_a_request_can_narrow_limits_and_never_widen_them(discovery):
    limited = bearer(content_rating_limit="PG-13", blocked_genres=["comedy"])
    wider = {"content_rating_limit": "NC-17", "blocked_genres": []}
    assert (await search(discovery, "horror films", limited, filters=wider))[0] == ["Quiet Evening"]
    narrower = {"content_rating_limit": "PG"}
    assert (await search(discovery, "horror films", bearer(content_rating_limit="PG-13"), filters=narrower))[
        0
    ] == ["Quiet Day"]


async def test_who_may_see_less_never_gets_the_answer_of_who_may_see_more(discovery):
    assert (await search(discovery, "horror films", bearer()))[0] != []
    found, _, state = await search(discovery, "horror films", bearer(content_rating_limit="PG"))
    assert (found, state) == (["Quiet Day"], "MISS")


@pytest.mark.parametrize(
    "claims",
    [{"content_rating_limit": "EVERYTHING"}, {"content_rating_limit": 3}, {"blocked_genres": "horror"}],
)
async def test_limits_that_mean_nothing_are_an_error_and_no_freedom(discovery, claims):
    request = discovery.session.post(
        f"{discovery.url}/api/v1/search", json={"query": "horror"}, headers=bearer(**claims)
    )
    async with request as response:
        assert response.status == 401
        assert next(iter(claims)) in await response.text()


async def test_a_bad_token_is_an_error_and_nobody_anonymous(discovery):
    request = discovery.session.post(
        f"{discovery.url}/api/v1/search",
        json={"query": "horror"},
        headers={"Authorization": "Bearer made.up"},
    )
    async with request as response:
        assert response.status == 401
