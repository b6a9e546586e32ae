"""Outcomes put together, and values kept in a file to be compared with."""

import json
from pathlib import Path

import pytest

from media_gateway.cli.evaluation.report import Report, report_on
from media_gateway.cli.evaluation.stored import TOLERANCE, record, stored_for, worse_than
from media_gateway.core.errors import InvalidInputError
from tests.support.judged import outcome, pairs, query, target


def measured(**of_class: float) -> Report:
    """A report with one query a class and its NDCG."""
    queries = [query(number, kind) for number, kind in enumerate(of_class, 1)]
    outcomes = [outcome(one, ndcg_10=of_class[one.kind]) for one in queries]
    return report_on(pairs(*queries), target(), outcomes)


def test_means_are_over_queries_and_classes_stand_in_the_order_of_the_file():
    queries = [query(1, "b"), query(2, "a"), query(3, "b"), query(4, "b")]
    values = (1.0, 0.5, 0.0, 0.2)
    outcomes = [outcome(one, ndcg_10=value) for one, value in zip(queries, values, strict=True)]

    (variant,) = report_on(pairs(*queries), target(), list(reversed(outcomes))).variants

    assert [(found.name, found.queries) for found in variant.classes] == [("overall", 4), ("b", 3), ("a", 1)]
    assert [found.measures["ndcg@10"] for found in variant.classes] == pytest.approx([0.425, 0.4, 0.5])


def test_precision_is_the_mean_of_the_queries_that_have_it():
    queries = [query(1), query(2)]
    outcomes = [
        outcome(queries[0], ndcg_10=1.0, precision_10=0.3),
        outcome(queries[1], ndcg_10=1.0),
    ]
    (variant,) = report_on(pairs(*queries), target(), outcomes).variants
    assert variant.classes[0].measures["precision@10"] == pytest.approx(0.3)
    assert variant.classes[0].judged_in_ten == 1


def test_latencies_are_percentiles_of_what_the_client_saw():
    queries = [query(line) for line in range(1, 102)]
    outcomes = [outcome(one, latency_ms=float(one.line), ndcg_10=1.0) for one in queries]
    (variant,) = report_on(pairs(*queries), target(), outcomes).variants
    assert (variant.classes[0].latency_ms.p50, variant.classes[0].latency_ms.p95) == (51.0, 96.0)


def test_variants_are_compared_query_by_query_with_the_first():
    queries = [query(line) for line in range(1, 31)]
    outcomes = [outcome(one, "plain", ndcg_10=0.5) for one in queries]
    outcomes += [outcome(one, "new", ndcg_10=0.5 + (0.2 if one.line % 2 else 0.1)) for one in queries]

    report = report_on(pairs(*queries), target("plain", "new"), outcomes)

    (comparison,) = report.comparisons
    assert (comparison.first, comparison.second) == ("plain", "new")
    difference = comparison.classes["exact"]["ndcg@10"]
    assert difference.mean == pytest.approx(0.15)
    assert 0.1 <= difference.low < difference.mean < difference.high <= 0.2
    assert difference.is_significant


def test_a_measurement_that_ended_early_is_put_together_as_far_as_it_came():
    queries = [query(1), query(2)]
    report = report_on(pairs(*queries), target("plain", "new"), [outcome(queries[0], "plain", ndcg_10=1.0)])
    assert not report.is_whole
    assert [variant.queries for variant in report.variants] == [1]
    assert report.comparisons == ()
    assert report_on(pairs(*queries), target(), []).variants == ()


def test_what_is_recorded_passes_and_what_is_worse_by_more_than_its_tolerance_fails(tmp_path: Path):
    path = tmp_path / "stored.json"
    record(path, measured(exact=0.9, typo=0.8))
    stored = stored_for(path, pairs(), 100)

    assert worse_than(stored, measured(exact=0.9, typo=0.8)) == []
    assert worse_than(stored, measured(exact=0.9, typo=0.8 - TOLERANCE / 2)) == []
    assert worse_than(stored, measured(exact=1.0, typo=1.0)) == []
    (finding,) = worse_than(stored, measured(exact=0.96, typo=0.78))
    assert (finding.kind, finding.measure, finding.now) == ("typo", "ndcg@10", 0.78)
    found = worse_than(stored, measured(exact=0.5, typo=0.8))
    assert [(one.kind, one.measure) for one in found] == [("overall", "ndcg@10"), ("exact", "ndcg@10")]


def test_a_class_that_is_gone_is_worse_than_stored(tmp_path: Path):
    path = tmp_path / "stored.json"
    record(path, measured(exact=0.9, typo=0.8))
    found = worse_than(stored_for(path, pairs(), 100), measured(exact=0.9))
    assert [(one.kind, one.now) for one in found] == [("typo", None)]


def test_recording_again_keeps_tolerances(tmp_path: Path):
    path = tmp_path / "stored.json"
    record(path, measured(exact=0.9))
    document = json.loads(path.read_text())
    document["classes"]["exact"]["ndcg@10"]["tolerance"] = 0.2
    path.write_text(json.dumps(document))

    record(path, measured(exact=0.7, new=0.5))

    classes = stored_for(path, pairs(), 100).classes
    assert (classes["exact"]["ndcg@10"].value, classes["exact"]["ndcg@10"].tolerance) == (0.7, 0.2)
    assert classes["new"]["ndcg@10"].tolerance == TOLERANCE


def test_values_of_other_queries_or_another_depth_are_not_compared_with(tmp_path: Path):
    path = tmp_path / "stored.json"
    record(path, measured(exact=0.9))
    with pytest.raises(InvalidInputError, match="depth 100, not 50"):
        stored_for(path, pairs(), 50)
    path.write_text(path.read_text().replace("0" * 64, "1" * 64))
    with pytest.raises(InvalidInputError, match="another file of queries"):
        stored_for(path, pairs(), 100)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"depth": 100}', '{"pairs_sha256": "", "depth": 1, "classes": 1}']
)
def test_a_file_that_is_none_of_ours_is_told_and_never_overwritten(tmp_path: Path, content: str):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InvalidInputError, match=r"other\.json: "):
        stored_for(path, pairs(), 100)
    with pytest.raises(InvalidInputError, match=r"other\.json: "):
        record(path, measured(exact=0.9))
    assert path.read_text() == content
