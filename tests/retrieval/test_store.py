import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.retrieval.stores import metadata, random_rows, unit, write_store
from wristmir_jax.errors import UserError
from wristmir_jax.reports.findings import STATUSES
from wristmir_jax.retrieval import store as store_module
from wristmir_jax.retrieval.store import EmbeddingStore, EmbeddingWriter


def test_round_trip_in_many_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_ROWS_PER_GROUP", 8)
    monkeypatch.setattr(store_module, "_ROWS_PER_PART", 16)
    ids, vectors, region_vectors, present = random_rows(30)
    with EmbeddingWriter(tmp_path / "E", metadata()) as writer:
        for start in range(0, len(vectors), 5):
            part = slice(start, start + 5)
            writer.add(
                {name: column[part] for name, column in ids.items()},
                vectors[part],
                region_vectors[part],
                present[part],
            )
    assert len(list((tmp_path / "E").glob("part-*.parquet"))) > 2
    store = EmbeddingStore.load(tmp_path / "E")
    assert store.ids.select(list(ids)).to_pydict() == ids
    np.testing.assert_array_equal(store.global_embedding, vectors)
    np.testing.assert_array_equal(store.region_present, present)
    np.testing.assert_array_equal(store.region_embedding, region_vectors * present[..., None])
    assert [STATUSES[code] for code in store.region_status[:, 1]] == ids["distal_ulna_status"]
    assert store.metadata.num_rows == len(vectors)
    assert store.metadata.num_exams == 30
    assert sum(store.metadata.splits.values()) == len(vectors)
    assert len(store.captions("distal_radius").captions) == 0


def test_splits_and_captions(tmp_path):
    write_store(tmp_path / "E")
    store = EmbeddingStore.load(tmp_path / "E", splits=["test"])
    assert set(store.ids["split"].to_pylist()) == {"test"}
    assert len(store.global_embedding) == store.metadata.splits["test"] == store.ids.num_rows
    table = store.captions("global")
    assert table.captions == ["a", "b"]
    assert table.embedding.shape == (2, 16)
    np.testing.assert_array_equal(table.count_all, [5, 6])
    assert table.groups.dtype == np.int64
    with pytest.raises(UserError, match="elbow"):
        store.captions("elbow")
    with pytest.raises(UserError, match="holdout"):
        EmbeddingStore.load(tmp_path / "E", splits=["holdout"])


def test_no_regions(tmp_path):
    store = EmbeddingStore.load(write_store(tmp_path / "E", regions=()))
    assert store.region_embedding.shape[1] == 0
    assert store.region_present.shape == store.region_status.shape == (store.ids.num_rows, 0)
    assert list(store.caption_tables) == ["global"]


@pytest.mark.parametrize(
    ("break_rows", "message"),
    [
        (lambda ids, g, r, p: (ids, g * 1.1, r, p), "global_embedding.*not L2-normalised"),
        (lambda ids, g, r, p: (ids, g * np.nan, r, p), "not L2-normalised"),
        (lambda ids, g, r, p: (ids, g, r * 2, p), "distal_radius_embedding.*not L2-normalised"),
        (lambda ids, g, r, p: (ids, unit(g[:, :8]), r, p), "global_embedding has shape"),
        (lambda ids, g, r, p: (ids, g, r[:, :2], p), "region_embedding has shape"),
        (lambda ids, g, r, p: (ids | {"image_id": ["x"] * len(g)}, g, r, p), "'x' occurs twice"),
        (lambda ids, g, r, p: (ids | {"view": ["ap"] * len(g)}, g, r, p), "view 'ap'"),
        (lambda ids, g, r, p: (ids | {"exam_id": [None] * len(g)}, g, r, p), "exam_id has empty"),
        (lambda ids, g, r, p: (ids | {"cast": ["no"] * len(g)}, g, r, p), "column cast"),
        (lambda ids, g, r, p: ({k: v for k, v in ids.items() if k != "sex"}, g, r, p), "'sex'"),
    ],
)
def test_bad_rows_are_refused_and_leave_nothing(tmp_path, break_rows, message):
    with (
        pytest.raises(UserError, match=message),
        EmbeddingWriter(tmp_path / "E", metadata()) as writer,
    ):
        writer.add(*break_rows(*random_rows(5)))
    assert list(tmp_path.iterdir()) == []


def test_empty_store_is_refused(tmp_path):
    with (
        pytest.raises(UserError, match="split is empty"),
        EmbeddingWriter(tmp_path / "E", metadata()),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_only_a_store_is_replaced(tmp_path):
    write_store(tmp_path / "E", num_exams=4)
    write_store(tmp_path / "E", num_exams=6)
    assert EmbeddingStore.load(tmp_path / "E").metadata.num_exams == 6
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="choose another output folder"):
        write_store(tmp_path / "notes")
    assert (tmp_path / "notes" / "thesis.txt").read_text() == "precious"


def test_captions_are_checked(tmp_path):
    with EmbeddingWriter(tmp_path / "E", metadata()) as writer:
        writer.add(*random_rows(3))
        vectors, counts = unit(np.eye(2, 16)), np.ones(2, int)
        with pytest.raises(UserError, match="occurs twice"):
            writer.write_captions("global", ["a", "a"], np.array([1, 2]), vectors, counts, counts)
        with pytest.raises(UserError, match="not L2"):
            writer.write_captions("global", ["a", "b"], counts, 2 * vectors, counts, counts)
        with pytest.raises(UserError, match="elbow"):
            writer.write_captions("elbow", ["a", "b"], np.arange(2), vectors, counts, counts)


def test_damage_is_named(tmp_path):
    folder = write_store(tmp_path / "E")
    with pytest.raises(UserError, match="no embedding store"):
        EmbeddingStore.load(tmp_path / "nowhere")

    def damaged(change):
        shutil.rmtree(tmp_path / "D", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "D")
        change(tmp_path / "D")
        with pytest.raises(UserError) as caught:
            EmbeddingStore.load(tmp_path / "D")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def rewrite(change):
        def apply(where):
            path = where / "part-00000.parquet"
            pq.write_table(change(pq.read_table(path)), path)

        return apply

    def set_metadata(**update):
        def apply(where):
            path = where / "metadata.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | update))

        return apply

    message = damaged(rewrite(lambda table: table.drop_columns("distal_ulna_embedding")))
    assert "part-00000.parquet" in message
    assert "distal_ulna_embedding" in message
    assert "rows" in damaged(rewrite(lambda table: table.slice(1)))
    assert "captions.parquet" in damaged(lambda where: (where / "captions.parquet").unlink())
    assert "part-*" in damaged(lambda where: (where / "part-00000.parquet").unlink())
    assert "Parquet" in damaged(lambda where: (where / "part-00000.parquet").write_text("text"))
    assert "store_version" in damaged(set_metadata(store_version=1))
    assert "embedding_dim" in damaged(set_metadata(embedding_dim="many"))
    assert "global_embedding" in damaged(set_metadata(embedding_dim=8))
