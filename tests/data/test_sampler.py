"""The order of a run: balanced, the same every time, and exact about how often."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wristmir_jax.data.sampler import RecordOrder, status_weights


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 1000))
def test_equal_weights_make_every_epoch_a_permutation(num_records, epochs, seed):
    order = RecordOrder(np.ones(num_records), num_records * (epochs + 1), seed)
    for epoch in range(epochs + 1):
        drawn = [order[epoch * num_records + place][1] for place in range(num_records)]
        assert sorted(drawn) == list(range(num_records))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0.05, 20), min_size=1, max_size=40), st.integers(0, 1000))
def test_a_record_is_drawn_as_often_as_its_weight_says(weights, seed):
    weights = np.array(weights) * len(weights) / np.sum(weights)
    order = RecordOrder(weights, len(weights), seed)
    drawn = np.bincount([order[i][1] for i in range(len(order))], minlength=len(weights))
    assert drawn.sum() == len(weights)
    assert (drawn >= np.floor(weights - 1e-6)).all()
    assert (drawn <= np.ceil(weights + 1e-6)).all()


def test_order_depends_on_seed_and_epoch_only():
    def drawn(seed):
        order = RecordOrder(np.ones(50), 100, seed)
        return [order[i][1] for i in range(100)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1)[:50] != drawn(1)[50:]


def test_full_balance_draws_each_status_equally_often():
    # 90 without a fracture, 10 with one.
    status = np.array([[1]] * 90 + [[3]] * 10)
    weights = status_weights(status, np.ones((100, 1), bool), balance=1.0)
    np.testing.assert_allclose(weights[90:].sum(), 50)
    np.testing.assert_allclose(
        status_weights(status, np.ones((100, 1), bool), balance=0.0), np.ones(100)
    )


def test_an_absent_region_does_not_count():
    status = np.array([[1, 3], [3, 3], [1, 3]])
    present = np.array([[True, False], [True, False], [True, False]])
    with_absent = status_weights(status, present, balance=1.0)
    np.testing.assert_allclose(with_absent, status_weights(status[:, :1], present[:, :1], 1.0))


def test_data_sets_without_regions_are_drawn_evenly():
    weights = status_weights(np.zeros((7, 0), int), np.zeros((7, 0), bool), balance=1.0)
    np.testing.assert_allclose(weights, np.ones(7))
