"""Run in a process of its own with 8 fake devices: how far the tiled loss is from the dense one."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from tests.learning.pairs import random_pairs
from wristmir_jax.learning.loss import contrastive_loss
from wristmir_jax.learning.sharding import make_mesh
from wristmir_jax.learning.tiled_loss import tiled_loss


def value_and_gradients(loss, pairs, bias):
    image, text, labels = pairs
    arguments = (image, text, jnp.float32(14.0)) + (() if bias is None else (jnp.float32(bias),))

    def of(image, text, scale, bias=None):
        return loss(image, text, labels, scale, bias)

    argnums = tuple(range(len(arguments)))
    return jax.device_get(jax.jit(jax.value_and_grad(of, argnums))(*arguments))


def main():
    results = []
    for num_kinds, bias, row_exponent in (
        *((1, None, 0.0), (3, None, 0.7), (1, -5.0, 0.7), (3, -5.0, 0.0)),
    ):
        pairs = random_pairs(num_rows=48, num_kinds=num_kinds, seed=num_kinds)

        def dense(*arguments, exponent=row_exponent):
            return contrastive_loss(*arguments, row_exponent=exponent)

        expected_value, expected = value_and_gradients(dense, pairs, bias)
        for devices, tile in ((1, 7), (2, 24), (4, 5), (8, 4), (8, 100)):
            # Both axes of the mesh hold devices where there are enough of them.
            mesh = make_mesh(2 if devices > 2 else 1, jax.devices()[:devices])

            def tiled(*arguments, mesh=mesh, tile=tile, exponent=row_exponent):
                return tiled_loss(*arguments, mesh=mesh, tile=tile, row_exponent=exponent)

            value, gradients = value_and_gradients(tiled, pairs, bias)
            results.append(
                {
                    "case": [num_kinds, bias, row_exponent, devices, tile],
                    "loss": float(expected_value),
                    "loss_difference": abs(float(value - expected_value)),
                    "gradient_norms": [float(np.linalg.norm(g)) for g in expected],
                    "gradient_difference": max(
                        float(np.abs(ours - theirs).max())
                        for ours, theirs in zip(gradients, expected, strict=True)
                    ),
                }
            )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
