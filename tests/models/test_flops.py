"""Operations counted by hand against the compiler's count of the same towers, written out."""

import jax
import jax.numpy as jnp
import pytest

from tests.learning.tiny import SHAPES, random_batch, tiny_config
from wristmir_jax.learning import config as configs
from wristmir_jax.learning.sharding import make_mesh
from wristmir_jax.learning.state import make_model, plan_state
from wristmir_jax.learning.step import batch_loss
from wristmir_jax.models import flops, parameters


def counted(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


def model_of(tower, size=64):
    config = tiny_config()
    config.model.global_tower = tower
    return make_model(config, **SHAPES | {"image_size": size})


TOWERS = {
    "vit": configs.vit(8, 128, 3, 4),
    "attention pooling": configs.vit(8, 128, 2, 4, pooling="attention", projection=96),
    "prefix": configs.vit(8, 128, 2, 4, pooling="class", num_prefix_tokens=5, mlp_width=256),
    "convolutional": configs.convolutional(2, (32, 64), 2),
}


@pytest.mark.parametrize("name", TOWERS)
def test_image_towers(name):
    model = model_of(TOWERS[name])
    ours = 4 * flops.vision(TOWERS[name], 64)
    theirs = counted(model.global_features, jnp.zeros((4, 64, 64)))
    # The compiler counts norms and activations too, and leaves out what a border cuts off.
    assert ours == pytest.approx(theirs, rel=0.08)


def test_text_tower():
    config = tiny_config()
    config.model.text_tower = configs.text(128, 3, 4, projection=(256, 64))
    config.model.global_text_length = 48
    model = make_model(config, **SHAPES)
    ours = 4 * flops.text(config.model.text_tower, 48)
    assert ours == pytest.approx(
        counted(model.text_features, jnp.ones((4, 48), jnp.int32)), rel=0.08
    )


@pytest.mark.parametrize("image_weight", [0.0, 1.0])
def test_a_whole_step(image_weight):
    config = tiny_config()
    config.loss.image_weight = image_weight
    config.model.global_tower = configs.vit(8, 128, 2, 4)
    config.model.local_tower = configs.vit(8, 128, 2, 4)
    config.model.text_tower = configs.text(128, 2, 4)
    config.batch_size = 16
    mesh = make_mesh()
    graph, _, init = plan_state(config, mesh, **SHAPES)
    batch = random_batch(16)

    def loss(params):
        model = parameters.merge(graph, params)
        return batch_loss(model, batch, jax.random.key(0), config, mesh)[0]

    texts = flops.Texts(global_rows=16, global_length=12, region_rows=48, region_length=8)
    sizes = {key: SHAPES[key] for key in ("image_size", "crop_size", "num_regions")}
    ours = flops.train_step(config, texts=texts, **sizes)
    assert ours == pytest.approx(counted(jax.grad(loss), init().parameters), rel=0.1)


def test_patches_that_are_dropped_cost_nothing():
    tower = configs.vit(16, 64, 2, 2)
    assert flops.vision(tower, 64, patch_drop=0.5) < 0.55 * flops.vision(tower, 64)


def step_of(config, **options):
    texts = flops.Texts(global_rows=16, global_length=12, region_rows=48, region_length=8)
    sizes = {key: SHAPES[key] for key in ("image_size", "crop_size", "num_regions")}
    return flops.train_step(config, texts=texts, **sizes, **options)


def test_frozen_layers_are_only_passed_forward():
    config = tiny_config()
    config.model.global_tower = configs.vit(8, 128, 4, 4, frozen_layers=3)
    config.model.local_tower = configs.vit(8, 128, 4, 4, frozen_layers=3)
    config.model.text_tower = configs.text(128, 4, 4, frozen_layers=3)
    config.batch_size = 16
    mesh = make_mesh()
    graph, _, init = plan_state(config, mesh, **SHAPES)
    batch = random_batch(16)

    def loss(params):
        model = parameters.merge(graph, params)
        return batch_loss(model, batch, None, config, mesh)[0]

    ours = step_of(config)
    assert ours == pytest.approx(counted(jax.grad(loss), init().parameters), rel=0.1)
    for tower in ("global_tower", "local_tower", "text_tower"):
        config.model[tower].frozen_layers = 0
    assert ours < 0.65 * step_of(config)


def test_what_is_computed_anew_counts_as_computed_only():
    config = tiny_config()
    config.model.local_tower = configs.vit(8, 32, 1, 2)
    config.batch_size = 16
    plain = step_of(config)
    assert step_of(config, computed=True) == plain
    config.micro_batches = 2
    in_parts = step_of(config, computed=True)
    config.model.remat = "full"
    in_layers_too = step_of(config, computed=True)
    assert step_of(config) == plain
    assert plain < in_parts < 4 / 3 * plain < in_layers_too < 5 / 3 * plain
    config.loss.tile = 4
    assert step_of(config, computed=True) > in_layers_too
