"""Which (image, caption) pairs are positives of each other, which are candidates, which neither."""

import flax.struct
import jax
import jax.numpy as jnp

from wristmir_jax.reports.findings import STATUSES


@flax.struct.dataclass
class PairLabels:
    """What makes two (image, caption) pairs positive, negative or neither.

    Attributes:
        group_Nx2: int32, both words of the caption group; pairs of equal groups are positives.
        valid_N: bool, the pair has both its image and its caption.
        status_NxK: integer codes into STATUSES of the K regions that the caption speaks of, at most
            31.
    """

    group_Nx2: jax.Array
    valid_N: jax.Array
    status_NxK: jax.Array


def relations(rows: PairLabels, columns: PairLabels) -> tuple[jax.Array, jax.Array]:
    """Compare every row with every column.

    Args:
        rows: of N pairs.
        columns: of M pairs.

    Returns:
        bool (N, M) twice: same caption group, and may be told apart. A positive is a candidate too.
        Two captions that may well mean the same are neither: uncertain in one, fracture in the
        other, and no region that is fractured in one and not in the other.
    """
    comparable_NxM = rows.valid_N[:, None] & columns.valid_N[None]
    positive_NxM = comparable_NxM
    for word in range(2):
        positive_NxM &= rows.group_Nx2[:, None, word] == columns.group_Nx2[None, :, word]

    # A status of all regions as one word of bits: comparisons then take no third axis.
    def shared_regions(first: str, second: str) -> jax.Array:
        return (_regions_of(rows, first)[:, None] & _regions_of(columns, second)[None]) | (
            _regions_of(rows, second)[:, None] & _regions_of(columns, first)[None]
        )

    may_agree_NxM = shared_regions("uncertain", "fracture") != 0
    contradict_NxM = shared_regions("fracture", "no_fracture") != 0
    ambiguous_NxM = may_agree_NxM & ~contradict_NxM
    return positive_NxM, comparable_NxM & (positive_NxM | ~ambiguous_NxM)


def _regions_of(labels: PairLabels, status: str) -> jax.Array:
    """int32 (N,): bit k is set where region k has the status."""
    bits_K = jnp.left_shift(1, jnp.arange(labels.status_NxK.shape[-1], dtype=jnp.int32))
    has_NxK = labels.status_NxK == STATUSES.index(status)
    return jnp.where(has_NxK, bits_K, 0).sum(axis=-1, dtype=jnp.int32)
