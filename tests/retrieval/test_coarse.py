import os
import shutil

import numpy as np
import pytest
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.stores import unit
from wristmir_jax.errors import UserError
from wristmir_jax.retrieval import coarse
from wristmir_jax.retrieval.coarse import COARSE, ExactSearcher, build_coarse, load_coarse


def clustered(num_rows: int, dim: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around the same 64 centres whatever the seed, as queries and a gallery are."""
    centres = np.random.default_rng(dim).normal(size=(64, dim))
    rng = np.random.default_rng(seed)
    return unit(centres[rng.integers(0, 64, num_rows)] + 0.3 * rng.normal(size=(num_rows, dim)))


@settings(max_examples=20, derandomize=True)
@given(
    num_rows=st.sampled_from([1, 7, 64, 100]),
    num_queries=st.sampled_from([1, 3, 300]),
    block=st.sampled_from([5, 64, 1000]),
    seed=st.integers(0, 2),
    data=st.data(),
)
def test_exact_search_equals_numpy(num_rows, num_queries, block, seed, data):
    k = data.draw(st.integers(1, num_rows))
    vectors, queries = clustered(num_rows, 8, seed), clustered(num_queries, 8, seed + 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coarse, "_BLOCK_SCORES", block * num_queries)
        rows, scores = ExactSearcher(vectors).search(queries, k)
    expected = queries @ vectors.T
    assert rows.shape == scores.shape == (num_queries, k)
    np.testing.assert_allclose(scores, np.sort(expected, axis=1)[:, ::-1][:, :k], atol=1e-5)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, rows, axis=1), atol=1e-5)
    assert all(len(set(found)) == k for found in rows.tolist())


def test_equal_scores_keep_the_order_of_rows(monkeypatch):
    monkeypatch.setattr(coarse, "_BLOCK_SCORES", 4)
    rows, _ = ExactSearcher(np.tile(unit(np.ones((1, 4))), (10, 1))).search(
        unit(np.ones((1, 4))), 7
    )
    np.testing.assert_array_equal(rows, [range(7)])


def test_scann_finds_what_exact_search_finds():
    pytest.importorskip("scann")
    vectors, queries = clustered(6000, 32), clustered(200, 32, 1)
    rows, scores = build_coarse("scann", vectors).search(queries, 10)
    exact, _ = build_coarse("exact", vectors).search(queries, 10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, exact, strict=True)])
    assert recall > 0.95
    np.testing.assert_allclose(
        scores, np.take_along_axis(queries @ vectors.T, rows, axis=1), atol=1e-4
    )


@pytest.mark.parametrize("num_rows", [50, 6000])
@pytest.mark.parametrize("kind", COARSE)
def test_a_searcher_is_saved_moved_and_loaded(tmp_path, monkeypatch, kind, num_rows):
    if kind == "scann":
        pytest.importorskip("scann")
    vectors, queries = clustered(num_rows, 16), clustered(5, 16, 1)
    searcher = build_coarse(kind, vectors)
    (tmp_path / "here").mkdir()
    searcher.save(epath.Path(tmp_path / "here" / kind))
    shutil.move(tmp_path / "here", tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    loaded = load_coarse(kind, epath.Path("there") / kind, vectors)
    for ours, expected in zip(loaded.search(queries, 7), searcher.search(queries, 7), strict=True):
        np.testing.assert_array_equal(ours, expected)
    rows, _ = loaded.search(queries, num_rows)
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(np.arange(num_rows), (5, 1)))


def test_a_pickle_is_neither_written_nor_opened(tmp_path):
    pytest.importorskip("scann")
    folder = epath.Path(tmp_path / "scann")
    vectors = clustered(20, 8)
    build_coarse("scann", vectors).save(folder)
    assert not [name for name in os.listdir(folder) if name.endswith((".pkl", ".pickle"))]
    (folder / "docids.pkl").write_text("")
    with pytest.raises(UserError, match=r"docids\.pkl"):
        load_coarse("scann", folder, vectors)


def test_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match="choose one of exact, scann"):
        build_coarse("faiss", clustered(5, 4))


def test_a_damaged_folder_is_refused(tmp_path):
    pytest.importorskip("scann")
    with pytest.raises(UserError, match="build the index again"):
        load_coarse("scann", epath.Path(tmp_path), clustered(5, 4))
