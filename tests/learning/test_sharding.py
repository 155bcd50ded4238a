"""One device and eight give the same numbers."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from tests.learning.fake_devices import run_on_eight_devices
from tests.learning.tiny import SHAPES
from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.errors import UserError
from wristmir_jax.learning import config as configs
from wristmir_jax.learning.sharding import make_mesh, parameter_spec
from wristmir_jax.learning.state import plan_state, plan_state_of
from wristmir_jax.models.localizer import Localizer, LocalizerSpec

RECIPES = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def eight_devices():
    return run_on_eight_devices("tests.learning.eight_devices")


@pytest.mark.parametrize(
    "how",
    [
        "eight devices",
        "eight devices, gradient cache",
        "eight devices, tiled, gradient cache",
        "one device, gradient cache",
    ],
)
def test_loss_and_gradients_agree_with_one_device_and_the_whole_batch(eight_devices, how):
    assert eight_devices["devices"] == 8
    assert eight_devices["loss"] > 0.5
    assert eight_devices["gradient_norm"] > 0.05
    result = eight_devices[how]
    assert (result["split_parameters"] > 10) == how.startswith("eight")
    assert result["same_start"]
    assert result["loss_difference"] <= 1e-5
    assert result["gradient_difference"] <= 1e-5


def mesh_of_4_by_2():
    return SimpleNamespace(shape={"data": 4, "fsdp": 2})


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("t/blocks/layers/attention/qkv/kernel", (12, 256, 768), P(None, "fsdp", None)),
        ("t/blocks/layers/mlp/down/kernel", (12, 1024, 256), P(None, None, "fsdp")),
        ("t/blocks/layers/mlp/down/bias", (12, 25600), P()),
        ("text_tower/token/embedding", (999, 256), P(None, "fsdp")),
        ("local_tower/blocks/0/conv1/kernel", (3, 3, 128, 128), P(None, None, None, "fsdp")),
        ("text_heads/1/projection/kernel", (256, 512), P("fsdp", None)),
        ("text_tower/projection/0/kernel", (256, 512), P("fsdp", None)),
        # The mesh does not divide it, and it is too small.
        ("global_head/projection/kernel", (255, 512), P(None, None)),
        ("global_head/projection/kernel", (4, 4), P()),
        ("log_scale", (2,), P()),
    ],
)
def test_parameters_are_split_by_the_table(name, shape, expected):
    assert parameter_spec(name, shape, mesh_of_4_by_2()) == expected


def test_a_large_parameter_that_the_table_does_not_know_is_refused():
    with pytest.raises(ValueError, match=r"no logical axes for novel/kernel"):
        parameter_spec("novel/kernel", (512, 512), mesh_of_4_by_2())


@pytest.mark.parametrize("recipe", sorted(path.stem for path in RECIPES.glob("*.py")))
def test_the_table_knows_the_parameters_of_every_recipe(recipe):
    config = importlib.import_module(f"configs.{recipe}").get_config()
    config.dataset = "unused"
    configs.validate(config)
    if config.task == "localizer":
        spec = LocalizerSpec.of(config.localizer, len(REGION_NAMES))
        _, plan, _ = plan_state_of(
            lambda seed: Localizer(spec, rngs=nnx.Rngs(seed)), config, make_mesh()
        )
    else:
        shapes = SHAPES | {"image_size": 448, "crop_size": 224}
        _, plan, _ = plan_state(config, make_mesh(), **shapes)
    for name, leaf in plan.parameters.items():
        parameter_spec(name, leaf.shape, mesh_of_4_by_2())


def test_devices_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match=r"config\.mesh\.fsdp=3"):
        make_mesh(3, np.array(jax.devices() * 4)[:4])
