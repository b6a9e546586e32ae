from datetime import date

import pytest
from hypothesis import given, strategies as st

from media_gateway.core.domain.content import (
    Credit,
    CreditRole,
    Genre,
    Images,
    MaturityRating,
    SeriesData,
    SourceRecord,
)
from media_gateway.ingestion.identity.folding import (
    QUALITY_WEIGHTS,
    Work,
    changed_fields,
    fold,
    is_enrichment,
)
from media_gateway.ingestion.identity.records import Member, is_outdated, nul_field, overlay
from tests.support.catalogue import offering, record


def folded(*records: SourceRecord, priorities: tuple[int, ...] = ()) -> Work:
    ranks = priorities or (100,) * len(records)
    return fold([Member.arriving(each, rank) for each, rank in zip(records, ranks, strict=True)])


def actor(name: str, **fields: object) -> Credit:
    return Credit(name=name, role=CreditRole.ACTOR, **fields)


def test_scalars_come_from_the_first_source_that_has_them():
    first = record("1", source="best", title="Best", runtime_minutes=None)
    second = record("1", source="other", title="Other", runtime_minutes=99, overview="Words.")
    work = folded(second, first, priorities=(20, 10))
    assert (work.facts["title"], work.facts["runtime_minutes"], work.facts["overview"]) == (
        "Best",
        99,
        "Words.",
    )
    assert work.facts["sources"] == ("best", "other")


def test_rating_and_its_count_come_from_the_same_source():
    work = folded(
        record("1", source="a", rating_count=3), record("1", source="b", average_rating=7.5, rating_count=900)
    )
    assert (work.facts["average_rating"], work.facts["rating_count"]) == (7.5, 900)


def test_sets_are_united_in_source_order_without_duplicates():
    work = folded(
        record("1", source="a", genres=(Genre.DRAMA, Genre.DRAMA)),
        record("1", source="b", genres=(Genre.CRIME, Genre.DRAMA)),
    )
    assert work.facts["genres"] == (Genre.DRAMA, Genre.CRIME)


def test_each_source_has_its_own_offerings_of_one_platform():
    work = folded(
        record("1", source="a", offerings=(offering(price_cents=399, currency="USD"),)),
        record("1", source="b", offerings=(offering(price_cents=499, currency="USD"),)),
    )
    assert {key[0]: found.price_cents for key, found in work.offerings.items()} == {"a": 399, "b": 499}


def test_delisted_record_keeps_its_facts_and_loses_its_offerings():
    member = Member.arriving(record("1", overview="Words.", offerings=(offering(),)), 100)
    member.delisted = True
    work = fold([member])
    assert work.facts["overview"] == "Words."
    assert not work.offerings


def test_person_named_by_two_sources_is_one_credit_with_gaps_filled():
    work = folded(
        record("1", source="a", credits=(actor("Zoë Kravitz", position=1), actor("Al Pacino", position=0))),
        record("1", source="b", credits=(actor("ZOE KRAVITZ", character="Selina", external_id="nm1"),)),
    )
    assert work.credits == (
        ("actor", 0, "Al Pacino", None, None),
        ("actor", 1, "Zoë Kravitz", "Selina", "nm1"),
    )


def test_actor_of_two_characters_keeps_both():
    characters = [
        credit[3]
        for credit in folded(
            record("1", credits=(actor("A", character="X"), actor("A", character="Y")))
        ).credits
    ]
    assert characters == ["X", "Y"]


def test_images_are_united_member_by_member():
    work = folded(
        record("1", source="a", images=Images(poster="p1")),
        record("1", source="b", images=Images(poster="p2", logo="l2")),
    )
    assert work.facts["images"] == '{"logo":"l2","poster":"p1"}'


def test_place_in_a_series_is_not_mixed_from_two_sources():
    work = folded(
        record("1", source="a", series=SeriesData(season_number=1, episode_number=2)),
        record("1", source="b", series=SeriesData(series_id="x", season_number=9, total_seasons=4)),
    )
    assert work.facts["series"] == '{"episode_number":2,"season_number":1,"total_seasons":4}'


def test_quality_score_is_the_sum_of_known_facts():
    assert sum(QUALITY_WEIGHTS.values()) == pytest.approx(1)
    assert folded(record("1", release_year=None)).facts["quality_score"] == pytest.approx(0.1)
    whole = record(
        "1",
        overview="Words.",
        runtime_minutes=90,
        genres=(Genre.DRAMA,),
        maturity_rating=MaturityRating.PG,
        average_rating=7,
        images=Images(poster="p"),
    )
    assert folded(whole).facts["quality_score"] == pytest.approx(1)


