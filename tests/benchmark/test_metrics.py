import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from wristmir_jax.benchmark.metrics import (
    CaptionGallery,
    chance_of_a_hit,
    commonest_captions,
    image_to_text,
    text_to_image,
)
from wristmir_jax.learning.ranks import best_positive_ranks


def naive_rank(scores: np.ndarray, positive: np.ndarray) -> int:
    """All that is not positive and scores at least as well stands before the best positive."""
    if not positive.any():
        return len(scores) + 1
    return 1 + sum(
        1
        for score, is_positive in zip(scores, positive, strict=True)
        if not is_positive and score >= scores[positive].max()
    )


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_chunked_ranks_equal_the_dense_ones(data):
    num_queries = data.draw(st.integers(1, 12))
    num_candidates = data.draw(st.integers(1, 9))
    seed = data.draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    # Small integers make ties common and products exact.
    queries = rng.integers(-1, 2, (num_queries, 3)).astype(np.float32)
    candidates = rng.integers(-1, 2, (num_candidates, 3)).astype(np.float32)
    query_group = rng.integers(0, 4, num_queries)
    candidate_group = rng.integers(0, 4, num_candidates)
    dense = [
        naive_rank(candidates @ q, candidate_group == group)
        for q, group in zip(queries, query_group, strict=True)
    ]
    for chunk in (1, 4, None):
        ranks = best_positive_ranks(queries, query_group, candidates, candidate_group, chunk)
        assert ranks.tolist() == dense


def test_equal_vectors_for_everything_find_nothing():
    same = np.ones((20, 4), np.float32) / 2
    ranks = best_positive_ranks(same, np.arange(20), same, np.arange(20))
    assert (ranks == 20).all()


def gallery(captions: list[int], train_count: list[int], patients: list[int] | None = None):
    """Images and captions with orthogonal vectors: image i looks exactly like its caption."""
    eye = np.eye(len(train_count), dtype=np.float32)
    return CaptionGallery(
        image_embedding=eye[captions],
        image_caption=np.array(captions),
        patients=np.array(patients or range(len(captions))),
        caption_embedding=eye,
        train_count=np.array(train_count),
    )


def test_perfect_vectors_reach_one_both_ways_and_equal_captions_are_one_candidate():
    images = gallery([0, 0, 0, 1, 2, 3, 4, 5, 6, 7], [1] * 8)
    to_text, to_image = image_to_text(images), text_to_image(images)
    assert to_text is not None and to_image is not None
    assert to_text["recall@1"] == to_image["recall@1"] == 1
    assert (to_text["queries"], to_text["gallery_size"]) == (10, 8)
    assert (to_image["queries"], to_image["gallery_size"]) == (8, 10)
    assert to_text["chance@5"] == 5 / 8


def test_constant_ranker_answers_with_the_commonest_training_captions():
    # Captions 0..6; training knows 6 best, then 5, 4, 3 alike, and never saw 0, 1, 2.
    images = gallery([0, 0, 1, 2, 3, 4, 5, 6, 6, 6], [0, 0, 0, 1, 1, 2, 9])
    assert commonest_captions(images, 5).tolist() == [6, 5, 3, 4, 0]
    metrics = image_to_text(images)
    assert metrics is not None
    assert metrics["constant_ranker@5"] == 8 / 10
    assert metrics["margin_over_constant@5"] == pytest.approx(1 - 8 / 10)
    low, high = metrics["margin_over_constant_ci95"]
    assert 0 <= low < 0.2 < high < 1


def test_macro_recall_weighs_rare_captions_as_common_ones():
    # Nine images of caption 0 are found, the one of caption 1 looks like everything else.
    eye = np.eye(8, dtype=np.float32)
    images = CaptionGallery(
        image_embedding=np.stack([eye[0]] * 9 + [-eye[1]]),
        image_caption=np.array([0] * 9 + [1]),
        patients=np.arange(10),
        caption_embedding=eye,
        train_count=np.ones(8, int),
    )
    metrics = image_to_text(images)
    assert metrics is not None
    assert metrics["recall@5"] == 0.9
    assert metrics["macro_recall@5"] == pytest.approx(0.5)


def test_intervals_hold_the_captions_that_only_one_patient_has():
    # Ten captions of twenty films each are found, thirty of one film each are not.
    eye = np.eye(40, dtype=np.float32)
    captions = np.concatenate([np.arange(10).repeat(20), np.arange(10, 40)])
    images = CaptionGallery(
        image_embedding=np.where(captions[:, None] < 10, eye[captions], -eye[captions]),
        image_caption=captions,
        patients=np.arange(len(captions)),
        caption_embedding=eye,
        train_count=np.ones(40, int),
    )
    for metrics, key in (
        (image_to_text(images), "macro_recall@5_ci95"),
        (text_to_image(images), "recall@5_ci95"),
    ):
        assert metrics is not None
        low, high = metrics[key]
        assert metrics["macro_recall@5"] == pytest.approx(10 / 40)
        assert low < 10 / 40 < high


@pytest.mark.parametrize(
    ("positives", "size", "k"), [(1, 10, 5), (3, 50, 5), (48, 50, 5), (2, 3, 5)]
)
def test_chance_of_a_hit_is_hypergeometric(positives, size, k):
    expected = 1 - hypergeom(size, positives, min(k, size)).pmf(0)
    assert chance_of_a_hit(np.array([positives]), size, k)[0] == pytest.approx(expected)


def test_random_vectors_stay_near_chance():
    rng = np.random.default_rng(0)
    captions = np.concatenate([np.arange(100), rng.integers(0, 100, 1900)])
    images = CaptionGallery(
        image_embedding=rng.normal(size=(2000, 8)).astype(np.float32),
        image_caption=captions,
        patients=np.arange(2000),
        caption_embedding=rng.normal(size=(100, 8)).astype(np.float32),
        train_count=np.ones(100, int),
    )
    metrics = image_to_text(images)
    assert metrics is not None
    low, high = metrics["recall@5_ci95"]
    assert low - 0.01 < metrics["chance@5"] < high + 0.01


def test_nothing_to_ask_is_none():
    empty = np.zeros((0, 4), np.float32)
    none = CaptionGallery(empty, np.zeros(0, int), np.zeros(0), empty, np.zeros(0, int))
    assert image_to_text(none) is None
    assert text_to_image(none) is None
