"""Near copies are found, all of them, and others are left apart."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from wristmir_jax.data.near_duplicates import (
    HASH_BITS,
    near_duplicate_groups,
    perceptual_hash,
)


def _film(seed):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.random((8, 6)).astype(np.float32))
    return np.asarray(small.resize((300, 400), Image.Resampling.BICUBIC))


def _distance(a, b):
    return (a ^ b).bit_count()


def test_copies_are_close_and_other_films_far():
    rng = np.random.default_rng(0)
    for seed in range(20):
        film = _film(seed)
        hashed = perceptual_hash(film)
        assert 0 <= hashed < 2**HASH_BITS
        rescaled = np.asarray(Image.fromarray(film).resize((210, 280)))
        for copy in (
            film * 0.6 + 0.1,
            film + rng.normal(0, 0.02, film.shape).astype(np.float32),
            rescaled,
        ):
            assert _distance(hashed, perceptual_hash(copy)) <= 4
        assert _distance(hashed, perceptual_hash(_film(seed + 100))) > 12


def _brute_force(hashes, limit):
    group = list(range(len(hashes)))
    for a, first in enumerate(hashes):
        for b in range(a):
            if _distance(first, hashes[b]) <= limit:
                old, new = max(group[a], group[b]), min(group[a], group[b])
                group = [new if label == old else label for label in group]
    return group


@given(st.data())
@settings(max_examples=60)
def test_groups_are_those_of_all_pairs(data):
    limit = data.draw(st.integers(0, 6))
    centres = data.draw(st.lists(st.integers(0, 2**HASH_BITS - 1), min_size=1, max_size=4))
    hashes = []
    for _ in range(data.draw(st.integers(0, 25))):
        value = data.draw(st.sampled_from(centres))
        for bit in data.draw(st.lists(st.integers(0, HASH_BITS - 1), max_size=5)):
            value ^= 1 << bit
        hashes.append(value)
    groups = near_duplicate_groups(np.array(hashes, np.uint64), limit)
    assert groups.tolist() == _brute_force(hashes, limit)


def test_many_equal_hashes_need_little_memory():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**HASH_BITS, 5000, dtype=np.uint64)
    hashes[:1000] = 7
    groups = near_duplicate_groups(hashes)
    assert (groups[:1000] == 0).all()
    assert len(np.unique(groups)) == pytest.approx(4001, abs=3)
