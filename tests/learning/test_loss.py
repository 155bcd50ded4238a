"""The loss against a reference that is written as the formula reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wristmir_jax.learning.loss import contrastive_loss
from wristmir_jax.learning.pairs import PairLabels
from wristmir_jax.models.layers import unit_length
from wristmir_jax.reports.findings import STATUSES

FRACTURE, UNCERTAIN = STATUSES.index("fracture"), STATUSES.index("uncertain")
NO_FRACTURE = STATUSES.index("no_fracture")


def reference(image, text, group, valid, status, scale, bias, row_exponent):
    """Row by row in float64, nothing shared with the implementation."""
    logits = scale * image.astype(np.float64) @ text.astype(np.float64).T
    rows = [i for i in range(len(group)) if valid[i]]

    def ambiguous(i, j):
        pairs = [{int(a), int(b)} for a, b in zip(status[i], status[j], strict=True)]
        return {UNCERTAIN, FRACTURE} in pairs and {FRACTURE, NO_FRACTURE} not in pairs

    def same(i, j):
        return tuple(group[i]) == tuple(group[j])

    size = {i: sum(same(i, j) for j in rows) for i in rows}
    row_weight = {i: size[i] ** -row_exponent for i in rows}
    total = 0.0
    for matrix in (logits, logits.T):
        losses = []
        for i in rows:
            positives = [j for j in rows if same(i, j)]
            candidates = [j for j in rows if same(i, j) or not ambiguous(i, j)]
            if bias is None:
                above = sum(np.exp(matrix[i, j]) / size[j] for j in positives)
                below = sum(np.exp(matrix[i, j]) / size[j] for j in candidates)
                loss = -np.log(above / below)
            else:
                probability = 1 / (1 + np.exp(-matrix[i] - bias))
                loss = -sum(
                    np.log(probability[j] if same(i, j) else 1 - probability[j]) / size[j]
                    for j in candidates
                )
            losses.append(row_weight[i] * loss)
        total += sum(losses) / sum(row_weight.values()) / 2 if rows else 0.0
    return total


def random_pairs(seed, n=12, regions=3):
    rng = np.random.default_rng(seed)
    image, text = rng.normal(size=(2, n, 8)).astype(np.float32)
    group = rng.integers(0, 4, (n, 1)) * np.array([[1, 1]])
    valid = rng.random(n) < 0.8
    status = rng.integers(0, 4, (n, regions))
    return unit_length(jnp.array(image)), unit_length(jnp.array(text)), group, valid, status


def loss_of_one_kind(image, text, labels, scale, bias=None, row_exponent=0.0):
    labels = jax.tree.map(lambda leaf: leaf[:, None], labels)
    return contrastive_loss(
        image[:, None], text[:, None], labels, scale, bias, row_exponent=row_exponent
    )


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 10_000),
    st.sampled_from([None, -3.0]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0, 1, 3]),
)
def test_loss_is_the_formula(seed, bias, row_exponent, regions):
    image, text, group, valid, status = random_pairs(seed, regions=regions)
    labels = PairLabels(jnp.array(group), jnp.array(valid), jnp.array(status))
    given_bias = None if bias is None else jnp.float32(bias)
    ours = loss_of_one_kind(image, text, labels, jnp.float32(5.0), given_bias, row_exponent)
    expected = reference(
        np.array(image), np.array(text), group, valid, status, 5.0, bias, row_exponent
    )
    np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=2e-6)


def test_repeating_a_pair_changes_nothing_when_rows_are_weighed_by_their_group():
    image, text, _, _, _ = random_pairs(3, n=6)
    status = jnp.zeros((6, 0), jnp.int32)
    group = jnp.arange(6)[:, None] * jnp.array([[1, 1]])
    valid = jnp.ones(6, bool)
    scale = jnp.float32(9.0)
    labels = PairLabels(group, valid, status)
    once = loss_of_one_kind(image, text, labels, scale, row_exponent=1.0)
    again = jnp.array([0, 1, 2, 3, 4, 5, 5, 5, 5])
    labels = PairLabels(group[again], valid[again], status[again])
    repeated = loss_of_one_kind(image[again], text[again], labels, scale, row_exponent=1.0)
    np.testing.assert_allclose(once, repeated, rtol=1e-6)


def test_uncertain_against_fracture_is_no_negative():
    """Moving the uncertain caption towards the fractured image must not be punished."""
    image, text, _, _, _ = random_pairs(5, n=2)
    group, valid = jnp.array([[1, 1], [2, 2]]), jnp.ones(2, bool)
    ambiguous = PairLabels(group, valid, jnp.array([[FRACTURE], [UNCERTAIN]]))
    distinct = PairLabels(group, valid, jnp.array([[FRACTURE], [NO_FRACTURE]]))
    assert loss_of_one_kind(image, text, ambiguous, jnp.float32(9.0)) == 0
    assert loss_of_one_kind(image, text, distinct, jnp.float32(9.0)) > 0


@pytest.mark.parametrize("valid", [np.zeros(5, bool), np.eye(5, dtype=bool)[2]])
def test_batches_without_negatives_give_zero_and_finite_gradients(valid):
    image, text, group, _, status = random_pairs(7, n=5)
    labels = PairLabels(jnp.array(group), jnp.array(valid), jnp.array(status))

    def loss(image):
        return loss_of_one_kind(image, text, labels, jnp.float32(9.0))

    value, gradient = jax.value_and_grad(loss)(image)
    assert value == 0
    assert np.isfinite(gradient).all()


def test_regions_are_compared_within_themselves_and_absent_ones_left_out():
    image, text, group, _, _ = random_pairs(11, n=18)
    shape = (6, 3)
    labels = PairLabels(
        jnp.array(group).reshape(*shape, 2),
        jnp.ones(shape, bool).at[:, 2].set(False),
        jnp.zeros((*shape, 1), jnp.int32),
    )
    image_BxRxD, text_BxRxD = image.reshape(*shape, -1), text.reshape(*shape, -1)
    ours = contrastive_loss(image_BxRxD, text_BxRxD, labels, jnp.float32(5.0))
    by_hand = [
        loss_of_one_kind(
            image_BxRxD[:, region],
            text_BxRxD[:, region],
            jax.tree.map(lambda leaf, region=region: leaf[:, region], labels),
            jnp.float32(5.0),
        )
        for region in range(2)
    ]
    np.testing.assert_allclose(ours, np.mean(by_hand), rtol=1e-6)


def test_no_regions_at_all_is_zero():
    labels = PairLabels(
        jnp.zeros((4, 0, 2), jnp.int32), jnp.zeros((4, 0), bool), jnp.zeros((4, 0, 1), jnp.int32)
    )
    empty = jnp.zeros((4, 0, 8))
    assert contrastive_loss(empty, empty, labels, jnp.float32(5.0)) == 0
