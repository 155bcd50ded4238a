from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.reference import two_stage
from tests.retrieval.stores import random_store, unit
from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.errors import UserError
from wristmir_jax.retrieval import ranking
from wristmir_jax.retrieval.filters import Filters
from wristmir_jax.retrieval.queries import Queries
from wristmir_jax.retrieval.two_stage import Index

FILTERS = (
    Filters(),
    Filters(view="pa"),
    Filters(laterality="left", min_age=3, max_age=12),
    Filters(cast=False),
    Filters(sex="female", hardware=True, initial_exam=True, view="oblique"),
)


@cache
def gallery(num_exams: int, seed: int, axes: bool = False) -> tuple[Index, Queries]:
    """An index, and its first exams as queries. `axes`: scores are -1, 0 or 1, so mostly ties."""
    store = random_store(num_exams, dim=4 if axes else 8, seed=seed, axes=axes)
    return Index.build(store), Queries.of_exams(store, [f"exam-{e}" for e in range(4)])


def check(index, queries, region, top_k, num_candidates, region_weight, own, filters):
    """The index finds what the reference finds."""
    patients = [None if own else f"patient-{b // 2}" for b in range(len(queries))]
    exams = [f"exam-{b}" if b % 2 else None for b in range(len(queries))]
    ranked = index.search_batch(
        queries,
        region,
        top_k,
        num_candidates=num_candidates,
        region_weight=region_weight,
        exclude_patient=patients,
        exclude_exam=exams,
        filters=filters,
    )
    for b in range(len(queries)):
        expected = two_stage(
            index,
            queries,
            b,
            region,
            top_k,
            num_candidates,
            region_weight,
            patients[b],
            exams[b],
            filters,
        )
        found = ranked.exams[b][ranked.exams[b] >= 0]
        assert [index.exams.exam_ids[e] for e in found] == [hit[0] for hit in expected]
        count = len(expected)
        assert np.all(ranked.exams[b, count:] == -1)
        bones = [np.nan if hit[3] is None else hit[3] for hit in expected]
        np.testing.assert_allclose(
            ranked.scores[b, :count], [hit[1] for hit in expected], atol=1e-5
        )
        np.testing.assert_allclose(
            ranked.global_scores[b, :count], [hit[2] for hit in expected], atol=1e-5
        )
        np.testing.assert_allclose(ranked.region_scores[b, :count], bones, atol=1e-5)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    num_exams=st.sampled_from([4, 9, 40]),
    seed=st.integers(0, 2),
    axes=st.booleans(),
    region=st.sampled_from([None, *REGION_NAMES]),
    top_k=st.integers(1, 9),
    num_candidates=st.sampled_from([1, 3, 8, 50]),
    region_weight=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    own=st.booleans(),
    filters=st.sampled_from(FILTERS),
)
def test_search_equals_the_plain_reference(
    num_exams, seed, axes, region, top_k, num_candidates, region_weight, own, filters
):
    index, queries = gallery(num_exams, seed, axes)
    check(index, queries, region, top_k, num_candidates, region_weight, own, filters)


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("axes", [False, True])
def test_shallow_first_looks_and_small_pools_change_nothing(monkeypatch, axes, filters):
    """Where the first look is too shallow, the search looks deeper; large pools are cut first."""
    index, queries = gallery(150, 0, axes)
    monkeypatch.setattr(ranking, "_MIN_DEPTH", 0)
    monkeypatch.setattr(ranking, "_SLACK", 0.3)
    monkeypatch.setattr(ranking, "_DEEPER", 2)
    monkeypatch.setattr(ranking, "_MAX_POOL", 16)
    depths = []
    search = index.coarse.search
    monkeypatch.setattr(
        index.coarse, "search", lambda queries, k: depths.append(k) or search(queries, k)
    )
    check(index, queries, "distal_radius", 3, 6, 0.5, False, filters)
    if filters == Filters():
        assert len(set(depths)) > 1


@settings(deadline=None, max_examples=10, derandomize=True)
@given(seed=st.integers(0, 2), region=st.sampled_from(REGION_NAMES), depth=st.integers(5, 60))
def test_without_weight_on_the_region_the_order_is_global(seed, region, depth):
    index, queries = gallery(40, seed)
    two = index.search_batch(queries, region, 5, num_candidates=depth, region_weight=0.0)
    one = index.search_batch(queries, None, 5)
    np.testing.assert_array_equal(two.exams, one.exams)
    np.testing.assert_array_equal(two.scores, one.scores)


def test_region_orders_candidates_and_those_without_it_come_last():
    index, queries = gallery(40, 1)
    for b in range(len(queries)):
        query = queries.take(slice(b, b + 1))
        hits = index.search(query, "distal_ulna", 40, num_candidates=40, region_weight=1.0)
        if not query.region_present[0, :, 1].any():
            assert all(hit.region_score is None for hit in hits)
            assert [hit.score for hit in hits] == [hit.global_score for hit in hits]
            continue
        shown = [hit.region_score for hit in hits if hit.region_score is not None]
        assert 0 < len(shown) < len(hits)
        assert shown == sorted(shown, reverse=True)
        assert all(hit.region_score is None for hit in hits[len(shown) :])


