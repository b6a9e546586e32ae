"""The ranking configuration through discovery's admin door, on a real database."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from media_gateway.core.tokens import mint_token
from media_gateway.discovery.ranking import BUILT_IN, MAX_VARIANTS
from tests.support.discovery import SECRET, running_discovery
from tests.support.search_admin import RANKING, Admin, Person
from tests.support.waiting import eventually

HALF = {"text": 0.5, "title": 0.0, "vector": 0.5}
MINE = {"fusion": "rrf", "rrf_k": 3, "weights": {"descriptive": HALF}}


@pytest.fixture
async def discovery(database_url, redis_url):
    async with running_discovery(database_url, redis_url) as running:
        yield running


@pytest.fixture
def admin(discovery) -> Admin:
    return Admin(discovery)


async def test_without_a_stored_version_the_built_in_configuration_is_in_force(discovery, admin):
    answer = await admin.send("GET", RANKING)
    assert (answer.status, answer.etag) == (200, '"0"')
    empty = {"variants": {}, "default_variant": "default"}
    assert answer.document == {"version": 0, "change": None, "ranking": empty}
    listed = await admin.get(f"{RANKING}/variants")
    assert [variant["name"] for variant in listed["variants"]] == sorted(BUILT_IN)
    assert all(variant["built_in"] for variant in listed["variants"])
    assert [variant["name"] for variant in listed["variants"] if variant["is_default"]] == ["default"]
    spec = await admin.get(f"{RANKING}/variants/spec")
    assert spec["settings"] == BUILT_IN["spec"].model_dump(mode="json")
    assert (await admin.get(f"{RANKING}/history"))["changes"] == []


async def test_every_change_is_a_version_with_author_time_reason_and_the_whole_document(discovery):
    anna, ben = Admin(discovery, "anna"), Admin(discovery, "ben")
    created = await anna.send("PUT", f"{RANKING}/variants/mine?comment=try%20it", MINE, seen='"0"')
    assert (created.status, created.etag) == (201, '"1"')
    assert created.document["settings"]["weights"]["descriptive"] == HALF
    # What is left out is as in the default variant.
    default = BUILT_IN["default"].weights.title_like.model_dump()
    assert created.document["settings"]["weights"]["title_like"] == default
    changed = await ben.put_variant("mine", MINE | {"rrf_k": 4}, seen=created.etag)
    assert (changed.status, changed.etag) == (200, '"2"')
    document = {"variants": {"mine": MINE}, "default_variant": "mine"}
    replaced = await anna.send("PUT", RANKING, document, seen='"2"')
    assert (replaced.status, replaced.etag) == (200, '"3"')
    assert replaced.document["ranking"]["default_variant"] == "mine"

    history = await anna.get(f"{RANKING}/history")
    assert [(c["version"], c["author"], c["comment"]) for c in history["changes"]] == [
        (3, "anna", ""),
        (2, "ben", ""),
        (1, "anna", "try it"),
    ]
    times = [datetime.fromisoformat(change["created_at"]) for change in history["changes"]]
    assert times == sorted(times, reverse=True)
    old = await anna.get(f"{RANKING}/history/2")
    assert old["ranking"]["variants"]["mine"]["rrf_k"] == 4
    assert old["ranking"]["default_variant"] == "default"


async def test_history_is_read_page_by_page(admin):
    for number in range(5):
        await admin.put_variant("mine", {"rrf_k": number + 1})
    seen, query = [], ""
    while True:
        page = await admin.get(f"{RANKING}/history?limit=2{query}")
        seen += [change["version"] for change in page["changes"]]
        if page["next_before"] is None:
            break
        query = f"&before={page['next_before']}"
    assert seen == [5, 4, 3, 2, 1]


async def test_going_back_stores_the_old_document_as_a_new_version(admin):
    await admin.put_variant("mine", {"rrf_k": 1})
    await admin.put_variant("mine", {"rrf_k": 2})
    restored = await admin.send("POST", f"{RANKING}/history/1/restore?comment=worse", seen='"2"')
    assert (restored.status, restored.etag) == (200, '"3"')
    assert restored.document["change"]["comment"] == "worse"
    assert restored.document["ranking"]["variants"]["mine"]["rrf_k"] == 1
    assert (await admin.get(f"{RANKING}/history/2"))["ranking"]["variants"]["mine"]["rrf_k"] == 2
    assert (await admin.send("POST", f"{RANKING}/history/9/restore", seen="*")).status == 404


async def test_a_deleted_variant_is_refused_by_the_next_search(discovery, admin):
    await admin.put_variant("mine", MINE)
    await Person(discovery).search("alien", variant="mine")
    await Person(discovery).search("alien", experiment_variant="mine")
    gone = await admin.send("DELETE", f"{RANKING}/variants/mine", seen='"1"')
    assert (gone.status, gone.etag) == (204, '"2"')
    body = {"query": "alien", "variant": "mine"}
    async with discovery.session.post(f"{discovery.url}/api/v1/search", json=body) as response:
        problem = await response.json(content_type=None)
    assert response.status == 400
    (error,) = problem["errors"]
    assert error["field"] == "variant"
    assert all(name in error["message"] for name in BUILT_IN)


async def test_of_concurrent_changes_from_one_version_exactly_one_wins(discovery, database_url, redis_url):
    async with running_discovery(database_url, redis_url) as other:
        admins = [Admin((discovery, other)[n % 2], f"admin-{n}") for n in range(16)]
        for round_number in range(3):
            answers = await asyncio.gather(
                *(
                    admin.put_variant(f"v{round_number}-{n}", {"rrf_k": n + 1}, seen=f'"{round_number}"')
                    for n, admin in enumerate(admins)
                )
            )
            statuses = sorted(answer.status for answer in answers)
            assert statuses == [201] + [412] * 15
        history = await Admin(discovery).get(f"{RANKING}/history")
        assert [change["version"] for change in history["changes"]] == [3, 2, 1]


CHANGES = [
    ("PUT", f"{RANKING}/variants/mine", MINE),
    ("PUT", RANKING, {}),
    ("POST", f"{RANKING}/history/1/restore", None),
    ("DELETE", f"{RANKING}/variants/mine", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_change_needs_the_state_that_its_author_has_seen(admin, method, path, body):
    await admin.put_variant("mine", MINE)
    refused = {None: 428, "1": 400, '"7"': 412, 'W/"1"': 412}
    for seen, status in refused.items():
        answer = await admin.send(method, path, body, seen=seen)
        assert answer.status == status, answer
        assert answer.fields == ([] if status == 412 else ["If-Match"])
    assert (await admin.get(RANKING))["version"] == 1
    answer = await admin.send(method, path, body, seen='"7", "1"')
    assert (answer.status // 100, answer.etag) == (2, '"2"')
    assert (await admin.send("POST", f"{RANKING}/history/1/restore", seen="*")).etag == '"3"'


async def test_a_change_reaches_every_replica_within_two_seconds(discovery, database_url, redis_url):
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(running_discovery(database_url, redis_url)) for _ in range(2)
        ]
        took_s = []
        for number in range(5):
            name = f"variant-{number}"
            await Admin(discovery).put_variant(name, MINE)
            started = time.monotonic()
            for replica in replicas:

                async def known(replica=replica, name=name) -> bool:
                    body = {"query": "alien", "variant": name}
                    url = f"{replica.url}/api/v1/search"
                    async with replica.session.post(url, json=body) as response:
                        return bool(response.status == 200)

                await eventually(known)
            took_s.append(time.monotonic() - started)
        assert sorted(took_s)[2] <= 2.0


async def test_default_of_the_configuration_is_what_unnamed_searches_get(discovery, admin, database):
    await admin.send("PUT", RANKING, {"variants": {"mine": MINE}, "default_variant": "mine"}, seen="*")
    await Person(discovery).search("alien")

    async def variants() -> list[str]:
        async with database.transaction() as connection:
            return list((await connection.execute(sa.text("SELECT variant FROM search_events"))).scalars())

    assert await eventually(variants) == ["mine"]


async def test_the_default_variant_stays_until_another_is_chosen(admin):
    await admin.send("PUT", RANKING, {"variants": {"mine": MINE}, "default_variant": "mine"}, seen="*")
    answer = await admin.send("DELETE", f"{RANKING}/variants/mine", seen="*")
    assert (answer.status, answer.document["code"]) == (409, "conflict")
    answer = await admin.send("PUT", RANKING, {"default_variant": "mine"}, seen="*")
    assert (answer.status, answer.fields) == (400, ["default_variant"])


async def test_built_in_variants_are_read_only(admin):
    for name in BUILT_IN:
        for method, body in (("PUT", MINE), ("DELETE", None)):
            answer = await admin.send(method, f"{RANKING}/variants/{name}", body, seen="*")
            assert (answer.status, answer.fields) == (400, ["name"])
        answer = await admin.send("PUT", RANKING, {"variants": {name: MINE}}, seen="*")
        assert (answer.status, answer.fields) == (400, [f"variants.{name}"])


async def test_variants_are_bounded_in_number(admin):
    many: dict[str, Any] = {f"v{number}": {} for number in range(MAX_VARIANTS)}
    assert (await admin.send("PUT", RANKING, {"variants": many}, seen="*")).status == 200
    assert (await admin.put_variant("one-more", MINE)).status == 409
    assert (await admin.put_variant("v0", MINE)).status == 200


async def test_names_that_are_none_are_refused(admin):
    for name in ("Mine", "1st", "-", "a" * 64, "a%20b", "a.b"):
        answer = await admin.put_variant(name, MINE)
        assert (answer.status, answer.fields) == (400, ["name"]), name


async def test_only_administrators_come_in(discovery):
    users = {None: 401, mint_token(SECRET, "user-1"): 403, "rubbish": 401}
    _, document = await discovery.get("/openapi.json")
    paths = [path for path in document["paths"] if path.startswith("/api/v1/admin/search")]
    assert len(paths) == 8
    for path in paths:
        for method in document["paths"][path]:
            url = discovery.url + path.replace("{name}", "spec").replace("{version}", "1")
            for token, status in users.items():
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                async with discovery.session.request(method, url, headers=headers, json={}) as response:
                    assert response.status == status, (method, path, token)


async def test_a_version_of_a_later_release_leaves_the_known_one_in_force_and_can_be_replaced(
    discovery, admin, database
):
    await admin.put_variant("mine", MINE)
    async with database.transaction() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO ranking_versions (version, document, author, comment) "
                """VALUES (2, '{"variants": {}, "news": 1}', 'later', '')"""
            )
        )

    async def told() -> bool:
        part = await discovery.part("ranking configuration")
        return part["status"] == "degraded" and "version 1 stays in force" in part["message"]

    await eventually(told)
    await Person(discovery).search("alien", variant="mine")
    assert (await admin.send("GET", RANKING)).status == 409
    assert [c["version"] for c in (await admin.get(f"{RANKING}/history"))["changes"]] == [2, 1]
    restored = await admin.send("POST", f"{RANKING}/history/1/restore", seen='"2"')
    assert (restored.status, restored.etag) == (200, '"3"')

    async def well() -> bool:
        return bool((await discovery.part("ranking configuration"))["status"] == "healthy")

    await eventually(well)
