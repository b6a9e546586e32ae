"""Claims about counting, held by the counters of a process against a model that keeps every request."""

from hypothesis import given, settings

from media_gateway.core.limiting import Asked, Charge, Kind, LimitDocument, Rule
from media_gateway.core.limiting.local import LocalCounters
from tests.support.limit_model import Model, Step, documents, rules_of, steps

BEGIN_US = 1_700_000_000_123_457


class Clock:
    def __init__(self) -> None:
        self.now = BEGIN_US

    def __call__(self) -> int:
        return self.now


def rule(kind: Kind, limit: int, *, window_us: int = 1_000_000, burst: int = 0, **more: object) -> Rule:
    return Rule(name="r", kind=kind, limit=limit, window_us=window_us, burst=burst or limit, **more)  # type: ignore[arg-type]


@settings(max_examples=300)
@given(documents, steps)
def test_a_request_passes_if_and_only_if_all_matching_limits_let_it_pass(
    document: LimitDocument, sequence: list[Step]
):
    clock, model, rules = Clock(), Model(document), rules_of(document)
    counters = LocalCounters(clock)
    for step in sequence:
        clock.now += step.after_us
        decided = counters.decide(rules.charges(step.asked), "")
        assert decided.admitted == model.admits(clock.now, step.asked)
        assert all(0 <= s.remaining <= s.rule.capacity for s in decided.standings)


@settings(max_examples=300)
@given(documents, steps)
def test_a_refused_request_passes_after_exactly_the_wait_it_was_told(
    document: LimitDocument, sequence: list[Step]
):
    clock, rules = Clock(), rules_of(document)
    counters = LocalCounters(clock)
    for step in sequence:
        clock.now += step.after_us
        charges = rules.charges(step.asked)
        decided = counters.decide(charges, "")
        if decided.admitted:
            continue
        refusing = decided.refusing
        assert refusing is not None
        assert refusing.retry_us >= 1
        if refusing.retry_us > 10 and refusing.rule.kind is not Kind.COUNTER:
            clock.now += refusing.retry_us - 2
            assert not counters.decide(charges, "").admitted, "the wait was longer than needed"
            clock.now += 2
        else:
            clock.now += refusing.retry_us
        assert counters.decide(charges, "").admitted


def test_a_replica_takes_its_part_while_it_counts_alone():
    counters = LocalCounters(Clock())
    shared = Charge(rule(Kind.LOG, 10, replicas=4), "k")
    assert sum(counters.decide([shared], "").admitted for _ in range(10)) == 3


def test_the_subjects_not_seen_for_longest_are_forgotten_first():
    counters = LocalCounters(Clock())
    one = rule(Kind.LOG, 1, max_keys=2)

    def admits(key: str) -> bool:
        return counters.decide([Charge(one, key)], "").admitted

    assert admits("a")
    assert admits("b")
    assert not admits("a")
    assert admits("c")  # forgets b
    assert not admits("a")
    assert admits("b")


def test_a_charge_that_is_given_back_leaves_no_trace():
    for kind in (Kind.LOG, Kind.COUNTER, Kind.FIXED, Kind.GCRA, Kind.CONCURRENCY):
        clock = Clock()
        counters = LocalCounters(clock)
        charge = Charge(rule(kind, 2), "k")
        first = counters.decide([charge], "first")
        clock.now += 1
        second = counters.decide([charge], "second")
        assert not counters.decide([charge], "third").admitted, kind
        counters.give_back(second.receipts[0])
        assert counters.decide([charge], "fourth").admitted, kind
        assert not counters.decide([charge], "fifth").admitted, kind
        counters.give_back(first.receipts[0])
        assert counters.decide([charge], "sixth").admitted, kind


def test_a_dry_run_lets_pass_what_it_would_refuse_and_charges_the_others():
    counters = LocalCounters(Clock())
    dry = Charge(rule(Kind.LOG, 1, enforced=False), "dry")
    real = Charge(Rule(name="real", kind=Kind.LOG, limit=3, window_us=1_000_000, burst=3), "real")
    told = [counters.decide([dry, real], "") for _ in range(4)]
    assert [d.admitted for d in told] == [True, True, True, False]
    assert [[s.passed for s in d.standings] for d in told] == [
        [True, True], [False, True], [False, True], [False, False],
    ]  # fmt: skip


def test_a_request_that_no_limit_is_about_passes():
    assert rules_of(LimitDocument()).charges(Asked(endpoint="a")) == []
