"""How fast each layer learns, as the step moves it."""

import jax
import numpy as np
import pytest

from tests.learning.tiny import SHAPES, random_batch, tiny_config
from wristmir_jax.errors import UserError
from wristmir_jax.learning import config as configs
from wristmir_jax.learning import layer_rates
from wristmir_jax.learning.sharding import make_mesh, place_batch
from wristmir_jax.learning.state import plan_state
from wristmir_jax.learning.step import make_train_step

KERNEL = "global_tower/blocks/layers/mlp/up/kernel"


def deep_config(**options):
    config = tiny_config()
    config.model.global_tower = configs.vit(8, 32, 3, 2, **options)
    config.optimizer.warmup_steps = 0
    config.optimizer.weight_decay = 0.5
    # Far from a bound that moves with the gradients of other layers.
    config.optimizer.clip_norm = 1e6
    return config


def moved(config):
    """How far one step moves each parameter."""
    mesh = make_mesh()
    graph, _, init = plan_state(config, mesh, **SHAPES)
    start = init()
    step = jax.jit(make_train_step(graph, config, mesh))
    state, _ = step(start, place_batch(random_batch(16), mesh))
    return {
        name: np.asarray(value) - np.asarray(start.parameters[name])
        for name, value in state.parameters.items()
    }


@pytest.fixture(scope="module")
def moved_alike():
    return moved(deep_config())


def test_lower_layers_learn_more_slowly(moved_alike):
    config = deep_config()
    config.optimizer.layer_decay = 0.5
    changed = moved(config)
    for layer, rate in enumerate((0.125, 0.25, 0.5)):
        np.testing.assert_allclose(
            changed[KERNEL][layer], rate * moved_alike[KERNEL][layer], atol=1e-7
        )
    name = "global_tower/patch/kernel"
    np.testing.assert_allclose(changed[name], 0.0625 * moved_alike[name], atol=1e-7)
    for name in ("global_tower/norm/scale", "global_head/projection/kernel", "log_scale"):
        np.testing.assert_allclose(changed[name], moved_alike[name], atol=1e-7)


def test_frozen_layers_do_not_move_not_even_by_weight_decay(moved_alike):
    changed = moved(deep_config(frozen_layers=2))
    assert (changed[KERNEL][:2] == 0).all()
    assert (changed["global_tower/patch/kernel"] == 0).all()
    assert (changed["global_tower/position"] == 0).all()
    np.testing.assert_allclose(changed[KERNEL][2], moved_alike[KERNEL][2], atol=1e-6)
    assert (changed["text_tower/token/embedding"] != 0).any()


def test_a_convolutional_tower_learns_at_one_rate():
    config = tiny_config()
    config.optimizer.layer_decay = 0.5
    assert layer_rates.of("local_tower/blocks/0/conv1/kernel", 4, config) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimizer.layer_decay", 0.0, r"layer_decay=0\.0: must lie in \(0, 1\]"),
        ("model.remat", "some", "config.model.remat=some: choose none or dots or full"),
        ("model.patch_drop", 1.0, r"patch_drop=1\.0"),
        ("validation.patience", 2, "max_records"),
        ("validation.max_records", -1, "max_records=-1"),
        ("loader.text_lengths", (0.5,), r"config.loader.text_lengths=\(0.5,\)"),
        ("loader.hard_negatives", 1.0, r"hard_negatives=1\.0: must be in \[0, 1\)"),
        ("loader.hard_negatives", 0.01, "makes 0 of config.batch_size=8 records hard negatives"),
        ("loader.hard_negatives", 0.99, "makes 8 of config.batch_size=8 records hard negatives"),
        ("loader.hard_negatives", 0.5, "needs config.loader.hard_negatives_from"),
        ("model.global_tower.pooling", "class", "num_prefix_tokens=0: pooling=class needs one"),
        ("model.global_tower.pooling", "median", "pooling=median: choose mean or class"),
        ("model.global_tower.num_heads", 5, "width=32 is not a multiple of num_heads=5"),
        ("model.global_tower.frozen_layers", 2, "frozen_layers=2 must lie in 0..depth"),
        ("model.text_tower.activation", "tanh", "model.text_tower.activation=tanh: choose gelu"),
    ],
)
def test_values_that_would_fail_late_are_refused_early(key, value, message):
    config = tiny_config()
    configs.validate(config)
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=message):
        configs.validate(config)


@pytest.mark.parametrize("key", ["hard_negatives", "hard_negatives_from"])
def test_a_run_is_not_continued_with_other_negatives(key):
    before, after = tiny_config(), tiny_config()
    after.loader[key] = {"hard_negatives": 0.5, "hard_negatives_from": "elsewhere"}[key]
    with pytest.raises(UserError, match=f"differs in loader.{key} "):
        configs.check_resumable(before, after)
