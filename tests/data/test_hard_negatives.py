"""Hard negatives: neighbours of the rest of their batch, the same batches after every resume."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from absl import flags
from hypothesis import given
from hypothesis import strategies as st

from tests.data.test_pipeline import NUM_RECORDS, SHAPES, MemorySource
from wristmir_jax.data.hard_negatives import (
    NEIGHBOURS_FILE,
    NEIGHBOURS_SCHEMA,
    HardNegativeOrder,
    read_neighbours,
)
from wristmir_jax.data.pipeline import RECORD_INDEX, training_batches
from wristmir_jax.data.sampler import RecordOrder
from wristmir_jax.errors import UserError
from wristmir_jax.models.tokenizer import train_tokenizer

STEPS = 6


def random_neighbours(num_records, most, seed):
    """Up to `most` other records for each record; some records have none."""
    rng = np.random.default_rng(seed)
    neighbours = np.full((num_records, most), -1, np.int32)
    for record in range(num_records):
        others = np.delete(np.arange(num_records), record)
        count = rng.integers(0, min(most, len(others)) + 1)
        neighbours[record, :count] = rng.permutation(others)[:count]
    return neighbours


@st.composite
def arguments(draw):
    """Of a `HardNegativeOrder` of any data set and batch."""
    num_records = draw(st.integers(1, 60))
    batch_size = draw(st.integers(1, 24))
    weights = np.random.default_rng(num_records).uniform(0.2, 3, num_records)
    return {
        "weight_N": weights / weights.mean(),
        "length": STEPS * batch_size,
        "seed": draw(st.integers(0, 1000)),
        "batch_size": batch_size,
        "num_negatives": draw(st.integers(0, batch_size - 1)),
        "neighbours_NxK": random_neighbours(
            num_records, draw(st.integers(1, 6)), draw(st.integers(0, 99))
        ),
    }


def batches_of(given):
    order = HardNegativeOrder(**given)
    drawn = [order[position] for position in range(len(order))]
    assert [position for position, _ in drawn] == list(range(given["length"]))
    return np.array([record for _, record in drawn]).reshape(STEPS, given["batch_size"])


@given(arguments())
def test_anchors_go_through_the_epochs_as_records_do_without_negatives(given):
    num_anchors = given["batch_size"] - given["num_negatives"]
    plain = RecordOrder(given["weight_N"], STEPS * num_anchors, given["seed"])
    expected = [plain[position][1] for position in range(len(plain))]
    assert batches_of(given)[:, :num_anchors].ravel().tolist() == expected


@given(arguments())
def test_negatives_are_neighbours_and_no_record_twice_where_that_can_be_avoided(given):
    neighbours, num_negatives = given["neighbours_NxK"], given["num_negatives"]
    for batch in batches_of(given):
        anchors, negatives = np.split(batch, [len(batch) - num_negatives])
        others = set(range(len(neighbours))) - set(anchors)
        near = set(neighbours[anchors].ravel().tolist()) & others
        assert len(set(negatives) & near) >= min(len(near), num_negatives)
        assert len(set(negatives) & others) == min(len(others), num_negatives)


@given(arguments(), st.randoms(use_true_random=False))
def test_a_position_is_drawn_alike_whatever_was_drawn_before(given, random):
    expected, again = batches_of(given).ravel(), HardNegativeOrder(**given)
    positions = list(range(len(again)))
    random.shuffle(positions)
    assert [again[position][1] for position in positions] == expected[positions].tolist()


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 1000))
def test_without_negatives_it_is_the_plain_order(num_records, batch_size, seed):
    weights = np.ones(num_records)
    plain = RecordOrder(weights, STEPS * batch_size, seed)
    order = HardNegativeOrder(
        weights,
        len(plain),
        seed,
        batch_size=batch_size,
        num_negatives=0,
        neighbours_NxK=random_neighbours(num_records, 3, seed),
    )
    assert [order[i] for i in range(len(order))] == [plain[i] for i in range(len(plain))]


def test_anchors_pick_their_neighbours_evenly_and_in_turn():
    """Two anchors, each with eight neighbours of its own: each gives half of the negatives."""
    neighbours = np.full((18, 8), -1, np.int32)
    neighbours[:2] = np.arange(2, 18).reshape(2, 8)
    order = HardNegativeOrder(
        np.array([9.0, 9.0] + [0.0] * 16),
        4000 * 6,
        0,
        batch_size=6,
        num_negatives=4,
        neighbours_NxK=neighbours,
    )
    batches = np.array([order.draw(step) for step in range(4000)])
    negatives = batches[batches[:, 0] != batches[:, 1], 2:]
    assert len(negatives) > 1000
    assert ((negatives < 10).sum(axis=1) == 2).all()
    share = np.bincount(negatives.ravel(), minlength=18)[2:] / negatives.size
    np.testing.assert_allclose(share, 1 / 16, rtol=0.15)


def order_of(num_negatives, batch_size=8, seed=3):
    return HardNegativeOrder(
        np.ones(NUM_RECORDS),
        STEPS * batch_size,
        seed,
        batch_size=batch_size,
        num_negatives=num_negatives,
        neighbours_NxK=random_neighbours(NUM_RECORDS, 5, 0),
    )


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([f"caption {i} again the radius ulna" for i in range(10)], 200)


def records(tokenizer, order, **options):
    """Records of each batch as the pipeline gives them."""
    batches = training_batches(
        MemorySource(), order, tokenizer, SHAPES, batch_size=8, seed=7, **options
    )
    return [batch[RECORD_INDEX].tolist() for batch in batches]


@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_share_the_batches_and_the_negatives_of_one(tokenizer, process_count):
    whole = records(tokenizer, order_of(num_negatives=3))
    parts = [
        records(tokenizer, order_of(3), process_index=process, process_count=process_count)
        for process in range(process_count)
    ]
    for step, batch in enumerate(whole):
        for process, part in enumerate(parts):
            assert part[step] == batch[process::process_count]
            share = sum(record in batch[5:] for record in part[step])
            assert share in (3 // process_count, 3 // process_count + 1)


def test_a_resumed_run_and_one_with_workers_take_the_same_batches(tokenizer):
    flags.FLAGS.mark_as_parsed()  # Workers are given the flags of the command.
    whole = records(tokenizer, order_of(3))
    assert records(tokenizer, order_of(3), num_workers=2) == whole
    for step in range(1, STEPS):
        assert records(tokenizer, order_of(3), first_step=step) == whole[step:]


def test_another_seed_draws_other_negatives_of_the_same_anchors():
    neighbours = np.arange(1, 41, dtype=np.int32)[None].repeat(41, 0)
    drawn = []
    for seed in (0, 1):
        order = HardNegativeOrder(
            np.array([41.0] + [0.0] * 40),
            100,
            seed,
            batch_size=4,
            num_negatives=3,
            neighbours_NxK=neighbours,
        )
        drawn.append([order[position][1] for position in range(100)])
    assert drawn[0] != drawn[1]
    assert drawn[0][::4] == drawn[1][::4] == [0] * 25


def write_neighbours(folder, image_ids, neighbours):
    scores = [[0.5] * len(rows) for rows in neighbours]
    table = pa.table([image_ids, neighbours, scores], schema=NEIGHBOURS_SCHEMA)
    folder.mkdir()
    pq.write_table(table, folder / NEIGHBOURS_FILE)
    return folder


def test_neighbours_of_an_export_are_found_among_the_records_of_a_split(tmp_path):
    folder = write_neighbours(
        tmp_path / "E",
        ["a", "test-1", "b", "c", "test-2"],
        [[1, 3, 4, 2], [0], [4, 1], [2, 0], [0, 2]],
    )
    # The data set has the images in another order, and one that was not exported.
    found = read_neighbours(folder, pa.chunked_array([["c", "new"], ["a", "b"]]))
    assert found.tolist() == [[3, 2], [-1, -1], [0, 3], [-1, -1]]
    assert found.dtype == np.int32


def refusal(folder, image_ids):
    with pytest.raises(UserError) as caught:
        read_neighbours(folder, pa.chunked_array([image_ids]))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_serve_as_neighbours_is_refused(tmp_path):
    folder = write_neighbours(tmp_path / "E", ["a", "b", "c"], [[1], [0], []])
    assert f"hard_negatives_from={folder}: none of its images" in refusal(folder, ["x", "y"])
    assert "has a neighbour among them" in refusal(folder, ["a", "c"])
    assert "holds no neighbours.parquet" in refusal(tmp_path, ["a"])
    damaged = write_neighbours(tmp_path / "D", ["a", "b"], [[1], [2]])
    assert "neighbours.parquet is damaged" in refusal(damaged, ["a", "b"])
    (damaged / NEIGHBOURS_FILE).write_text("text")
    assert "neighbours.parquet is damaged" in refusal(damaged, ["a", "b"])
    pq.write_table(pa.table({"image_id": ["a"]}), damaged / NEIGHBOURS_FILE)
    assert "neighbours.parquet is damaged" in refusal(damaged, ["a", "b"])
