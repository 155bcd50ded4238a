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
