"""Claims about documents of limits: what they may say, what they are called, who they are about."""

import json
from typing import Any

import pytest

from media_gateway.core.errors import InvalidInputError
from media_gateway.core.limiting import (
    Asked,
    ClientKind,
    Kind,
    LimitDocument,
    RuleSet,
    SignInLimits,
    read_document,
    sign_in_limits,
    tier_limits,
)

LIMIT: dict[str, object] = {"name": "a", "component": "gateway", "rates": [{"limit": 5, "windowMs": 1000}]}


def document(*limits: dict[str, object], **more: object) -> LimitDocument:
    return read_document(json.dumps({"limits": limits, **more}).encode())


def rules(*limits: dict[str, object], **more: object) -> RuleSet:
    return RuleSet("gateway", document(*limits, **more), LimitDocument())


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"limit": 5}, "limits.0.limit", "unknown field"),
        ({"name": "a b"}, "limits.0.name", "match pattern"),
        ({"name": 'a"'}, "limits.0.name", "match pattern"),
        ({"rates": []}, "limits.0.rates", "at least 1"),
        ({"rates": [{"limit": 0, "windowMs": 1}]}, "limits.0.rates.0.limit", "greater than or equal to 1"),
        ({"rates": [{"limit": 5}]}, "limits.0", "every rate needs windowMs"),
        (
            {"rates": [{"limit": 5, "windowMs": 2}, {"limit": 5, "windowMs": 2}]},
            "limits.0",
            "no two of one length",
        ),
        ({"algorithm": "Concurrency"}, "limits.0", "without windowMs"),
        ({"algorithm": "FixedWindow", "burst": 5}, "limits.0", "burst belongs to algorithm GCRA"),
        ({"cost": 6}, "limits.0", "more than the limit ever lets through"),
        ({"key": [{"source": "Header"}]}, "limits.0.key.0", "they need it"),
        ({"key": [{"source": "IP", "name": "x"}]}, "limits.0.key.0", "name belongs to"),
        ({"response": {"status": 418}}, "limits.0.response.status", "429"),
        ({"failureMode": "Panic"}, "limits.0.failureMode", "'Local'"),
    ],
)
def test_a_wrong_limit_is_refused_by_the_name_of_its_field(change, field, message):
    with pytest.raises(InvalidInputError) as caught:
        document({**LIMIT, **change})
    assert caught.value.errors[0].field == field
    assert message in caught.value.errors[0].message


def test_two_limits_of_one_name_no_json_and_another_version_are_refused():
    with pytest.raises(InvalidInputError, match="two limits are called 'a'"):
        document(LIMIT, LIMIT)
    for data in (b"", b"[", b"[]", b'{"version": 2}', b"\xff", b" " * 2_000_000):
        with pytest.raises(InvalidInputError):
            read_document(data)


def test_the_revision_is_that_of_the_meaning_and_not_of_the_writing():
    other = {**LIMIT, "name": "b"}
    one = document(LIMIT, other)
    same = read_document(
        json.dumps({"limits": [{"maxKeys": 100_000, **other}, LIMIT], "version": 1}, indent=3).encode()
    )
    assert one.revision == same.revision
    assert read_document(one.canonical()).revision == one.revision
    assert one.revision != document(LIMIT).revision
    assert one.revision != document(LIMIT, {**other, "cost": 2}).revision


def test_limits_of_a_document_replace_built_in_ones_of_their_name_only():
    built_in = tier_limits("gateway")
    more = {**LIMIT, "name": "free-minute", "algorithm": "SlidingWindow"}
    both = RuleSet("gateway", document(more), built_in).charges(Asked(endpoint="x", subject="u", tier="free"))
    assert sorted((c.rule.name, c.rule.limit) for c in both) == [("free-minute", 5), ("free-second", 10)]
    alone = RuleSet("gateway", document(LIMIT, builtIn=False), built_in)
    assert [c.rule.name for c in alone.charges(Asked(endpoint="x"))] == ["a"]


def test_limits_of_other_components_are_not_looked_at():
    assert rules({**LIMIT, "component": "auth"}).charges(Asked(endpoint="x")) == []


def test_a_tier_that_no_limit_names_is_held_to_the_free_one():
    found = RuleSet("gateway", None, tier_limits("gateway"))
    names = {
        tier: {c.rule.name for c in found.charges(Asked(endpoint="x", subject="u", tier=tier))}
        for tier in ("pro", "gold", "anonymous")
    }
    assert names["pro"] == {"pro-second", "pro-minute"}
    assert names["gold"] == {"free-second", "free-minute"}
    assert names["anonymous"] == {"anonymous-second", "anonymous-minute"}


