"""Train, embed with neighbours, and train again with hard negatives from them."""

import json

import pyarrow.parquet as pq
import pytest

from tests.end_to_end.commands import CONFIG, refuse, succeed
from tests.end_to_end.config import get_config
from wristmir_jax.data.dataset import Dataset
from wristmir_jax.learning.record_order import record_order


@pytest.fixture(scope="module")
def embeddings(dataset, run_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "E"
    succeed("embed", workdir=run_folder, dataset=dataset, output=folder, neighbours=8)
    return folder


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_takes_part_of_each_batch_from_the_neighbours(
    dataset, run_folder, embeddings, tmp_path
):
    flags = {
        "config": CONFIG,
        "config__dataset": dataset,
        "config__total_steps": 4,
        "config__loader__hard_negatives": 0.25,
        "config__loader__hard_negatives_from": embeddings,
    }
    succeed("train", workdir=tmp_path / "w", **flags)
    trained = lines(tmp_path / "w")
    assert [line["step"] for line in trained] == [1, 2, 3, 4]
    assert trained[0]["loss"] != lines(run_folder)[0]["loss"]
    other = flags | {"config__loader__hard_negatives": 0.5}
    line = refuse("train", workdir=tmp_path / "w", **other)
    assert "loader.hard_negatives (was 0.25, now 0.5)" in line


def test_negatives_of_a_batch_are_neighbours_of_other_patients_and_captions(dataset, embeddings):
    """The training split alone, from an export of all splits."""
    config = get_config()
    config.dataset = str(dataset)
    config.loader.hard_negatives = 0.25
    config.loader.hard_negatives_from = str(embeddings)
    order = record_order(config, Dataset(config.dataset))
    assert len(order) == 12 * 8
    labels = Dataset(config.dataset).index("train").to_pylist()
    table = pq.read_table(embeddings / "neighbours.parquet").to_pydict()
    near = {
        image: {table["image_id"][row] for row in rows}
        for image, rows in zip(table["image_id"], table["neighbours"], strict=True)
    }
    for step in range(12):
        batch = [labels[order[8 * step + place][1]] for place in range(8)]
        for negative in batch[6:]:
            askers = [a for a in batch[:6] if negative["image_id"] in near[a["image_id"]]]
            assert askers
            for anchor in askers:
                assert anchor["patient_id"] != negative["patient_id"]
                assert anchor["caption_group"] != negative["caption_group"]
        assert len({record["image_id"] for record in batch}) == 8
