"""A language model that reads queries: what it adds, and what becomes of searches when it is slow, broken or lies."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from media_gateway.core.adapters.openai import OpenAIChat
from media_gateway.core.errors import NotConfiguredError
from tests.support.chat import Chat, running_chat
from tests.support.discovery import Discovery, running_discovery
from tests.support.films import Film, save

QUERY = "the one where a man with a hat is lost at sea"
FILMS = (
    Film(title="Lost Hat", overview="A man with a hat is lost at sea.", release_year=1999, genres=("drama",)),
    Film(title="Old Hat", overview="A man with a hat is lost at sea.", release_year=1950, genres=("horror",)),
    Film(title="Hat Box", release_year=1950, genres=("comedy",), people=(("director", "Ada Known"),)),
)


@pytest.fixture
def chat() -> Chat:
    return Chat()


@pytest.fixture
async def discovery(database, database_url, redis_url, chat) -> AsyncIterator[Discovery]:
    await save(database, *FILMS)
    async with (
        running_chat(chat) as url,
        running_discovery(
            database_url, redis_url, query_parser_url=url, query_parser_api_key="sk-secret"
        ) as running,
    ):
        await running.holds(len(FILMS))
        yield running


def titles(answer: dict[str, Any]) -> list[str]:
    return [result["content"]["title"] for result in answer["results"]]


async def test_what_the_model_is_sure_of_becomes_conditions(discovery, chat):
    chat.says = {"year_to": 1960, "genres": ["horror"], "text": "man hat lost sea", "confidence": 0.9}
    answer = await discovery.search(QUERY)
    assert titles(answer) == ["Old Hat"]
    parsed = answer["query_parsed"]
    assert (parsed["by"], parsed["conditions"]["genres"], parsed["conditions"]["year_to"]) == (
        "model",
        [["horror"]],
        1960,
    )
    assert chat.asked == [(QUERY, "Bearer sk-secret")]


async def test_a_reading_is_kept_for_other_pages_and_filters(discovery, chat):
    chat.says = {"year_to": 1960, "confidence": 0.9}
    await discovery.search(QUERY)
    await discovery.search(QUERY, page=2)
    assert len(chat.asked) == 1


@pytest.mark.parametrize(
    "says",
    [
        {"year_to": 1960, "confidence": 0.5},
        {"genres": ["opera"], "directors": ["Nobody Ever"], "like": ["No Such Film"], "confidence": 1},
        {"genres": None, "actors": "everybody", "confidence": 1, "text": "hat"},
        {"year_from": 1990, "year_to": 1950, "confidence": 1},
        {"genres": ["comedy"], "year_to": 1900, "confidence": 1},
    ],
)
async def test_what_is_unsure_made_up_or_impossible_filters_nothing(discovery, chat, says):
    chat.says = says
    answer = await discovery.search(QUERY)
    assert sorted(titles(answer))[:2] in (["Hat Box", "Lost Hat"], ["Lost Hat", "Old Hat"])
    assert answer["query_parsed"]["conditions"] is None
    assert len(chat.asked) == 1


@pytest.mark.parametrize(
    "trouble", [web.Response(status=500), web.Response(status=429), web.Response(status=200, text="<html>")]
)
async def test_a_model_that_fails_leaves_the_rules_and_is_told(discovery, chat, trouble):
    chat.response = trouble
    answer = await discovery.search("man with a hat lost at sea from the 50s", explain=True)
    assert titles(answer) == ["Old Hat"]
    assert (answer["query_parsed"]["by"], answer["degraded"]) == ("rules", True)
    assert "parser" in answer["explanation"]["missing"]


@pytest.mark.parametrize(
    "says", ["no JSON", "[1]", {"confidence": 7}, {"year_from": 12, "confidence": 1}, {}]
)
async def test_an_answer_that_makes_no_sense_is_as_none(discovery, chat, says):
    chat.says = says
    answer = await discovery.search(QUERY, explain=True)
    assert (answer["query_parsed"]["by"], answer["degraded"]) == ("rules", True)


async def test_a_model_that_hangs_is_waited_for_two_seconds_and_then_left_alone(discovery, chat):
    chat.hangs = True
    async with asyncio.timeout(60):
        for number in range(12):
            assert (await discovery.search(f"{QUERY} {number}"))["degraded"]
    assert len(chat.asked) < 12


async def test_titles_names_and_kinds_are_not_sent_to_it(discovery, chat):
    for query in ("lost hat", "horror films of the 50s", "ada known", "films directed by ada known"):
        await discovery.search(query)
    assert chat.asked == []


@pytest.mark.parametrize(
    "url", ["openai://host/v1", "openai:?model=m", "openai://host/v1?model=m&colour=red"]
)
def test_an_incomplete_address_is_told_with_an_example(url):
    with pytest.raises(NotConfiguredError, match=r"QUERY_PARSER_URL.*example"):
        OpenAIChat(url, name="QUERY_PARSER_URL", timeout_ms=10)
