from typing import Any
from uuid import UUID

from hypothesis import given, strategies as st

from media_gateway.core.domain.content import ContentType, LinkReason, SourceRecord
from media_gateway.core.domain.ids import uuid7
from media_gateway.ingestion.identity.keys import title_keys
from media_gateway.ingestion.identity.plan import Known, arrive, make_plan
from media_gateway.ingestion.identity.records import Link, Member
from media_gateway.ingestion.identity.resolution import resolve, similarity
from tests.support.catalogue import connected, record


def arriving(*records: SourceRecord) -> list[Member]:
    return [Member.arriving(each, 100) for each in records]


def groups_of(*records: SourceRecord) -> set[frozenset[str]]:
    return {frozenset(member.key[1] for member in group.members) for group in resolve(arriving(*records))}


def stored(
    each: SourceRecord, content_id: UUID, *, link: Link | None = None, pin: UUID | None = None
) -> Member:
    member = Member.arriving(each, 100)
    member.content_id, member.loose, member.is_stored, member.pin = content_id, False, True, pin
    member.link = link or member.link
    return member


def test_records_connected_by_a_chain_of_ids_are_one_work():
    assert groups_of(
        record("a", imdb="tt0000001"), record("b", tmdb=5), record("c", imdb="tt0000001", tmdb=5)
    ) == {frozenset("abc")}


def test_same_named_films_of_one_year_with_different_imdb_ids_stay_apart():
    assert (
        len(
            groups_of(
                record("a", title="Home", imdb="tt0000001"), record("b", title="Home", imdb="tt0000002")
            )
        )
        == 2
    )


def test_equal_title_year_and_type_are_one_work():
    records = [record("a", title="The Matrix", imdb="tt0133093"), record("b", title="Matrix, The", tmdb=603)]
    assert groups_of(*records) == {frozenset("ab")}


def test_title_equal_to_two_works_is_linked_to_neither():
    homes = [record("a", title="Home", imdb="tt0000001"), record("b", title="Home", imdb="tt0000002")]
    assert groups_of(*homes, record("c", title="Home")) == {frozenset("a"), frozenset("b"), frozenset("c")}


def test_title_equal_to_two_works_is_linked_to_the_one_its_ids_do_not_contradict():
    homes = [record("a", title="Home", imdb="tt0000001", tmdb=1), record("b", title="Home", imdb="tt0000002")]
    assert groups_of(*homes, record("c", title="Home", tmdb=2)) == {frozenset("a"), frozenset("bc")}


def test_titles_need_a_common_year_or_neighbouring_ones_when_similar():
    def linked(year: int | None, title: str = "Interstellar") -> bool:
        first = record("a", title="Interstellar", release_year=2014)
        return len(groups_of(first, record("b", title=title, release_year=year))) == 1

    assert [linked(year) for year in (2014, 2015, 2013, 2016, None)] == [True, True, True, False, False]
    assert linked(2015, "Intersteller")
    assert not linked(2016, "Intersteller")


def test_similar_titles_of_different_type_or_with_conflicting_ids_stay_apart():
    film = record("a", title="Interstellar", imdb="tt0816692")
    assert len(groups_of(film, record("b", title="Intersteller", content_type=ContentType.SERIES))) == 2
    assert len(groups_of(film, record("b", title="Intersteller", imdb="tt0000001"))) == 2
    assert len(groups_of(film, record("b", title="Intersteller", tmdb=157336))) == 1


def test_parts_of_a_story_are_not_similar():
    def alike(one: str, other: str) -> float:
        return similarity(title_keys(record("1", title=one)), title_keys(record("2", title=other)))

    assert alike("Kill Bill: Vol. 1", "Kill Bill: Vol. 2") == 0
    assert alike("Rocky Balboa II", "Rocky Balboa III") == 0
    assert alike("The Hunger Games: Mockingjay - Part 1", "The Hunger Games: Mockingjay - Part 2") == 0
    assert alike("The Shawshank Redemption", "Shawshank Redemtion") > 0.85
    assert alike("Shawshank Redemption", "Green Mile") == 0


def test_of_two_equally_similar_works_none_is_chosen():
    works = [
        record("a", title="Interstallar", imdb="tt0000001"),
        record("b", title="Interstollar", imdb="tt0000002"),
    ]
    assert len(groups_of(*works, record("c", title="Interstellar"))) == 3


