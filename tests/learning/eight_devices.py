"""Run in a process of its own with 8 fake devices: prints how far 4 x 2 devices are from one."""

import json

import jax
import numpy as np

from tests.learning.tiny import SHAPES, random_batch, tiny_config
from wristmir_jax.learning import sharding
from wristmir_jax.learning.sharding import make_mesh, place_batch
from wristmir_jax.learning.state import plan_state
from wristmir_jax.learning.step import batch_loss
from wristmir_jax.models import parameters

BATCH_SIZE = 16


def loss_and_gradients(devices, fsdp, micro_batches=1, tile=0):
    mesh = make_mesh(fsdp, devices)
    config = tiny_config()
    config.micro_batches = micro_batches
    config.loss.tile = tile
    graph, _, init = plan_state(config, mesh, **SHAPES)
    state = init()
    batch = place_batch(random_batch(BATCH_SIZE, num_shards=mesh.size), mesh)

    @jax.jit
    def function(params, batch):
        def loss(params):
            model = parameters.merge(graph, params)
            return batch_loss(model, batch, jax.random.key(0), config, mesh)[0]

        return jax.value_and_grad(loss)(params)

    loss, gradients = function(state.parameters, batch)
    split = sum(not leaf.sharding.is_fully_replicated for leaf in state.parameters.values())
    return jax.device_get((loss, gradients, state.parameters)), split


def main():
    # Small arrays too must be split here, or nothing would be tested.
    sharding.MIN_SHARDED_ELEMENTS = 1
    (loss_1, gradients_1, params_1), _ = loss_and_gradients(jax.devices()[:1], 1)
    results = {
        "devices": jax.device_count(),
        "loss": float(loss_1),
        "gradient_norm": float(np.sqrt(sum((g**2).sum() for g in gradients_1.values()))),
    }
    for name, devices, options in (
        ("eight devices", None, {}),
        ("eight devices, gradient cache", None, {"micro_batches": 2}),
        ("eight devices, tiled, gradient cache", None, {"micro_batches": 2, "tile": 3}),
        ("one device, gradient cache", jax.devices()[:1], {"micro_batches": 4}),
    ):
        fsdp = 2 if devices is None else 1
        (loss, gradients, params), split = loss_and_gradients(devices, fsdp, **options)
        results[name] = {
            "split_parameters": split,
            "loss_difference": abs(float(loss_1 - loss)),
            "gradient_difference": max(
                float(np.abs(gradients_1[name] - gradients[name]).max()) for name in gradients_1
            ),
            "same_start": all((params_1[name] == params[name]).all() for name in params_1),
        }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
