"""One device and eight give the same numbers."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from tests.learning.fake_devices import run_on_eight_devices
from wristmir_jax.errors import UserError
from wristmir_jax.learning.sharding import make_mesh, parameter_spec


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
    ("shape", "expected"),
    [
        ((256, 512), P(None, "fsdp")),
        ((512, 256), P("fsdp", None)),
        ((3, 3, 128, 128), P(None, None, "fsdp", None)),
        ((4,), P()),
        ((255, 513), P()),
        ((), P()),
    ],
)
def test_the_longest_divisible_axis_is_split(shape, expected):
    assert parameter_spec(shape, mesh_of_4_by_2()) == expected


def test_devices_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match=r"config\.mesh\.fsdp=3"):
        make_mesh(3, np.array(jax.devices() * 4)[:4])
