"""The limiter on a real Redis: exact counts in several processes, waits, all or none, lost scripts, a lost server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.limiting import (
    Charge,
    CounterStore,
    Decision,
    FailureMode,
    Kind,
    LimitDocument,
    RateLimiter,
    Rule,
    key_of,
)
from media_gateway.core.limiting.store import DECIDE, Question, arguments, read_answer
from tests.support.limit_model import Model, Step, documents, rules_of, steps
from tests.support.own_servers import killed, paused
from tests.support.processes import module
from tests.support.redis_clock import moment, until
from tests.support.servers import run_here
from tests.support.waiting import eventually

ALL_KINDS = (Kind.LOG, Kind.COUNTER, Kind.FIXED, Kind.GCRA, Kind.CONCURRENCY)


@pytest.fixture
async def store(redis: RedisHandle) -> AsyncIterator[CounterStore]:
    store = CounterStore(redis, timeout_ms=5_000)
    yield store
    await store.close()


@pytest.fixture
def limiter(store: CounterStore) -> RateLimiter:
    return RateLimiter(store)


def rule(
    name: str = "r", kind: Kind = Kind.LOG, limit: int = 3, window_ms: int = 60_000, **more: object
) -> Rule:
    return Rule(name=name, kind=kind, limit=limit, window_us=window_ms * 1000, burst=limit, **more)  # type: ignore[arg-type]


def charge(one: Rule, subject: str = "s") -> Charge:
    return Charge(one, key_of("tests", one, subject))


async def admitted(limiter: RateLimiter, charges: Sequence[Charge], calls: int) -> int:
    decisions = await asyncio.gather(*(limiter.decide(charges) for _ in range(calls)))
    return sum(d.admitted for d in decisions)


async def test_many_processes_at_once_admit_exactly_the_limit(redis_url: str):
    arguments = ("tests.support.limit_process", redis_url, "50", "600000", "20", "2")
    async with AsyncExitStack() as stack:
        processes = []
        for _ in range(4):
            process = await asyncio.create_subprocess_exec(
                *module(*arguments), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            stack.push_async_callback(process.wait)
            stack.callback(_end, process)
            processes.append(process)
        for process in processes:
            assert process.stdout
            assert json.loads(await asyncio.wait_for(process.stdout.readline(), 60)) == {"ready": True}
        for process in processes:
            assert process.stdin
            process.stdin.write(b"go\n")
        told = [json.loads(await asyncio.wait_for(p.stdout.readline(), 60)) for p in processes if p.stdout]
    assert sum(len(words["admitted"]) for words in told) == 50


def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()


@pytest.mark.parametrize("kind", [Kind.LOG, Kind.COUNTER, Kind.FIXED, Kind.GCRA])
async def test_a_request_after_exactly_the_wait_it_was_told_passes(
    redis: RedisHandle, limiter: RateLimiter, kind: Kind
):
    charges = [charge(rule(kind=kind, limit=4, window_ms=700))]
    for _ in range(3):
        while (decided := await limiter.decide(charges)).admitted:
            pass
        refusing = decided.refusing
        assert refusing is not None
        # The moment of the refusal lies before now, so this is at least the wait.
        await until(redis, await moment(redis) + refusing.retry_us)
        assert (await limiter.decide(charges)).admitted


async def test_no_window_of_redis_time_ever_has_more_than_the_limit(redis: RedisHandle, limiter: RateLimiter):
    charges = [charge(rule(limit=7, window_ms=100))]
    moments: list[int] = []

    async def ask() -> None:
        ends = await moment(redis) + 700_000
        while await moment(redis) < ends:
            decided = await limiter.decide(charges)
            moments.extend(receipt.charged_at_us for receipt in decided.receipts)

    await asyncio.gather(*(ask() for _ in range(10)))
    moments.sort()
    assert len(moments) > 14
    assert all(later - first >= 100_000 for first, later in zip(moments, moments[7:], strict=False))


async def test_refused_calls_cost_nothing(redis: RedisHandle, limiter: RateLimiter):
    charges = [charge(rule(limit=2, window_ms=500))]
    assert await admitted(limiter, charges, 2) == 2
    first = await limiter.decide(charges)
    assert first.refusing
    due = await moment(redis) + first.refusing.retry_us
    while await moment(redis) < due - 50_000:
        await limiter.decide(charges)
    await until(redis, due)
    assert (await limiter.decide(charges)).admitted


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_all_rules_are_charged_or_none(limiter: RateLimiter, kind: Kind):
    wide, narrow = charge(rule("wide", kind, 5)), charge(rule("narrow", kind, 2))
    assert await admitted(limiter, [wide, narrow], 10) == 2
    assert await admitted(limiter, [narrow, wide], 10) == 0
    assert await admitted(limiter, [wide], 10) == 3


async def test_what_is_left_is_told_for_each_rule(limiter: RateLimiter):
    charges = [
        charge(rule("a", Kind.LOG, 3)),
        charge(rule("b", Kind.COUNTER, 200)),
        charge(rule("c", Kind.GCRA, 2)),
    ]
    first, second, third = [await limiter.decide(charges) for _ in range(3)]
    assert [s.remaining for s in first.standings] == [2, 199, 1]
    assert [s.remaining for s in second.standings] == [1, 198, 0]
    assert [s.remaining for s in third.standings] == [1, 198, 0]
    assert third.refusing
    assert third.refusing.rule.name == "c"
    assert 0 < third.retry_after_ms <= 30_000
    assert 0 < first.standings[0].reset_us <= 60_000_000


async def test_every_key_expires_soon_after_it_stops_to_matter(redis: RedisHandle, limiter: RateLimiter):
    charges = [charge(rule(str(kind), kind, window_ms=30_000)) for kind in ALL_KINDS]
    assert (await limiter.decide(charges)).admitted
    for one in charges:
        left = await redis.client.pttl(one.key)
        assert 0 < left <= 61_000, one.rule.kind


async def test_forgotten_scripts_are_sent_again(redis: RedisHandle, limiter: RateLimiter):
    charges = [charge(rule(limit=2))]
    assert (await limiter.decide(charges)).admitted
    await redis.client.script_flush()
    second = await limiter.decide(charges)
    assert second.admitted
    await redis.client.script_flush()
    await limiter.give_back(second)
    assert (await limiter.decide(charges)).admitted
    assert not (await limiter.decide(charges)).admitted


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_a_charge_that_is_given_back_leaves_no_trace(limiter: RateLimiter, kind: Kind):
    charges = [charge(rule(kind=kind, limit=2, window_ms=600_000))]
    first, second = await limiter.decide(charges), await limiter.decide(charges)
    assert not (await limiter.decide(charges)).admitted
    await limiter.give_back(second)
    assert await admitted(limiter, charges, 5) == 1
    await limiter.give_back(first)
    assert await admitted(limiter, charges, 5) == 1


@pytest.mark.parametrize("given_back", [0, 1])
async def test_it_is_the_moment_of_the_charge_that_is_given_back(
    redis: RedisHandle, limiter: RateLimiter, given_back: int
):
    charges = [charge(rule(limit=5))]
    both = [await limiter.decide(charges), await limiter.decide(charges)]
    await limiter.give_back(both[given_back])
    third = await limiter.decide(charges)
    kept = both[1 - given_back].receipts[0]
    since_us = third.receipts[0].charged_at_us - kept.charged_at_us
    assert third.standings[0].reset_us == 60_000_000 - since_us
    assert 0 < await redis.client.pttl(charges[0].key) <= 60_001


async def test_a_large_window_slides_by_the_weight_of_the_last_one(redis: RedisHandle):
    charges, begin = [charge(rule(kind=Kind.COUNTER, limit=200, cost=100))], 1_700_000_040_000_000
    assert begin % 60_000_000 == 0
    told = [
        await _decide_at(redis, charges, begin + after_s * 1_000_000)
        for after_s in (0, 10, 20, 75, 89, 90, 119, 120)
    ]
    assert [d.admitted for d in told] == [True, True, False, False, False, True, False, True]
    assert [d.standings[0].remaining for d in told] == [100, 0, 0, 50, 96, 0, 96, 0]


async def test_the_place_of_a_crashed_request_is_free_again_when_its_lease_ends(redis: RedisHandle):
    store = CounterStore(redis, timeout_ms=5_000, lease_us=300_000)
    limiter = RateLimiter(store)
    charges = [charge(rule(kind=Kind.CONCURRENCY, limit=1, window_ms=0))]
    held = await limiter.decide(charges)
    assert held.admitted
    for _ in range(3):
        assert not (await limiter.decide(charges)).admitted
        await limiter.renew(held)
        await until(redis, await moment(redis) + 150_000)
    await eventually(lambda: admitted(limiter, charges, 1))
    await limiter.renew(held)  # too late: the place is another's
    await limiter.give_back(held)
    assert not (await limiter.decide(charges)).admitted
    await store.close()


async def test_rules_in_memory_and_in_redis_are_charged_together_or_not_at_all(limiter: RateLimiter):
    here, there = charge(rule("here", limit=2, in_memory=True)), charge(rule("there", limit=5))
    assert await admitted(limiter, [here, there], 4) == 2
    assert await admitted(limiter, [there], 10) == 3


async def test_a_dry_run_counts_and_logs_what_it_would_refuse(limiter: RateLimiter):
    charges = [charge(rule("dry", limit=2, enforced=False)), charge(rule("real", limit=4))]
    before = count("decisions", rule="dry", decision="would_refuse")
    with capture_logs() as logs:
        assert await admitted(limiter, charges, 6) == 4
    assert count("decisions", rule="dry", decision="would_refuse") == before + 4
    assert [line["rule"] for line in logs if "dry run" in line["event"]] == ["dry"] * 4
    assert "s" not in [line.get("subject") for line in logs]


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"mgw_ratelimit_{name}_total", labels) or 0.0


async def test_requests_that_are_judged_together_are_judged_one_after_another(limiter: RateLimiter):
    """One subject, others, several scopes and leases in one turn of the loop; nobody gets the answer of another."""
    several, alone = rule("several", limit=3), rule("alone", Kind.GCRA, limit=1)
    places = rule("places", Kind.CONCURRENCY, limit=2)
    same = [[charge(several), charge(places)] for _ in range(5)]
    others = [[charge(alone, f"other-{n}")] for n in range(100)]
    elsewhere = [[Charge(several, key_of("elsewhere", several, "s"))] for _ in range(4)]
    asked = [*same, *others, *elsewhere]
    decisions = await asyncio.gather(*(limiter.decide(charges) for charges in asked))
    assert [d.admitted for d in decisions] == [True] * 2 + [False] * 3 + [True] * 103 + [False]
    assert [d.standings[0].remaining for d in decisions[:5]] == [2, 1, 1, 1, 1]
    for charges, decision in zip(asked, decisions, strict=True):
        assert [s.rule for s in decision.standings] == [c.rule for c in charges]
    await limiter.give_back(decisions[0])
    assert (await limiter.decide(same[0])).admitted


async def test_a_caller_who_leaves_takes_no_answer_from_those_judged_with_him(limiter: RateLimiter):
    tasks = [asyncio.ensure_future(limiter.decide([charge(rule())])) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    first, left, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(left, asyncio.CancelledError)
    assert isinstance(first, Decision)
    assert first.admitted
    assert isinstance(last, Decision)
    assert last.admitted


CLOCKED = DECIDE.replace("redis.call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}")
"""The script by a clock of the test's."""


