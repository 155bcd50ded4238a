"""Large batches in parts: towers see a part at a time, the loss sees all of it."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from wristmir_jax.learning.sharding import BATCH_AXES


def in_micro_batches(
    tower: Callable[[Any], jax.Array], rows_Bx: Any, num_parts: int, mesh: Mesh
) -> jax.Array:
    """`tower(rows_Bx)`, keeping the activations of one part at a time.

    The gradient cache of Gao et al. 2021 (arXiv 2101.06983): features of all parts are computed and
    kept, the loss of the whole batch gives their gradients, and these are taken through each
    part's towers, computed anew. Exact for a contrastive loss, which a sum of the losses of parts
    is not. The price is a second forward pass.

    Args:
        tower: computes each row apart from the others.
        rows_Bx: array or tree of arrays, their leading axis split over all devices of `mesh`; a
            multiple of devices x parts.
        num_parts: 1 calls the tower once, as it is.
        mesh: of the devices.

    Returns:
        Leading axis B, in the order of the rows.
    """
    if num_parts == 1:
        return tower(rows_Bx)

    def parts_first(rows_Bx: jax.Array) -> jax.Array:
        # Each device cuts its own rows, so that none is moved.
        rows_PxMxb = rows_Bx.reshape(mesh.size, num_parts, -1, *rows_Bx.shape[1:])
        rows_MxPb = rows_PxMxb.swapaxes(0, 1).reshape(num_parts, -1, *rows_Bx.shape[1:])
        return _spread(rows_MxPb, mesh)

    features_MxPb = jax.lax.map(jax.checkpoint(tower), jax.tree.map(parts_first, rows_Bx))
    trailing = features_MxPb.shape[2:]
    features_MxPxb = _spread(features_MxPb, mesh).reshape(num_parts, mesh.size, -1, *trailing)
    return features_MxPxb.swapaxes(0, 1).reshape(-1, *trailing)


def _spread(rows_MxPb: Any, mesh: Mesh) -> Any:
    return jax.lax.with_sharding_constraint(rows_MxPb, NamedSharding(mesh, P(None, BATCH_AXES)))