def test_small_sliding_windows_remember_every_request_and_large_ones_count():
    def kind(limit: int, algorithm: str) -> Kind:
        one = {**LIMIT, "rates": [{"limit": limit, "windowMs": 1000}], "algorithm": algorithm}
        return rules(one).charges(Asked(endpoint="x"))[0].rule.kind

    assert kind(100, "SlidingWindow") is Kind.LOG
    assert kind(101, "SlidingWindow") is Kind.COUNTER
    assert kind(5, "FixedWindow") is Kind.FIXED
    assert kind(5, "GCRA") is Kind.GCRA


def test_all_conditions_of_a_limit_must_match():
    when = {
        "methods": ["POST"],
        "pathPrefixes": ["/api"],
        "tiers": ["free"],
        "headers": [{"name": "X-App", "value": "tv"}],
    }
    found = rules({**LIMIT, "when": when, "endpoints": ["search"]})
    fits: dict[str, Any] = {
        "endpoint": "search",
        "method": "POST",
        "path": "/api/x",
        "subject": "u",
        "tier": "free",
        "headers": {"X-App": "tv"},
    }
    assert len(found.charges(Asked(**fits))) == 1
    others = {
        "endpoint": "else",
        "method": "GET",
        "path": "/docs",
        "tier": "anonymous",
        "headers": {"X-App": "web"},
    }
    for name, value in others.items():
        assert found.charges(Asked(**{**fits, name: value})) == [], name


def keys(source: str, asked: Asked, name: str | None = None) -> list[tuple[str, bool]]:
    part = {"source": source, **({"name": name} if name else {})}
    return [(c.key, c.on_trust) for c in rules({**LIMIT, "key": [part]}).charges(asked)]


def test_keys_are_of_one_length_and_one_slot_whatever_a_caller_sends():
    for subject in ("u", "x" * 100_000, "}{", "\ud800", "\0"):
        ((key, _),) = keys("User", Asked(endpoint="e", source="1.2.3.4", subject=subject))
        assert key.startswith("limit:{gateway}:")
        assert len(key) == len("limit:{gateway}:") + 32


def test_callers_are_counted_apart_and_those_without_a_name_by_their_source():
    asked: dict[str, Any] = {"endpoint": "e", "source": "1.2.3.4"}
    assert keys("User", Asked(**asked, subject="a")) != keys("User", Asked(**asked, subject="b"))
    assert keys("User", Asked(**asked)) == keys("IP", Asked(**asked))
    assert keys("Header", Asked(**asked), "X-App") == keys("IP", Asked(**asked))
    assert keys("Claim", Asked(**asked, claims={"plan": ["x"]}), "plan") != keys("IP", Asked(**asked))
    # A name can't pose as an address, nor one part as another.
    assert keys("User", Asked(**asked, subject="ip=1.2.3.4")) != keys("IP", Asked(**asked))
    assert keys("Global", Asked(**asked)) == keys("Global", Asked(endpoint="f", source="5.6.7.8"))


def test_two_values_never_read_as_two_others():
    parts = [{"source": "Header", "name": "A"}, {"source": "Header", "name": "B"}]
    found = rules({**LIMIT, "key": parts})
    one = found.charges(Asked(endpoint="e", headers={"A": "x", "B": "yz"}))[0].key
    assert one != found.charges(Asked(endpoint="e", headers={"A": "xy", "B": "z"}))[0].key


def test_a_named_client_is_charged_with_its_source_and_on_trust_alone():
    def of(kind: ClientKind, source: str = "1.1.1.1", client: str | None = "tv") -> list[tuple[str, bool]]:
        return keys("Client", Asked(endpoint="e", source=source, client_id=client, client_kind=kind))

    with_source, alone = of(ClientKind.CONFIDENTIAL)
    assert not with_source[1]
    assert alone[1]
    elsewhere = of(ClientKind.CONFIDENTIAL, "2.2.2.2")
    assert elsewhere[1] == alone
    assert elsewhere[0] != with_source
    assert of(ClientKind.SHARED) == [with_source]
    # Made-up names have no count of their own.
    assert (
        of(ClientKind.UNKNOWN)
        == of(ClientKind.UNKNOWN, client="another")
        == of(ClientKind.UNKNOWN, client=None)
    )


def test_auth_has_its_limits_and_settings_change_them():
    found = RuleSet("auth", None, sign_in_limits(SignInLimits(rate_limit_token=3), "auth"))
    told = {
        name: [(c.rule.limit, c.rule.window_us // 1_000_000) for c in found.charges(Asked(endpoint=name))]
        for name in ("token", "device", "authorize", "revoke", "register", "login", "poll", "else")
    }
    assert told == {
        "token": [(3, 60)],
        "device": [(5, 60)],
        "authorize": [(20, 60)],
        "revoke": [(10, 60)],
        "register": [(5, 3600)],
        "login": [(10, 60)],
        "poll": [(300, 60)],
        "else": [],
    }