@settings(max_examples=100)
@given(documents, steps)
def test_the_script_lets_pass_what_all_matching_limits_let_pass(
    warm_servers, document: LimitDocument, sequence: list[Step]
):
    async def run() -> None:
        redis = RedisHandle(f"{warm_servers.redis.rpartition('/')[0]}/63")
        await redis.client.flushdb()
        model, rules, now = Model(document), rules_of(document), 1_700_000_000_123_457
        for step in sequence:
            now += step.after_us
            charges = rules.charges(step.asked)
            decided = await _decide_at(redis, charges, now)
            assert decided.admitted == model.admits(now, step.asked)
            if decided.refusing:
                # Seen from the future, and nothing is charged: a second look at the same moment is no different.
                now += decided.refusing.retry_us
                assert (await _decide_at(redis, charges, now)).admitted
                assert model.admits(now, step.asked)
        await redis.close()

    run_here(run())


async def _decide_at(redis: RedisHandle, charges: Sequence[Charge], now: int) -> Decision:
    if not charges:
        return Decision(admitted=True)
    keys = [c.key for c in charges]
    packed = arguments([Question(charges, "", asyncio.get_running_loop().create_future())], "0")
    clock = (now // 1_000_000, now % 1_000_000)
    answer = await redis.client.eval(CLOCKED, len(keys), *keys, *packed, *clock)
    return read_answer(charges, memoryview(answer), "")


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path / "state", durable=False)
    await server.start()
    yield server
    await server.stop()


