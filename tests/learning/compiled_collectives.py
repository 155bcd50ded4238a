"""Run in a process of its own with 8 fake devices: collectives of programs that are known."""

import json

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from wristmir_jax.learning.collectives import collectives
from wristmir_jax.learning.sharding import BATCH_AXES, BATCH_SPEC, make_mesh


def main():
    mesh = make_mesh()
    split, whole = NamedSharding(mesh, BATCH_SPEC), NamedSharding(mesh, P())

    def gather_again_and_again(x_NxD):
        def inner(x_NxD, _):
            gathered = jax.lax.all_gather(x_NxD, BATCH_AXES, tiled=True)
            return jnp.sin(x_NxD + gathered.max()), None

        def outer(x_NxD, _):
            return jax.lax.scan(inner, x_NxD, length=6)[0], None

        return jax.lax.scan(outer, x_NxD, length=5)[0]

    def mapped(function, out):
        return jax.shard_map(
            function, mesh=mesh, in_specs=BATCH_SPEC, out_specs=out, check_vma=False
        )

    def found(function, shape, out_sharding):
        x = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=split)
        compiled = jax.jit(function, out_shardings=out_sharding).lower(x).compile()
        return [
            {
                "kind": item.kind,
                "shapes": item.shapes,
                "rest": [item.num_bytes, item.group_size, item.times],
            }
            for item in collectives(compiled.as_text())
        ]

    print(
        json.dumps(
            {
                "gather in a loop of 6 in a loop of 5": found(
                    mapped(gather_again_and_again, BATCH_SPEC), (64, 32), split
                ),
                "sum": found(lambda x: x.sum(axis=0), (64, 128), whole),
            }
        )
    )


if __name__ == "__main__":
    main()
