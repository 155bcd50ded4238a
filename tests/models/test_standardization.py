"""Standardisation of pooled features: by the batch in training, by what was averaged afterwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.learning.tiny import SHAPES, random_batch, tiny_config
from wristmir_jax.learning.sharding import make_mesh, place_batch
from wristmir_jax.learning.state import plan_state
from wristmir_jax.learning.step import make_train_step
from wristmir_jax.models import parameters
from wristmir_jax.models.layers import STATISTICS, Standardization

SEEN_BxK = np.array([[1, 0], [1, 1], [0, 1], [1, 1], [1, 1]], bool)


def features(seed=0):
    scale = np.array([[1.0], [7.0]])
    return np.random.default_rng(seed).normal(3, 2, (5, 2, 4)) * scale


def test_each_kind_is_standardised_by_its_rows_that_count():
    standardised = Standardization(2, 4).fit(jnp.array(features()), jnp.array(SEEN_BxK))
    for kind in range(2):
        rows = features()[SEEN_BxK[:, kind], kind]
        expected = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-3)
        np.testing.assert_allclose(standardised[SEEN_BxK[:, kind], kind], expected, atol=1e-5)


def test_rows_that_do_not_count_change_nothing():
    one, other = features(), features()
    other[~SEEN_BxK] = 1e6
    standardised = [Standardization(2, 4).fit(jnp.array(x), SEEN_BxK) for x in (one, other)]
    np.testing.assert_array_equal(standardised[0][SEEN_BxK], standardised[1][SEEN_BxK])


def test_what_was_fitted_is_kept_for_each_kind():
    module = Standardization(2, 4)
    fitted = module.fit(jnp.array(features()), jnp.ones((5, 2), bool))
    np.testing.assert_allclose(module(jnp.array(features())), fitted, atol=1e-6)
    second = module(jnp.array(features()[:, 1:]), first_kind=1)
    np.testing.assert_allclose(second[:, 0], fitted[:, 1], atol=1e-6)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_kind_with_too_few_rows_keeps_its_statistics(rows):
    module = Standardization(2, 4)
    module.fit(jnp.array(features()), jnp.ones((5, 2), bool))
    before = np.array(module.batch_mean[1]), np.array(module.batch_variance[1])
    few = np.ones((5, 2), bool)
    few[rows:, 1] = False
    standardised = module.fit(jnp.array(features(1)), jnp.array(few))
    assert jnp.isfinite(standardised).all()
    np.testing.assert_array_equal(module.batch_mean[1], before[0])
    np.testing.assert_array_equal(module.batch_variance[1], before[1])


def test_a_step_keeps_its_batch_statistics_and_averages_them():
    config = tiny_config()
    mesh = make_mesh()
    graph, _, init = plan_state(config, mesh, **SHAPES)
    start = init()
    step = jax.jit(make_train_step(graph, config, mesh))
    state, _ = step(start, place_batch(random_batch(16), mesh))
    names = [name for name in state.parameters if name.endswith(STATISTICS)]
    assert len(names) == 8
    decay = min(config.optimizer.ema_decay, 2 / 11)
    for name in names:
        last, begin = state.parameters[name], start.parameters[name]
        assert jnp.abs(last - begin).max() > 1e-3, name
        np.testing.assert_allclose(
            state.average[name], decay * begin + (1 - decay) * last, rtol=1e-4, atol=1e-6
        )


def test_training_and_export_agree_where_the_statistics_do():
    """A batch that was fitted, embedded by the parameters that kept its statistics."""
    config = tiny_config()
    graph, _, init = plan_state(config, make_mesh(), **SHAPES)
    model = parameters.merge(graph, init().parameters)
    image = jax.random.uniform(jax.random.key(0), (6, SHAPES["image_size"], SHAPES["image_size"]))
    fitted = model.fit_global(model.global_features(image))
    np.testing.assert_allclose(model.encode_global(image), fitted, atol=1e-5)
    assert np.linalg.norm(np.asarray(fitted).mean(0)) < 0.5, "vectors lie in a cone"
