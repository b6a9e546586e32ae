"""``media-gateway eval search`` as people run it: against a real discovery, and against searches that misbehave."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from media_gateway.cli.evaluation.asking import Outcome, Target, measure
from media_gateway.cli.evaluation.pairs import read_pairs
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import InvalidInputError
from tests.support.discovery import Discovery, relaying, running_discovery
from tests.support.films import Film, remove, save
from tests.support.judged import answer_of, judged, told_search, write_lines
from tests.support.processes import REPOSITORY
from tests.support.up import QUIET
from tests.support.waiting import eventually

ALIEN = Film(title="Alien", release_year=1979, genres=("horror", "science_fiction"))
ALIENS = Film(title="Aliens", release_year=1986, genres=("action",))
SHINING = Film(title="The Shining", release_year=1980, genres=("horror",))
FILMS = (ALIEN, ALIENS, SHINING, *(Film(title=f"Night {n}", genres=("horror",)) for n in range(12)))


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    def row(self, kind: str) -> list[str]:
        """Cells of the first row of a class."""
        line = next(line for line in self.out.splitlines() if f"│ {kind} " in line)
        return [cell.strip() for cell in line.strip("│").split("│")]


@asynccontextmanager
async def running(command: str, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "media_gateway.cli", "eval", command, *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=REPOSITORY, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process: asyncio.subprocess.Process) -> Ended:
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def evaluate(*arguments: object) -> Ended:
    async with running("search", *arguments) as process:
        return await ended(process)


async def measured(file: Path, **how: Any) -> list[Outcome]:
    """Outcomes of a measurement in this process."""
    outcomes: list[Outcome] = []
    await measure(read_pairs(file), Target(**how), outcomes.append)
    return outcomes


@pytest.fixture
async def discovery(database: Database, database_url: str, redis_url: str) -> AsyncIterator[Discovery]:
    await save(database, *FILMS, announce=False)
    no_model = QUIET["MEDIA_GATEWAY_EMBEDDER_URL"]
    async with running_discovery(database_url, redis_url, embedder_url=no_model) as running:

        async def is_built() -> bool:
            status, _ = await running.get("/health/ready")
            return status == 200

        await eventually(is_built, timeout_s=30)
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    horror = {
        "query": "horror",
        "class": "genre",
        "relevant": [{"title": film.title, "year": film.release_year} for film in FILMS if film != ALIENS],
    }
    only = {"genres": ["action"]}
    return write_lines(
        tmp_path / "judged.jsonl",
        judged("the shining", "The Shining"),
        judged("alien", "Alien"),
        judged("no such thing in it", "Nothing", "lost"),
        horror,
        judged("alien", "Aliens", "filtered", filters=only),
    )


async def test_a_search_is_measured_class_by_class(discovery: Discovery, file: Path, tmp_path: Path) -> None:
    found = await evaluate("--pairs", file, "--url", discovery.url, "--json", tmp_path / "r.json")

    assert found.status == 0, found.err
    assert found.row("exact")[1:6] == ["2", "1.0000", "1.0000", "-", "1.0000"]
    assert found.row("lost")[1:6] == ["1", "0.0000", "0.0000", "-", "0.0000"]
    assert found.row("genre")[1:6] == ["1", "1.0000", "1.0000", "1.0000", "1.0000"]
    assert found.row("filtered")[1:4] == ["1", "1.0000", "1.0000"]
    assert found.row("overall")[1:5] == ["5", "0.8000", "0.8000", "1.0000 (of 1)"]
    assert all(float(cell) > 0 for cell in found.row("overall")[6:])
    # All but the one that names a kind of film, which needs no vectors.
    assert "4 of 5 answers were degraded" in found.out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["complete"] is True
    assert [(q["line"], q["class"], q["first_right"]) for q in report["queries"][:3]] == [
        (1, "exact", 1),
        (2, "exact", 1),
        (3, "lost", None),
    ]
    assert report["queries"][1]["top"][0] == "Alien (1979)"


async def test_what_was_recorded_is_kept_until_a_change_worsens_it(
    discovery: Discovery, database: Database, redis: Any, file: Path, tmp_path: Path
) -> None:
    stored = tmp_path / "stored.json"
    base = ("--pairs", file, "--url", discovery.url)
    assert (await evaluate(*base, "--record", stored)).status == 0
    kept = await evaluate(*base, "--check", stored)
    assert (kept.status, f"no measure of any class is worse than in {stored}" in kept.out) == (0, True)

    async with relaying(database, redis):
        await remove(database, SHINING.id)

        async def is_gone() -> bool:
            return "The Shining" not in await discovery.titles("the shining")

        await eventually(is_gone)
    worse = await evaluate(*base, "--check", stored)

    assert worse.status == 1
    table = worse.out.partition("Worse than in")[2]
    assert "│ exact " in table
    assert "1.0000" in table
    assert "0.5000" in table
    assert "│ filtered " not in table


async def test_nothing_that_answers_is_told_with_the_way_to_start_it(file: Path, free_port: int) -> None:
    found = await evaluate("--pairs", file, "--url", f"http://127.0.0.1:{free_port}")
    assert found.status == 1
    assert found.err == (
        f"nothing answers at http://127.0.0.1:{free_port}: connection refused; start it with `media-gateway up`, "
        "or name another service with --url\n"
    )
    assert found.out == ""


async def test_what_the_service_refuses_is_told_with_line_and_field(
    discovery: Discovery, tmp_path: Path
) -> None:
    file = write_lines(
        tmp_path / "q.jsonl",
        judged("alien", "Alien"),
        judged("x", "X", filters={"genres": ["no such genre"]}),
    )
    found = await evaluate("--pairs", file, "--url", discovery.url)
    assert found.status == 64
    assert found.err.startswith(f"{file}: line 2: the service refuses the query: filters.genres.0: ")
    assert "stopped early: 1 of 2 answers" in found.out

    found = await evaluate("--pairs", file, "--url", discovery.url, "--variant", "no such ranking")
    assert found.status == 64
    assert found.err.startswith("--variant: the service refuses it: ")

    found = await evaluate("--pairs", file, "--url", discovery.url, "--token", "none.of.ours")
    assert found.status == 64
    assert found.err.startswith("--token: ")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("{url}/elsewhere", "--url: there is no search at "),
        ("not an address", "--url: 'not an address' is no address of a service"),
    ],
)
async def test_an_address_of_something_else_is_told(file: Path, url: str, told: str) -> None:
    async with told_search(lambda *_: answer_of()) as service:
        with pytest.raises(InvalidInputError) as error:
            await measured(file, url=url.format(url=service))
    assert error.value.message.startswith(told)


@pytest.mark.parametrize(
    "answer", [{"results": [{"title": "Alien"}]}, {}, web.Response(text="hello"), [1]], ids=repr
)
async def test_an_answer_that_is_no_searchs_is_told(file: Path, answer: Any) -> None:
    async with told_search(lambda *_: answer) as service:
        with pytest.raises(InvalidInputError) as error:
            await measured(file, url=service)
    assert (
        error.value.message == f"--url: what answers at {service}/api/v1/search is no search of this system"
    )


async def test_a_service_that_fails_halfway_ends_it_with_what_is_known(file: Path) -> None:
    def answer(body: dict[str, Any], _request: web.Request) -> Any:
        if body["query"] == "horror":
            return web.json_response({"detail": "the database is away"}, status=503)
        return answer_of("Alien")

    async with told_search(answer) as service:
        found = await evaluate("--pairs", file, "--url", service)

    assert found.status == 1
    assert "line 4: " in found.err
    assert "answered 503: the database is away" in found.err
    assert found.row("exact")[1:3] == ["2", "0.5000"]
    assert "stopped early: 3 of 5 answers" in found.out


async def test_ctrl_c_shows_what_is_known_so_far(file: Path, tmp_path: Path) -> None:
    reached = asyncio.Event()

    async def answer(body: dict[str, Any], _request: web.Request) -> Any:
        if body["query"] == "horror":
            reached.set()
            await asyncio.Event().wait()
        return answer_of("Alien")

    async with (
        told_search(answer) as service,
        running("search", "--pairs", file, "--url", service, "--json", tmp_path / "r.json") as process,
    ):
        async with asyncio.timeout(60):
            await reached.wait()
        process.send_signal(signal.SIGINT)
        found = await ended(process)

    assert found.status == 130, found.err
    assert found.row("exact")[1:3] == ["2", "0.5000"]
    assert "stopped early: 3 of 5 answers" in found.out
    assert "Traceback" not in found.err
    assert json.loads((tmp_path / "r.json").read_text())["complete"] is False


async def test_variants_are_asked_in_turn_and_compared(tmp_path: Path) -> None:
    file = write_lines(
        tmp_path / "q.jsonl", *(judged(f"query {n}", "Right", "all", filters={}) for n in range(40))
    )
    asked: list[dict[str, Any]] = []

    def answer(body: dict[str, Any], _request: web.Request) -> Any:
        asked.append(body)
        order = ("Right", "Wrong") if body["variant"] == "new" else ("Wrong", "Right")
        return answer_of(*order, explanation={"timings_ms": {"text": 1.5, "vector": 3.0}})

    async with told_search(answer) as service:
        found = await evaluate(
            "--pairs", file, "--url", service, "--variant", "plain", "--variant", "new", "--explain"
        )

    assert found.status == 0, found.err
    assert [body["variant"] for body in asked[:4]] == ["plain", "new", "new", "plain"]
    assert all(body["explain"] is True and body["page_size"] == 100 for body in asked)
    assert "new minus plain" in found.out
    compared = found.out.partition("new minus plain")[2]
    assert "+0.5000 (+0.5000 to +0.5000) *" in compared  # mrr@10
    assert "+0.0000 (+0.0000 to +0.0000) " in compared  # recall@100
    assert "leg text: p50 1.5 ms, p95 1.5 ms" in found.out
    assert "leg vector: p50 3.0 ms, p95 3.0 ms" in found.out


async def test_a_plain_request_asks_for_nothing_that_an_older_service_does_not_know(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "q.jsonl", judged("alien", "Alien"))
    asked: list[tuple[dict[str, Any], str | None]] = []

    def answer(body: dict[str, Any], request: web.Request) -> Any:
        asked.append((body, request.headers.get("Authorization")))
        return web.json_response(answer_of("Alien"), headers={"X-Cache": "HIT"})

    async with told_search(answer) as service:
        (outcome,) = await measured(file, url=f"{service}/", token="t", depth=10)

    assert asked == [({"query": "alien", "page": 1, "page_size": 10}, "Bearer t")]
    assert "recall@10" in outcome.measures
    assert (outcome.cached, outcome.degraded, outcome.legs_ms) == (True, False, {})


async def test_no_more_requests_are_on_the_way_than_asked_for(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "q.jsonl", *(judged(f"query {n}", "Right") for n in range(12)))
    running = most = 0
    full = asyncio.Event()

    async def answer(*_: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 4:
            full.set()
        async with asyncio.timeout(30):
            await full.wait()
        running -= 1
        return answer_of("Right")

    async with told_search(answer) as service:
        outcomes = await measured(file, url=service, concurrency=4)

    assert most == 4
    assert sorted(outcome.query.line for outcome in outcomes) == list(range(1, 13))


async def test_values_of_several_variants_are_not_stored(file: Path, tmp_path: Path) -> None:
    found = await evaluate(
        "--pairs", file, "--variant", "a", "--variant", "b", "--record", tmp_path / "stored.json"
    )
    assert (found.status, found.err) == (64, "--check and --record go with one variant\n")


async def test_help_loads_no_service_and_no_numbers() -> None:
    program = (
        "import sys; from media_gateway.cli.main import main; sys.argv = ['media-gateway', 'eval', 'search', '-h']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'numpy', 'tantivy', 'media_gateway.discovery'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert b"--pairs" in out


FEATURES = ("adjacent", "coverage", "meaning", "names", "passage")


def reranked(request: dict[str, Any], _: web.Request) -> dict[str, Any]:
    """A search that has the film of each query in the third place of what it re-ranks, and its passage right."""
    assert request["explain"] is True
    number = int(request["query"].split()[-1])
    titles = [f"Film {number + offset}" for offset in (500, 600, 0, 700)]
    answer = answer_of(*titles)
    for place, result in enumerate(answer["results"]):
        noise = (number * (place + 3) % 7) / 70
        result["ranking_features"] = dict.fromkeys(FEATURES, noise) | {"passage": 0.9 if place == 2 else 0.2}
    return answer


async def test_a_reranker_is_trained_on_what_a_running_search_tells(tmp_path):
    lines = [judged(f"A long description of film {n}", f"Film {n}", "synopsis") for n in range(150)]
    file = write_lines(tmp_path / "judged.jsonl", *lines)
    async with told_search(reranked) as url:
        for model in ("one.json", "two.json"):
            found = await train("--pairs", file, "--url", url, "--write", tmp_path / model)
            assert found.status == 0, found.err
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    learned = json.loads((tmp_path / "one.json").read_bytes())
    assert set(learned["weights"]) == set(FEATURES)
    assert learned["trained_on"]["held_out_ndcg@10"] == 1.0
    assert "held out" in found.out


async def test_queries_that_are_not_reranked_train_nothing(tmp_path):
    file = write_lines(tmp_path / "judged.jsonl", judged("Alien", "Alien"))
    async with told_search(lambda request, _: answer_of("Alien")) as url:
        found = await train("--pairs", file, "--url", url, "--write", tmp_path / "model.json")
    assert found.status == 64
    assert "re-ranks none of these queries" in found.err
    assert not (tmp_path / "model.json").exists()


async def train(*arguments: object) -> Ended:
    async with running("train-reranker", *arguments) as process:
        return await ended(process)