def test_the_querys_patient_and_exam_are_never_found():
    index, queries = gallery(40, 0)
    everyone = {hit.exam_id for hit in index.search(queries.take(slice(2, 3)), None, 100)}
    assert len(everyone) == 40
    without = index.search(queries.take(slice(2, 3)), None, 100, exclude_patient="patient-1")
    assert everyone - {hit.exam_id for hit in without} == {"exam-2", "exam-3"}
    without = index.search(queries.take(slice(2, 3)), None, 100, exclude_exam="exam-2")
    assert everyone - {hit.exam_id for hit in without} == {"exam-2"}
    # A patient who is not known is nobody: exams without a patient do not belong together.
    assert len(index.search(queries.take(slice(2, 3)), None, 100, exclude_patient="")) == 40


def test_an_exam_finds_itself_first_with_its_own_labels():
    index, _ = gallery(40, 0)
    hits = index.search(index.query_from_exam("exam-7"), "distal_radius", 3)
    assert hits[0].exam_id == "exam-7"
    assert hits[0].rank == 1
    assert hits[0].caption == "caption 2"
    assert all(name.startswith("image-7-") for name in hits[0].image_ids)
    with pytest.raises(UserError, match="exam-99"):
        index.query_from_exam("exam-99")


def test_text_is_ranked_by_the_vectors_of_its_level():
    index, _ = gallery(40, 0)
    rng = np.random.default_rng(5)
    text, bone = unit(rng.normal(size=8)), unit(rng.normal(size=8))
    best = int((index.global_embedding @ text).argmax())
    hits = index.search_text(text, top_k=3)
    assert hits[0].exam_id == index.ids["exam_id"][best].as_py()
    assert hits[0].region_score is None
    similarity = np.where(index.region_present[1], index.region_embedding[1] @ bone, -np.inf)
    hits = index.search_text(text, bone, "distal_ulna", top_k=100)
    assert hits[0].exam_id == index.ids["exam_id"][int(similarity.argmax())].as_py()
    assert hits[0].score == hits[0].region_score == pytest.approx(similarity.max(), abs=1e-6)
    rows = index.exams.rows(index.exams.exam(hits[0].exam_id))
    expected = (index.global_embedding[rows] @ text).max()
    assert hits[0].global_score == pytest.approx(expected, abs=1e-6)
    assert len(hits) == len(set(index.exams.exam_of_row[index.region_present[1]]))


def test_no_regions():
    store = random_store(10, regions=())
    index = Index.build(store)
    hits = index.search(index.query_from_exam("exam-3"), top_k=2)
    assert hits[0].exam_id == "exam-3"
    with pytest.raises(UserError, match=r"distal_radius.*has none"):
        index.search(index.query_from_exam("exam-3"), "distal_radius")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"region": "elbow"}, "'elbow': choose one of distal_radius"),
        ({"top_k": 0}, "top_k=0"),
        ({"region": "distal_ulna", "num_candidates": 0}, "num_candidates=0"),
        ({"region_weight": 1.5}, "region_weight=1.5"),
    ],
)
def test_bad_arguments(arguments, message):
    index, queries = gallery(9, 0)
    with pytest.raises(UserError, match=message):
        index.search(queries.take(slice(0, 1)), **arguments)


def test_more_than_there_are_is_all_of_them():
    index, queries = gallery(9, 0)
    hits = index.search(queries.take(slice(0, 1)), "distal_ulna", 10**12, num_candidates=10**12)
    assert len(hits) == 9
    assert len(index.search_text(index.global_embedding[0], top_k=10**12)) == 9


def test_vectors_of_another_model_are_refused():
    index, _ = gallery(9, 0)
    other = random_store(9, dim=16)
    with pytest.raises(UserError, match="vector length"):
        index.search(Queries.of_exams(other, ["exam-0"]))


def test_one_exam_of_two_patients_is_refused():
    store = random_store(9)
    column = store.ids.schema.get_field_index("patient_id")
    patients = [f"patient-{row}" for row in range(store.ids.num_rows)]
    ids = store.ids.set_column(column, store.ids.schema.field(column), [patients])
    with pytest.raises(UserError, match="another patient"):
        Index(
            store.metadata,
            ids,
            store.global_embedding,
            store.region_embedding.transpose(1, 0, 2),
            store.region_present.T,
            "exact",
        )


@pytest.mark.parametrize(
    "arguments",
    [
        {"view": "ap"},
        {"laterality": "both"},
        {"min_age": 9.0, "max_age": 3.0},
        {"max_age": float("nan")},
    ],
)
def test_bad_filters(arguments):
    with pytest.raises(UserError):
        Filters(**arguments)
