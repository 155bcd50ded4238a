"""A prepared data set is what TFDS opens, what Grain reads, and what its tables say."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.data.wrists import findings, row, write_folder
from wristmir_jax.anatomy import SIDES
from wristmir_jax.data.dataset import Dataset
from wristmir_jax.data.prepare import prepare
from wristmir_jax.data.record import SPLITS, Record
from wristmir_jax.data.sources.folder import FolderSource
from wristmir_jax.data.splits import SplitRule
from wristmir_jax.data.writer import INDEX_SCHEMA
from wristmir_jax.errors import UserError
from wristmir_jax.images.crops import letterbox
from wristmir_jax.images.reading import read_radiograph
from wristmir_jax.reports.captions import caption_group

NUM_FILMS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rows = [
        row(
            place,
            patient_id=f"P{place // 2}",
            findings=json.dumps(findings("fracture" if place % 4 < 2 else "no_fracture")),
            cast="yes" if place % 3 == 0 else "",
            laterality="right" if place % 5 == 0 else "left",
        )
        for place in range(NUM_FILMS)
    ]
    return write_folder(tmp_path_factory.mktemp("in"), rows)


@pytest.fixture(scope="module")
def directory(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "dataset"
    prepare(
        FolderSource(folder), output, image_size=64, crop_size=32, localizer="prior", progress=False
    )
    return output


def test_tfds_opens_it_and_reads_the_same_values(directory):
    builder = tfds.builder_from_directory(str(directory))
    dataset = Dataset(directory)
    for split in builder.info.splits:
        theirs, ours = builder.as_data_source(split), dataset.source(split)
        assert len(theirs) == len(ours) == dataset.info.num_records[split]
        for place in range(len(ours)):
            expected = theirs[place]
            assert set(expected) == set(ours[place]) == set(Record.__dataclass_fields__)
            for name, value in ours[place].items():
                if isinstance(value, np.ndarray):
                    np.testing.assert_array_equal(value, expected[name])
                    assert value.dtype == expected[name].dtype
                elif isinstance(value, float) and np.isnan(value):
                    assert np.isnan(expected[name])
                elif isinstance(value, str):
                    assert value == expected[name].decode()
                elif isinstance(value, list):
                    assert value == [text.decode() for text in expected[name]]
                else:
                    assert value == expected[name]


def test_no_tensorflow(directory):
    code = (
        "import sys; from wristmir_jax.data.dataset import Dataset;"
        f"import wristmir_jax.data.prepare; Dataset({str(directory)!r}).source('train')[0];"
        "assert 'tensorflow' not in sys.modules; assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_the_index_says_what_the_records_say(directory):
    dataset = Dataset(directory)
    index, source = dataset.index("all"), dataset.source("all")
    assert index.schema.equals(INDEX_SCHEMA)
    assert index.num_rows == len(source) == NUM_FILMS
    for place, labels in enumerate(index.to_pylist()):
        record = source[place]
        for name in ("image_id", "exam_id", "patient_id", "view", "laterality", "fracture", "cast"):
            assert labels[name] == record[name]
        assert labels["caption_group"] == caption_group(record["caption"])
        assert labels["region_status"] == record["region_status"].tolist()
        assert labels["crop_present"] == record["crop_present"].tolist()
        for caption, group in zip(
            record["region_captions"], labels["region_caption_group"], strict=True
        ):
            assert group == (caption_group(caption) if caption else -1)
    assert sorted(set(index["fracture"].to_pylist())) == [0, 1]
    assert sorted(set(index["cast"].to_pylist())) == [-1, 1]


def test_no_patient_stands_in_two_splits(directory):
    dataset = Dataset(directory)
    patients = {
        split: set(dataset.index(split)["patient_id"].to_pylist())
        for split in SPLITS
        if dataset.info.num_records[split]
    }
    assert len(patients) > 1
    assert sum(map(len, patients.values())) == len(set.union(*patients.values())) == NUM_FILMS // 2
    assert {name: len(ids) for name, ids in patients.items()} == {
        name: count for name, count in dataset.info.num_patients.items() if count
    }


def test_all_is_the_splits_in_order(directory):
    dataset = Dataset(directory)
    source = dataset.source("all")
    expected = [
        dataset.source(split)[place]["image_id"]
        for split in dataset.splits("all")
        for place in range(dataset.info.num_records[split])
    ]
    assert [source[place]["image_id"] for place in range(len(source))] == expected
    assert dataset.index("all")["image_id"].to_pylist() == expected
    with pytest.raises(IndexError):
        source[len(source)]
    with pytest.raises(IndexError):
        source[-1]


def test_a_source_goes_to_worker_processes(directory):
    source = Dataset(directory).source("all")
    first = source[0]
    copy = pickle.loads(pickle.dumps(source))
    assert len(copy) == len(source)
    np.testing.assert_array_equal(copy[0]["image"], first["image"])


def test_pixels_are_as_acquired(folder, directory):
    """Right wrists are not mirrored on disk: what a person sees never is."""
    source = Dataset(directory).source("all")
    sides = set()
    for place in range(len(source)):
        record = source[place]
        film = read_radiograph(folder / f"{record['image_id']}.png")
        np.testing.assert_array_equal(record["image"], letterbox(film.pixels, 64))
        assert record["original_size"].tolist() == list(film.pixels.shape)
        assert record["source_hash"] == film.source_hash
        sides.add(SIDES[record["laterality"]])
    assert sides == {"left", "right"}


def test_a_moved_folder_is_read(directory, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in directory.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    assert Dataset(moved).source("train")[0]["image"].shape == (64, 64)


@pytest.mark.parametrize("split", ["testing", ""])
def test_an_unknown_split_is_refused(directory, split):
    dataset = Dataset(directory)
    for read in (dataset.index, dataset.source):
        with pytest.raises(UserError, match="unknown split"):
            read(split)


def test_what_is_no_data_set_is_refused(directory, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        Dataset(tmp_path / "none")
    with pytest.raises(UserError, match=r"no wristmir\.json"):
        Dataset(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in directory.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "train.index.parquet").unlink()
    with pytest.raises(UserError, match=r"train\.index\.parquet is missing"):
        Dataset(broken).index("train")
    next(broken.glob("wristmir-train*")).unlink()
    with pytest.raises(UserError, match="is missing"):
        Dataset(broken).source("train")
    info = json.loads((broken / "wristmir.json").read_text())
    (broken / "wristmir.json").write_text(json.dumps(info | {"record_version": 99, "new": 1}))
    with pytest.raises(UserError, match="record_version 99"):
        Dataset(broken)
    (broken / "wristmir.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        Dataset(broken)


def test_an_empty_split_is_absent_and_named(folder, tmp_path):
    rule = SplitRule(validation_fraction=0.0, test_fraction=0.0)
    account = prepare(
        FolderSource(folder), tmp_path / "out", split_rule=rule, localizer="prior", progress=False
    )
    assert account.records == {"train": NUM_FILMS}
    dataset = Dataset(tmp_path / "out")
    assert dataset.splits("all") == ["train"]
    assert dataset.info.num_records == {"train": NUM_FILMS, "validation": 0, "test": 0}
    assert "test" not in tfds.builder_from_directory(str(tmp_path / "out")).info.splits
    with pytest.raises(UserError, match=r"split 'test'.*is empty"):
        dataset.source("test")


def test_records_are_bounded_by_shard(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("wristmir_jax.data.writer._INDEX_ROWS_A_GROUP", 7)
    prepare(
        FolderSource(folder),
        tmp_path / "out",
        max_shard_bytes=100_000,
        localizer="prior",
        progress=False,
    )
    shards = sorted((tmp_path / "out").glob("wristmir-train*"))
    assert len(shards) > 3
    assert shards[-1].name.endswith(f"-of-{len(shards):05d}")
    assert not list((tmp_path / "out").glob("*.unfinished"))
    source, index = (
        Dataset(tmp_path / "out").source("train"),
        Dataset(tmp_path / "out").index("train"),
    )
    ids = [source[place]["image_id"] for place in range(len(source))]
    assert ids == index["image_id"].to_pylist()
    theirs = tfds.builder_from_directory(str(tmp_path / "out")).as_data_source("train")
    assert [record["image_id"].decode() for record in theirs] == ids
