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


def _image_loss(batch, tile=0, weight=0.5):
    config = tiny_config()
    config.loss.image_weight, config.loss.tile = weight, tile
    mesh = make_mesh()
    graph, _, init = plan_state(config, mesh, **SHAPES)
    _, metrics = jax.jit(make_train_step(graph, config, mesh))(init(), place_batch(batch, mesh))
    return {name: float(value) for name, value in metrics.items()}


def test_augmentations_of_an_image_are_told_from_other_images():
    batch = random_batch(16)
    metrics = _image_loss(batch)
    assert metrics["image_loss"] > 0.5
    captions = metrics["global_loss"] + metrics["region_loss"]
    assert metrics["loss"] == pytest.approx(captions + 0.5 * metrics["image_loss"], rel=1e-5)
    tiled = _image_loss(batch, tile=5)
    assert tiled["image_loss"] == pytest.approx(metrics["image_loss"], rel=1e-5)
    # The captions' part sees the same augmentation with and without.
    without = _image_loss(batch, weight=0.0)
    assert "image_loss" not in without
    assert without["loss"] == pytest.approx(captions, rel=1e-5)


def test_an_image_that_a_batch_holds_twice_is_no_negative_of_itself():
    batch = random_batch(16)
    batch["image"][:] = batch["image"][0]
    batch["crops"][:] = batch["crops"][0]
    assert _image_loss(batch)["image_loss"] == pytest.approx(0, abs=1e-5)
