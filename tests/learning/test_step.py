"""The training step as a whole, on batches that a data set of another kind would give."""

import jax
import numpy as np
import pytest

from tests.learning.tiny import SHAPES, random_batch, tiny_config
from wristmir_jax.learning.sharding import make_mesh, place_batch
from wristmir_jax.learning.state import plan_state
from wristmir_jax.learning.step import make_train_step


@pytest.mark.parametrize("num_regions", [0, 1])
def test_a_data_set_may_have_any_number_of_regions(num_regions):
    config = tiny_config()
    mesh = make_mesh()
    graph, _, init = plan_state(config, mesh, **SHAPES | {"num_regions": num_regions})
    batch = place_batch(random_batch(16, num_regions=num_regions), mesh)
    _, metrics = jax.jit(make_train_step(graph, config, mesh))(init(), batch)
    assert np.isfinite(metrics["loss"]) and metrics["global_loss"] > 0.1
    assert (metrics["region_loss"] > 0.1) == (num_regions > 0)


@pytest.mark.parametrize("tile", [0, 5])
def test_the_sigmoid_loss_learns_a_bias(tile):
    config = tiny_config()
    config.loss.kind, config.loss.tile = "sigmoid", tile
    config.optimizer.warmup_steps = 0
    mesh = make_mesh()
    graph, _, init = plan_state(config, mesh, **SHAPES)
    state = init()
    before = np.asarray(state.parameters["bias"])
    step = jax.jit(make_train_step(graph, config, mesh))
    state, metrics = step(state, place_batch(random_batch(16), mesh))
    assert (np.asarray(state.parameters["bias"]) != before).all()
    assert np.isfinite(metrics["loss"])


def test_the_softmax_loss_has_no_bias():
    _, plan, _ = plan_state(tiny_config(), make_mesh(), **SHAPES)
    assert "bias" not in plan.parameters