def test_embedding_links_from_the_threshold_on():
    home = uuid7()
    known = stored(record("a", title="La La Land"), home)

    def reason(cosine: float, **fields: Any) -> LinkReason:
        new = Member.arriving(record("b", title="City of Stars", **fields), 100)
        resolve([new, known], {new.key: [(home, cosine)]})
        return new.link.reason

    assert reason(0.92) is LinkReason.EMBEDDING
    assert reason(0.919) is LinkReason.NEW
    assert reason(0.99, content_type=ContentType.SERIES) is LinkReason.NEW
    assert reason(0.99, release_year=2003) is LinkReason.NEW


def test_reason_and_confidence_of_each_rule():
    def link_of(new: SourceRecord, known: SourceRecord) -> tuple[LinkReason, float]:
        member = Member.arriving(new, 100)
        resolve([member, stored(known, uuid7())])
        return member.link.reason, member.link.confidence

    eidr = "10.5240/7791-8534-2C23-9030-8610-5"
    assert link_of(record("a", eidr=eidr), record("b", eidr=eidr)) == (LinkReason.EXACT_ID, 1.0)
    assert link_of(record("a", imdb="tt0133093"), record("b", imdb="tt0133093")) == (
        LinkReason.EXACT_ID,
        0.99,
    )
    assert link_of(record("a", title="X Men"), record("b", title="X-Men")) == (LinkReason.EXACT_TITLE, 0.98)
    reason, confidence = link_of(record("a", title="Intersteller"), record("b", title="Interstellar"))
    assert reason is LinkReason.FUZZY_TITLE
    assert 0.90 <= confidence < 0.98
    assert link_of(record("a"), record("b")) == (LinkReason.NEW, 1.0)


def test_title_link_ends_when_an_id_contradicts_it():
    home = uuid7()
    anchor = stored(record("a", title="Home", imdb="tt0000001"), home)
    linked = stored(record("b", title="Home"), home, link=Link(LinkReason.EXACT_TITLE, 0.98, ("one", "a")))
    assert len(resolve([anchor, linked])) == 1
    corrected = arrive(Member.arriving(record("b", title="Home", imdb="tt0000002"), 100), linked)
    assert len(resolve([anchor, corrected])) == 2
    assert corrected.link.reason is LinkReason.NEW


def test_pinned_groups_are_never_joined_by_a_shared_id():
    one, other = uuid7(), uuid7()
    first = stored(record("a", imdb="tt0000001"), one, pin=one)
    second = stored(record("b", imdb="tt0000001"), other, pin=other)
    new = Member.arriving(record("c", imdb="tt0000001"), 100)
    groups = resolve([new, first, second])
    assert len(groups) == 2
    assert sum(len(group.members) for group in groups) == 3


def test_content_that_falls_apart_keeps_its_id_for_most_of_its_records():
    home = uuid7()
    members = [stored(record(name, imdb="tt0000001"), home) for name in "abc"]
    corrected = arrive(Member.arriving(record("a", imdb="tt0000002"), 100), members[0])
    plan = make_plan(Known(members), [corrected])
    assert {member.content_id for member in members[1:]} == {home}
    assert corrected.content_id != home
    assert [(key, content_id) for key, content_id in plan.ids_new] == [
        (("imdb", "tt0000002"), corrected.content_id)
    ]


def test_merge_keeps_the_older_content_unless_it_was_removed():
    old, young = sorted([uuid7(), uuid7()])
    members = [stored(record("a", imdb="tt0000001"), old), stored(record("b", tmdb=5), young)]

    def survivor(removed: frozenset[UUID]) -> UUID:
        bridge = arrive(Member.arriving(record("c", imdb="tt0000001", tmdb=5), 100), None)
        copies = [stored(member.record, member.content_id or old) for member in members]
        (change,) = make_plan(Known(copies, removed=removed), [bridge]).contents
        assert {change.content_id, *change.absorbed} == {old, young}
        return change.content_id

    assert survivor(frozenset()) == old
    assert survivor(frozenset({old})) == young


IDS = st.fixed_dictionaries(
    {},
    optional={
        "imdb": st.integers(1, 6).map(lambda n: f"tt{n:07d}"),
        "tmdb": st.integers(1, 6),
        "wikidata": st.integers(1, 6).map(lambda n: f"Q{n}"),
    },
)


@given(st.lists(IDS, max_size=14), st.randoms(use_true_random=False))
def test_exact_links_give_connected_components_in_any_order(ids, rng):
    records = [record(str(number), **each) for number, each in enumerate(ids)]
    expected = connected(records)
    shuffled = rng.sample(records, len(records))
    groups = resolve(arriving(*shuffled))
    assert {frozenset(member.key for member in group.members) for group in groups} == expected
