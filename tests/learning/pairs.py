"""Random pairs with everything that the loss must stand: groups, masks, ambiguity."""

import jax.numpy as jnp
import numpy as np

from wristmir_jax.learning.pairs import PairLabels
from wristmir_jax.models.layers import unit_length


def random_pairs(num_rows, num_kinds, seed, dim=8, regions=3, num_groups=7):
    """Image and text (B, K, D) and labels (B, K): groups of several pairs, a fifth of the pairs not
    valid, so that these rows have no positive."""
    rng = np.random.default_rng(seed)
    shape = (num_rows, num_kinds)
    image, text = rng.normal(size=(2, *shape, dim)).astype(np.float32)
    labels = PairLabels(
        jnp.array(rng.integers(0, num_groups, (*shape, 1)) * np.array([1, 1]), jnp.int32),
        jnp.array(rng.random(shape) < 0.8),
        jnp.array(rng.integers(0, 4, (*shape, regions)), jnp.int32),
    )
    return unit_length(jnp.array(image)), unit_length(jnp.array(text)), labels
