"""Checksums of arrays, computed where the arrays are."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wristmir_jax.learning import names
from wristmir_jax.learning.programs import compiled_together


def checksums(tree: Any) -> dict[str, int]:
    """A 32-bit checksum of every array of `tree`, by its name.

    The sum of all 32-bit words, each times an odd number that depends on its place: any changed
    byte changes it. Integer sums don't depend on their order, so neither the number of devices nor
    the sharding changes it, and it costs one reading of the memory. Every process gets all of them.

    Raises:
        TypeError: an array of a type that has no 1, 2 or 4 bytes an element.
    """
    paths, leaves = zip(*jax.tree_util.tree_leaves_with_path(tree), strict=True)
    program = _program(
        tuple(jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding) for a in leaves)
    )
    values = np.asarray(jax.device_get(program(list(leaves))))
    return {names.of(path): int(value) for path, value in zip(paths, values, strict=True)}


@functools.lru_cache(maxsize=4)
def _program(leaves: tuple[jax.ShapeDtypeStruct, ...]) -> Any:
    return compiled_together(_checksum_of_each, list(leaves))


@jax.jit
def _checksum_of_each(leaves: list[jax.Array]) -> jax.Array:
    return jnp.stack([_checksum(leaf) for leaf in leaves])


def _checksum(array: jax.Array) -> jax.Array:
    words = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}.get(array.dtype.itemsize)
    if words is None:
        raise TypeError(f"no checksum of {array.dtype}")
    if array.dtype == bool:
        array = array.astype(jnp.uint8)
    bits = jax.lax.bitcast_convert_type(array, words).astype(jnp.uint32)
    place = jnp.zeros(array.shape, jnp.uint32)
    for axis, length in enumerate(array.shape):
        place = place * jnp.uint32(length) + jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis)
    # Knuth's multiplicative hash of the place, made odd.
    return (bits * (place * jnp.uint32(2654435761) | jnp.uint32(1))).sum(dtype=jnp.uint32)
