import numpy as np
import pytest

from tests.benchmark.synthetic import write_store
from wristmir_jax.benchmark import ranking
from wristmir_jax.benchmark.exams import Exams
from wristmir_jax.benchmark.ranking import TrainGallery
from wristmir_jax.retrieval.rerank import MISSING_REGION_PENALTY
from wristmir_jax.retrieval.store import EmbeddingStore


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> EmbeddingStore:
    folder = tmp_path_factory.mktemp("ranking") / "embeddings"
    return write_store(folder, num_exams=60, noise=1.0, region_noise=1.0)


def naive_scores(store: EmbeddingStore, exams: Exams, query: int, exam: int, region: int) -> tuple:
    """Global and region score: best view of the exam, mean over the query's; None = unseen."""
    q, e = (np.flatnonzero(exams.exam_of_row == which) for which in (query, exam))
    whole = (store.global_embedding[q] @ store.global_embedding[e].T).max(1).mean()
    q = q[store.region_present[q, region]]
    e = e[store.region_present[e, region]]
    if not len(q) or not len(e):
        return whole, None
    bone = (store.region_embedding[q, region] @ store.region_embedding[e, region].T).max(1).mean()
    return whole, bone


@pytest.mark.parametrize(("region", "weight", "candidates"), [(0, 0.5, 8), (2, 1.0, 100)])
def test_ranking_equals_a_search_by_hand(store, region, weight, candidates, monkeypatch):
    # At least as many exams are candidates as are asked for.
    monkeypatch.setattr(ranking, "DEPTH", candidates)
    exams = Exams.of(store)
    gallery = TrainGallery(store, exams)
    queries = np.flatnonzero(exams.split == "test")
    name = store.metadata.regions[region]
    globally = gallery.rank(queries, None)
    two_stage = gallery.rank(queries, name, weight, candidates)
    for i, query in enumerate(queries):
        scores = {e: naive_scores(store, exams, query, e, region) for e in gallery.exams}
        by_global = sorted(scores, key=lambda e: -scores[e][0])
        found = [e for e in globally.exams[i] if e >= 0]
        chosen = by_global[:candidates]
        np.testing.assert_allclose(
            [scores[e][0] for e in found], [scores[e][0] for e in chosen], atol=1e-5
        )
        asked = any(scores[e][1] is not None for e in gallery.exams)

        def combined(e, scores=scores, asked=asked):
            whole, bone = scores[e]
            if bone is None:
                return whole - MISSING_REGION_PENALTY * asked
            return (1 - weight) * whole + weight * bone

        found = two_stage.exams[i][two_stage.exams[i] >= 0]
        assert sorted(found) == sorted(chosen)
        np.testing.assert_allclose(
            two_stage.scores[i][: len(found)], sorted(map(combined, chosen))[::-1], atol=1e-5
        )


def test_no_query_finds_nothing(store):
    found = TrainGallery(store, Exams.of(store)).rank(np.zeros(0, int), None)
    assert found.exams.shape == found.scores.shape and len(found.exams) == 0
