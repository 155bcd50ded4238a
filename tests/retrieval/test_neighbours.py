"""Neighbours of an export: against all with all, without the positives."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.retrieval.stores import random_store, write_store
from wristmir_jax.data.hard_negatives import NEIGHBOURS_FILE, NEIGHBOURS_SCHEMA
from wristmir_jax.retrieval import neighbours
from wristmir_jax.retrieval.neighbours import nearest_negatives, write_neighbours
from wristmir_jax.retrieval.store import EmbeddingStore


def brute_force(store, num_neighbours):
    """(row, score) of each image, written down plainly."""
    rows = store.ids.to_pylist()
    score_NxN = store.global_embedding @ store.global_embedding.T
    found = []
    for n, row in enumerate(rows):
        allowed = [
            m
            for m, other in enumerate(rows)
            if other["exam_id"] != row["exam_id"]
            and (not row["patient_id"] or other["patient_id"] != row["patient_id"])
            and (row["caption_group"] < 0 or other["caption_group"] != row["caption_group"])
        ]
        allowed.sort(key=lambda m: -score_NxN[n, m])
        found.append([(m, score_NxN[n, m]) for m in allowed[:num_neighbours]])
    return found


def check(store, num_neighbours):
    rows, scores = nearest_negatives(store, num_neighbours)
    expected = brute_force(store, num_neighbours)
    assert [row.tolist() for row in rows] == [[m for m, _ in found] for found in expected]
    for given, found in zip(scores, expected, strict=True):
        np.testing.assert_allclose(given, [score for _, score in found], atol=1e-5)


@pytest.mark.parametrize("num_neighbours", [1, 4, 500])
def test_neighbours_are_the_nearest_of_other_patients_and_captions(monkeypatch, num_neighbours):
    # Several portions of queries, and searches that must look deeper.
    monkeypatch.setattr(neighbours, "_QUERIES_AT_ONCE", 16)
    monkeypatch.setattr(neighbours, "_DEEPER", 2)
    check(random_store(30), num_neighbours)


def changed(store, **columns):
    ids = store.ids
    for name, values in columns.items():
        position = ids.column_names.index(name)
        ids = ids.set_column(position, ids.schema.field(name), pa.array(values))
    return dataclasses.replace(store, ids=ids)


def test_nearly_all_images_of_one_caption():
    store = random_store(40)
    group = np.where(np.arange(store.ids.num_rows) < 5, 1, 0)
    check(changed(store, caption_group=group), 8)


def test_unknown_patients_and_missing_captions_are_not_alike():
    store = random_store(20)
    nobody = [""] * store.ids.num_rows
    check(changed(store, patient_id=nobody, caption_group=[-1] * len(nobody)), 6)


def test_where_everything_is_alike_there_are_none():
    store = random_store(10)
    rows, scores = nearest_negatives(changed(store, caption_group=[3] * store.ids.num_rows), 4)
    assert [len(row) for row in rows] == [len(score) for score in scores] == [0] * len(rows)


def test_large_exports_are_searched_approximately(monkeypatch):
    pytest.importorskip("scann")
    store = random_store(30)
    exact, _ = nearest_negatives(store, 4)
    kinds, build = [], neighbours.build_coarse
    monkeypatch.setattr(neighbours, "_MAX_EXACT_ROWS", 10)
    monkeypatch.setattr(
        neighbours, "build_coarse", lambda kind, v: kinds.append(kind) or build(kind, v)
    )
    rows, _ = nearest_negatives(store, 4)
    assert kinds == ["scann"]
    assert [row.tolist() for row in rows] == [row.tolist() for row in exact]


def test_the_file_lies_beside_the_others_and_names_every_image(tmp_path):
    folder = write_store(tmp_path / "E")
    before = {path.name for path in folder.iterdir()}
    write_neighbours(folder, 5)
    assert {path.name for path in folder.iterdir()} == before | {NEIGHBOURS_FILE}
    table, store = pq.read_table(folder / NEIGHBOURS_FILE), EmbeddingStore.load(folder)
    assert table.schema.equals(NEIGHBOURS_SCHEMA)
    assert table["image_id"].to_pylist() == store.ids["image_id"].to_pylist()
    rows, scores = nearest_negatives(store, 5)
    assert table["neighbours"].to_pylist() == [row.tolist() for row in rows]
    assert table["scores"].to_pylist() == [score.tolist() for score in scores]
