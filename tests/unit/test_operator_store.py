"""The operator's store: newest wins, gone stays gone, memory follows what exists."""

import random
from typing import Any

from hypothesis import given, settings, strategies as st

from media_gateway_operator.kube.kinds import CRON_JOB, INGESTION_JOB, JOB, Object, Ref, ResourceKind
from media_gateway_operator.kube.store import GRAVES, Store, owner_ref


def thing(
    kind: ResourceKind = JOB,
    name: str = "one",
    *,
    version: int = 1,
    uid: str | None = None,
    owner: Object | None = None,
    namespace: str = "x",
    **rest: Any,
) -> Object:
    metadata: Object = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "managedFields": [{"manager": "somebody"}],
    }
    if owner:
        metadata["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "Pod", "name": "not", "uid": "other"},
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
                "controller": True,
            },
        ]
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **rest}


def kept(store: Store) -> Object:
    found = store.find(Ref(JOB, "x", "one"))
    assert found is not None
    return found


def test_object_comes_back_as_it_was_without_managed_fields():
    store = Store()
    assert store.put(thing(spec={"a": [1, {"b": None}]}))
    found = kept(store)
    assert found["spec"] == {"a": [1, {"b": None}]}
    assert "managedFields" not in found["metadata"]


def test_older_and_equal_versions_bring_nothing():
    store = Store()
    store.put(thing(version=9, spec={"n": 9}))
    assert not store.put(thing(version=9, spec={"n": 9}))
    assert not store.put(thing(version=10_0 // 20, spec={"n": 5}))
    assert kept(store)["spec"] == {"n": 9}


def test_version_is_compared_as_a_number():
    store = Store()
    store.put(thing(version=9, spec={"n": 9}))
    assert store.put(thing(version=10, spec={"n": 10}))


def test_new_version_of_the_same_content_is_no_news():
    store = Store()
    store.put(thing(version=1, spec={"n": 1}))
    assert not store.put(thing(version=2, spec={"n": 1}))
    assert kept(store)["metadata"]["resourceVersion"] == "2"


def test_late_answer_does_not_bring_a_deleted_object_back():
    store = Store()
    store.put(thing(version=1))
    assert store.drop(Ref(JOB, "x", "one"), "uid-one")
    assert not store.put(thing(version=2))
    assert store.find(Ref(JOB, "x", "one")) is None


def test_deletion_of_a_predecessor_leaves_the_namesake():
    store = Store()
    store.put(thing(version=1, uid="first"))
    assert store.put(thing(version=5, uid="second"))
    assert not store.drop(Ref(JOB, "x", "one"), "first")
    assert kept(store)["metadata"]["uid"] == "second"


def test_owned_are_children_and_their_children():
    store = Store()
    job = thing(INGESTION_JOB, "nightly")
    cron = thing(CRON_JOB, "nightly", uid="cron", owner=job)
    run = thing(JOB, "nightly-1", owner=cron)
    for one in (job, cron, run, thing(JOB, "stranger")):
        store.put(one)
    owned = store.owned(job["metadata"]["uid"])
    assert [one["metadata"]["name"] for one in owned] == ["nightly", "nightly-1"]
    assert owner_ref(run) == Ref(CRON_JOB, "x", "nightly")


def test_child_that_changes_hands_is_owned_once():
    store = Store()
    first, second = thing(INGESTION_JOB, "a"), thing(INGESTION_JOB, "b")
    store.put(thing(JOB, "child", version=1, owner=first))
    store.put(thing(JOB, "child", version=2, owner=second))
    assert store.owned("uid-a") == []
    assert len(store.owned("uid-b")) == 1


def test_verified_holds_for_one_version():
    store, ref = Store(), Ref(JOB, "x", "one")
    store.put(thing(version=1))
    store.verify(ref, "digest")
    assert store.verified(ref, "digest")
    assert not store.verified(ref, "other")
    store.put(thing(version=2, spec={}))
    assert not store.verified(ref, "digest")


def test_unseen_are_those_that_a_list_no_longer_has():
    store = Store()
    store.put(thing(name="stays", version=1))
    store.put(thing(name="gone", version=1))
    store.put(thing(name="elsewhere", version=1, namespace="y"))
    since = max(entry.seen for place in store._places.values() for entry in place.values()) + 1e-9
    store.put(thing(name="stays", version=1))
    assert store.unseen(JOB, "x", since) == [(Ref(JOB, "x", "gone"), "uid-gone")]
    assert len(store.unseen(JOB, None, since)) == 2


def test_nothing_is_left_of_deleted_objects():
    store = Store()
    owner = thing(INGESTION_JOB, "owner")
    for number in range(2 * GRAVES):
        store.put(thing(name=str(number), owner=owner, version=number + 1))
        store.drop(Ref(JOB, "x", str(number)), f"uid-{number}")
    assert len(store) == 0
    assert not store._places
    assert not store._owned
    assert len(store._graves) == len(store._graves_in_order) <= GRAVES


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_any_order_of_arrival_ends_with_the_newest(rng: random.Random, newest: int):
    store = Store()
    events = [thing(version=version, spec={"n": version}) for version in range(1, newest + 1)] * 2
    rng.shuffle(events)
    told = [store.put(event) for event in events]
    assert kept(store)["spec"] == {"n": newest}
    assert told[0]
    assert sum(told) <= newest
