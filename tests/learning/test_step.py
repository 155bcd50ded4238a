"""The training step as a whole, on batches that a data set of another kind would give."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.learning.tiny import SHAPES, random_batch, tiny_config
from wristmir_jax.learning import config as configs
from wristmir_jax.learning.sharding import make_mesh, place_batch
from wristmir_jax.learning.state import make_model, plan_state
from wristmir_jax.learning.step import batch_loss, make_train_step
from wristmir_jax.models import parameters


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


@functools.cache
def _compiled(tile, weight):
    config = tiny_config()
    config.loss.image_weight, config.loss.tile = weight, tile
    mesh = make_mesh()
    graph, _, init = plan_state(config, mesh, **SHAPES)
    return jax.jit(make_train_step(graph, config, mesh)), init()


def _image_loss(batch, tile=0, weight=0.5):
    step, state = _compiled(tile, weight)
    _, metrics = step(state, place_batch(batch, make_mesh()))
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


def _gradients(batch, **model):
    config = tiny_config()
    config.model.global_tower = configs.vit(8, 32, 3, 2)
    config.model.text_tower = configs.text(32, 3, 2)
    config.model.update(model)
    mesh = make_mesh()
    graph, _, init = plan_state(config, mesh, **SHAPES)

    @jax.jit
    def of(params):
        def loss(params):
            model = parameters.merge(graph, params)
            return batch_loss(model, batch, jax.random.key(0), config, mesh)[0]

        return jax.value_and_grad(loss)(params)

    return of(init().parameters)


@pytest.fixture(scope="module")
def batch_of_16():
    return place_batch(random_batch(16), make_mesh())


@pytest.fixture(scope="module")
def written_out(batch_of_16):
    """Loss and gradients of towers whose layers are written out and keep everything."""
    return _gradients(batch_of_16)


@pytest.mark.parametrize(("remat", "unroll_layers"), [("none", 0), ("dots", 4), ("full", 0)])
def test_how_the_layers_are_computed_changes_no_gradient(
    remat, unroll_layers, batch_of_16, written_out
):
    loss, gradients = _gradients(batch_of_16, remat=remat, unroll_layers=unroll_layers)
    assert float(loss) == pytest.approx(float(written_out[0]), abs=1e-5)
    for name, value in written_out[1].items():
        np.testing.assert_allclose(gradients[name], value, atol=1e-5, err_msg=name)


def test_frozen_layers_get_no_gradient_and_the_others_the_same(batch_of_16, written_out):
    batch, expected = batch_of_16, written_out[1]
    _, gradients = _gradients(batch, global_tower=configs.vit(8, 32, 3, 2, frozen_layers=2))
    name = "global_tower/blocks/layers/mlp/up/kernel"
    assert (gradients[name][:2] == 0).all()
    np.testing.assert_allclose(gradients[name][2], expected[name][2], atol=1e-6)
    assert (gradients["global_tower/patch/kernel"] == 0).all()
    assert (jnp.abs(gradients["text_tower/position"]) > 0).any()


def test_dropped_patches_change_from_step_to_step_and_are_not_looked_at():
    image = jax.random.uniform(jax.random.key(1), (2, 32, 32))
    config = tiny_config()
    model = make_model(config, **SHAPES)
    kept = jnp.array([[0, 5, 6], [1, 2, 15]], jnp.int32)
    seen = model.global_features(image, kept)
    # The first patch of the first image is looked at, the second is not.
    assert (model.global_features(image.at[0, 0, 0].set(9.0), kept)[0] != seen[0]).any()
    np.testing.assert_array_equal(model.global_features(image.at[0, 0, 9].set(9.0), kept), seen)
    everything = jnp.tile(jnp.arange(16, dtype=jnp.int32), (2, 1))
    np.testing.assert_allclose(
        model.global_features(image, everything), model.global_features(image), atol=1e-5
    )
    config.model.patch_drop = 0.75
    mesh = make_mesh()
    graph, _, init = plan_state(config, mesh, **SHAPES)
    batch = place_batch(random_batch(16), mesh)
    losses = {
        float(batch_loss(parameters.merge(graph, init().parameters), batch, key, config, mesh)[0])
        for key in jax.random.split(jax.random.key(0))
    }
    assert len(losses) == 2
