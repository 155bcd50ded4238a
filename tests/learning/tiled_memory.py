"""Run in a process of its own with 8 fake devices: what the compiler says the tiled loss takes."""

import json
import re

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from wristmir_jax.learning.pairs import PairLabels
from wristmir_jax.learning.sharding import BATCH_SPEC, make_mesh
from wristmir_jax.learning.tiled_loss import tiled_loss


def compile_loss(num_pairs, dim=512, tile=1024):
    mesh = make_mesh()
    split, whole = NamedSharding(mesh, BATCH_SPEC), NamedSharding(mesh, P())

    def array(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct((num_pairs, 1, *shape), dtype, sharding=split)

    labels = PairLabels(array(2, dtype=jnp.int32), array(dtype=bool), array(3, dtype=jnp.int32))
    scale = jax.ShapeDtypeStruct((), jnp.float32, sharding=whole)

    def loss(image, text, labels, scale):
        return tiled_loss(image, text, labels, scale, mesh=mesh, tile=tile)

    return (
        jax.jit(
            jax.value_and_grad(loss, (0, 1, 3)),
            out_shardings=(whole, (split, split, whole)),
        )
        .lower(array(dim), array(dim), labels, scale)
        .compile()
    )


def main():
    compiled = {num_pairs: compile_loss(num_pairs) for num_pairs in (32_768, 65_536, 262_144)}
    collectives = re.findall(
        r" (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(",
        compiled[32_768].as_text(),
    )
    print(
        json.dumps(
            {
                "temporary_bytes": {
                    num_pairs: executable.memory_analysis().temp_size_in_bytes
                    for num_pairs, executable in compiled.items()
                },
                "collectives": sorted(set(collectives)),
            }
        )
    )


if __name__ == "__main__":
    main()