def test_new_facts_only_are_an_enrichment():
    before, after = folded(record("1", title="X")), folded(record("1", title="X", overview="Words."))
    assert changed_fields(before, after) == ["overview", "quality_score"]
    assert is_enrichment(before, changed_fields(before, after))
    assert not is_enrichment(after, changed_fields(after, folded(record("1", title="X", overview="Other."))))


def test_null_never_erases_and_an_empty_set_does():
    before = record(
        "1",
        title="X",
        overview="Words.",
        imdb="tt0000001",
        offerings=(offering(),),
        genres=(Genre.DRAMA,),
        images=Images(poster="p"),
    )
    after = overlay(before, record("1", title="Y", tmdb=5, genres=(), images=Images(logo="l")))
    assert (after.title, after.overview, after.genres, after.offerings) == ("Y", "Words.", (), (offering(),))
    assert (after.external_ids.imdb, after.external_ids.tmdb) == ("tt0000001", 5)
    assert after.images == Images(poster="p", logo="l")


def test_corrected_id_replaces_the_old_one():
    assert (
        overlay(record("1", imdb="tt0000001"), record("1", imdb="tt0000002")).external_ids.imdb == "tt0000002"
    )


def test_statement_is_outdated_only_when_both_say_their_time():
    at = {day: record("1", updated_at=f"2024-01-0{day}T00:00:00") for day in (1, 2)}
    assert is_outdated(at[1], at[2])
    assert not is_outdated(at[2], at[1])
    assert not is_outdated(at[1], record("1"))


def test_field_with_a_nul_character_is_named():
    assert nul_field(Member.arriving(record("1", credits=(actor("A\0"),)), 1).body) == "credits.0.name"
    assert nul_field(Member.arriving(record("1", title="back\\u0000slash"), 1).body) is None


TEXTS = st.none() | st.sampled_from(["a", "b"])
RECORDS = st.builds(
    lambda source, source_id, **fields: record(source_id, source=source, **fields),
    source=st.sampled_from(["x", "y"]),
    source_id=st.sampled_from(["1", "2", "3"]),
    title=st.sampled_from(["A", "B"]),
    overview=TEXTS,
    original_title=TEXTS,
    release_date=st.none() | st.just(date(1999, 1, 1)),
    genres=st.none() | st.lists(st.sampled_from(list(Genre)[:4]), max_size=3).map(tuple),
    keywords=st.none() | st.lists(st.sampled_from("abc"), max_size=3).map(tuple),
    average_rating=st.none() | st.sampled_from([1.0, 2.0]),
    rating_count=st.none() | st.sampled_from([1, 2]),
    alternate_titles=st.none() | st.dictionaries(st.sampled_from(["de", "fr"]), st.sampled_from(["t", "u"])),
    images=st.none() | st.builds(Images, poster=TEXTS, logo=TEXTS),
    series=st.none()
    | st.builds(SeriesData, season_number=st.none() | st.just(1), total_seasons=st.none() | st.just(3)),
    offerings=st.none() | st.lists(st.builds(offering, st.sampled_from(["p", "q"])), max_size=2).map(tuple),
    credits=st.none()
    | st.lists(
        st.builds(actor, st.sampled_from(["Ä", "A", "B"]), character=TEXTS, position=st.integers(0, 2)),
        max_size=4,
    ).map(tuple),
)


@given(
    st.lists(RECORDS, min_size=1, max_size=5, unique_by=lambda each: (each.source, each.source_id)), st.data()
)
def test_fold_does_not_depend_on_the_order_of_its_records(records, data):
    members = [Member.arriving(each, {"x": 1, "y": 2}[each.source]) for each in records]
    shuffled = data.draw(st.permutations(members))
    assert fold(shuffled) == fold(members)


@given(RECORDS, RECORDS)
def test_overlay_keeps_everything_the_newer_record_leaves_out(old, new):
    new = new.model_copy(update={"source_id": old.source_id, "source": old.source})
    both = overlay(old, new)
    for name, value in old:
        if getattr(new, name) is None:
            assert getattr(both, name) == value
    assert overlay(both, new) == both
