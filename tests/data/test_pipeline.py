"""Batches: what the step is given, and the same for any number of processes and after a resume."""

import dataclasses
import itertools

import numpy as np
import pytest
from absl import flags

from wristmir_jax.anatomy import SIDES
from wristmir_jax.data.pipeline import RECORD_INDEX, TextShapes, training_batches
from wristmir_jax.data.sampler import RecordOrder
from wristmir_jax.models.tokenizer import train_tokenizer
from wristmir_jax.reports.captions import caption_group

REGIONS = 2
NUM_RECORDS = 24


class MemorySource:
    """Records whose pixels say which record they are."""

    def __init__(self, num_regions=REGIONS):
        self.num_regions = num_regions

    def __len__(self):
        return NUM_RECORDS

    def __getitem__(self, index):
        R = self.num_regions
        caption = f"caption {index % 5}" if index % 6 else ""
        return {
            "image": np.full((8, 8), index, np.uint8),
            "crops": np.full((R, 4, 4), index, np.uint8),
            "crop_present": np.array([1, index % 2][:R], np.uint8),
            "laterality": SIDES.index("right" if index % 2 else "left"),
            "region_status": np.full(R, index % 4, np.uint8),
            "caption": caption,
            "caption_phrasings": [caption, f"{caption} again"],
            "region_captions": ["radius", "ulna"][:R],
            "region_caption_phrasings": ["radius", "the radius", "ulna", "the ulna"][: 2 * R],
        }


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([f"caption {i} again the radius ulna" for i in range(10)], 200)


SHAPES = TextShapes(10, 6, (0.5, 1.0))


def batches(tokenizer, *, steps=6, batch_size=8, source=None, shapes=SHAPES, **arguments):
    order = RecordOrder(np.ones(NUM_RECORDS), steps * batch_size, seed=3)
    return training_batches(
        source or MemorySource(),
        order,
        tokenizer,
        shapes,
        batch_size=batch_size,
        seed=7,
        **arguments,
    )


def equal(a, b):
    return a.keys() == b.keys() and all((a[key] == b[key]).all() for key in a)


def test_batch_is_what_its_records_say(tokenizer):
    batch = next(batches(tokenizer))
    for row, index in enumerate(batch[RECORD_INDEX]):
        assert (batch["image"][row] == index).all()
        assert batch["mirrored"][row] == bool(index % 2)
        assert batch["region_status"][row].tolist() == [index % 4] * 2
        # No caption, no text; no crop, no text.
        assert (batch["global_text_index"][row] >= 0) == bool(index % 6)
        assert (batch["region_text_index"][row] >= 0).tolist() == [True, bool(index % 2)]
        group = batch["global_group"][row].astype(np.int32).view(np.int64)[0]
        caption = f"caption {index % 5}" if index % 6 else ""
        assert group == caption_group(caption)


def test_repeated_captions_are_stored_once_and_found_again(tokenizer):
    source = MemorySource()
    batch = next(batches(tokenizer, source=source))
    token, index = batch["region_token"], batch["region_text_index"]
    assert len(token) == 8  # half of 16 captions: there are at most 4 distinct ones
    allowed = {
        region: {tuple(tokenizer.encode([text], 6)[0]) for text in texts}
        for region, texts in enumerate((["radius", "the radius"], ["ulna", "the ulna"]))
    }
    for row, region in itertools.product(range(8), range(2)):
        if index[row, region] >= 0:
            assert tuple(token[index[row, region]]) in allowed[region]


def test_wording_varies_over_the_run_and_repeats_with_it(tokenizer):
    first, again = list(batches(tokenizer)), list(batches(tokenizer))
    assert all(equal(a, b) for a, b in zip(first, again, strict=True))
    wordings = {
        tuple(batch["region_token"][index])
        for batch in first
        for index in batch["region_text_index"][:, 0]
        if index >= 0
    }
    assert len(wordings) == 2


def test_processes_share_the_batches_of_one(tokenizer):
    whole = list(batches(tokenizer))
    parts = [
        list(batches(tokenizer, process_index=process, process_count=2)) for process in range(2)
    ]
    for step, batch in enumerate(whole):
        together = np.concatenate([part[step][RECORD_INDEX] for part in parts])
        assert sorted(together) == sorted(batch[RECORD_INDEX])
    # Their shapes must agree whatever captions each of them holds.
    assert parts[0][0]["global_token"].shape == parts[1][0]["global_token"].shape


def test_batches_do_not_depend_on_the_number_of_workers(tokenizer):
    flags.FLAGS.mark_as_parsed()  # Workers are given the flags of the command.
    alone, helped = list(batches(tokenizer)), list(batches(tokenizer, num_workers=2))
    assert len(alone) == len(helped) == 6
    assert all(equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_a_resumed_iterator_goes_on_with_the_next_batch(tokenizer):
    expected = list(batches(tokenizer))
    iterator = batches(tokenizer)
    next(iterator), next(iterator)
    state = iterator.get_state()
    resumed = batches(tokenizer)
    resumed.set_state(state)
    assert all(equal(a, b) for a, b in zip(expected[2:], resumed, strict=True))


def test_no_regions_give_empty_arrays(tokenizer):
    batch = next(batches(tokenizer, source=MemorySource(0)))
    assert batch["crops"].shape == (8, 0, 4, 4)
    assert batch["region_group"].shape == (8, 0, 2)
    assert batch["region_text_index"].shape == (8, 0)
    assert batch["region_token"].shape == (0, 6)


def captions_of(batch, num_shards):
    """For each record and region the tokens that its index leads to, of equal length."""
    found = []
    for level in ("global", "region"):
        token, index = batch[f"{level}_token"], batch[f"{level}_text_index"]
        rows = len(token) // num_shards
        shard = np.arange(len(index)) // (len(index) // num_shards)
        at = index + (shard * rows).reshape(-1, *[1] * (index.ndim - 1))
        tokens = np.where((index >= 0)[..., None], token[at], 0)
        found.append(np.pad(tokens, [(0, 0)] * index.ndim + [(0, 40 - tokens.shape[-1])]))
    return found


@pytest.mark.parametrize("num_shards", [2, 4])
def test_each_device_has_the_captions_of_its_records(tokenizer, num_shards):
    shapes = dataclasses.replace(SHAPES, num_shards=num_shards, multiple_of=2)
    for whole, parted in zip(batches(tokenizer), batches(tokenizer, shapes=shapes), strict=True):
        assert len(parted["global_token"]) % (2 * num_shards) == 0
        for ours, theirs in zip(
            captions_of(whole, 1), captions_of(parted, num_shards), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_captions_are_cut_to_the_length_that_a_batch_needs(tokenizer):
    long = dataclasses.replace(SHAPES, global_length=40)
    shapes = dataclasses.replace(long, length_fractions=(0.1, 0.5, 1.0))
    lengths = set()
    for whole, cut in zip(
        batches(tokenizer, shapes=long), batches(tokenizer, shapes=shapes), strict=True
    ):
        lengths.add(cut["global_token"].shape[1])
        for ours, theirs in zip(captions_of(whole, 1), captions_of(cut, 1), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert lengths == {20}