@pytest.mark.parametrize("fault", ["killed", "hanging"])
async def test_without_redis_each_rule_keeps_to_its_own_mode(own_redis: EmbeddedRedis, fault: str):
    redis = RedisHandle(own_redis.url)
    limiter = RateLimiter(CounterStore(redis, timeout_ms=200))
    charges = {mode: [charge(rule(f"{fault}-{mode}", limit=2, failure=mode))] for mode in FailureMode}
    for one in charges.values():
        assert (await limiter.decide(one)).admitted
    async with AsyncExitStack() as stack:
        if fault == "killed":
            await killed(own_redis)
        else:
            stack.enter_context(paused(own_redis))
        told = {mode: [await limiter.decide(one) for _ in range(4)] for mode, one in charges.items()}
        assert [d.admitted for d in told[FailureMode.OPEN]] == [True] * 4
        assert [d.admitted for d in told[FailureMode.LOCAL]] == [True, True, False, False]
        assert told[FailureMode.LOCAL][2].retry_after_ms > 50_000
        assert [d.admitted for d in told[FailureMode.CLOSED]] == [False] * 4
        closed = told[FailureMode.CLOSED][3]
        assert closed.unchecked == charges[FailureMode.CLOSED][0].rule
        assert closed.retry_after_ms >= 1
        for mode in FailureMode:
            assert count("fallback", rule=f"{fault}-{mode}", mode=mode.lower()) == 4
        # The circuit is open: nobody waits for a server that hangs.
        started = time.monotonic()
        for _ in range(20):
            await limiter.decide(charges[FailureMode.OPEN])
        assert time.monotonic() - started < 20 * 0.2
    if fault == "killed":
        await own_redis.start()

    async def counts_in_redis() -> bool:
        return bool((await limiter.decide(charges[FailureMode.CLOSED])).standings)

    await eventually(counts_in_redis, timeout_s=30)
    await limiter.close()
    await redis.close()
