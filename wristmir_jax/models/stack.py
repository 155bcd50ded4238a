"""Equal blocks one behind the other, their parameters stacked along a first axis of layers.

One array a parameter of all layers, whatever the depth: a deep tower compiles as fast as a shallow
one, and optimiser, sharding and checkpoints see a dozen arrays instead of hundreds.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.experimental.layout import Layout, with_layout_constraint
from jax.sharding import PartitionSpec as P

Block = TypeVar("Block", bound=nnx.Module)

REMAT_POLICIES: dict[str, Any] = {
    "none": None,
    # Keeps what matrix products with parameters give, and computes the rest anew: the attention's
    # matrices, which grow with the square of the tokens, are never kept.
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


@dataclasses.dataclass(frozen=True)
class Execution:
    """How towers are computed, which changes no result but for rounding.

    Attributes:
        dtype: of the computation; parameters are float32.
        remat: key of `REMAT_POLICIES`: what a backward pass computes anew instead of keeping it.
        unroll_layers: stacks of at most so many blocks are written out, deeper ones are a loop,
            which compiles faster and runs slower; -1 for `_UNROLLED_LAYERS` of the backend.
        attention: xla, cudnn, or auto for cudnn where a GPU computes in half precision.
    """

    dtype: Any = jnp.float32
    remat: str = "none"
    unroll_layers: int = -1
    attention: Literal["auto", "xla", "cudnn"] = "auto"

    def writes_out(self, depth: int) -> bool:
        """Whether a stack of `depth` blocks is written out."""
        most = self.unroll_layers
        if most < 0:
            most = _UNROLLED_LAYERS.get(jax.default_backend(), 4)
        return depth <= most


# On a GPU a loop copies what the backward pass needs, and takes half as long again.
_UNROLLED_LAYERS = {"gpu": 24}


def stacked(blocks: list[Block]) -> Block:
    """One block of which each parameter holds those of all `blocks`, along a new first axis."""
    graph, first = nnx.split(blocks[0])
    states = [first, *(nnx.state(block) for block in blocks[1:])]
    return nnx.merge(graph, jax.tree.map(lambda *leaves: jnp.stack(leaves), *states))


def apply_stacked(
    blocks: Block,
    call: Callable[[Block, jax.Array], jax.Array],
    x: jax.Array,
    execution: Execution,
    frozen_layers: int = 0,
) -> jax.Array:
    """`call` each block on what the one before gave.

    Args:
        blocks: as `stacked` made it.
        call: (block, x) -> x of the same shape and dtype.
        x: input of the first block.
        execution: how.
        frozen_layers: of so many blocks from the first on, and of `x`, no gradient is taken.
    """
    if jax.default_backend() == "gpu":
        # The gradient of a table of positions is a sum over the batch, for which XLA would rather
        # have the batch last, and with it all activations before and behind.
        x = with_layout_constraint(x, Layout(tuple(range(x.ndim))))
    graph, state = nnx.split(blocks)
    depth = jax.tree.leaves(state)[0].shape[0]

    def body(x: jax.Array, layer: Any) -> tuple[jax.Array, None]:
        return call(nnx.merge(graph, whole(layer)), split(x)), None

    if execution.remat != "none":
        body = jax.checkpoint(
            body,
            policy=REMAT_POLICIES[execution.remat],
            prevent_cse=execution.writes_out(depth),
        )

    def run(x: jax.Array, layers: slice) -> jax.Array:
        part = jax.tree.map(lambda leaf: leaf[layers], state)
        length = len(range(depth)[layers])
        unroll = max(length, 1) if execution.writes_out(length) else 1
        return jax.lax.scan(body, x, part, length=length, unroll=unroll)[0]

    if frozen_layers:
        x = jax.lax.stop_gradient(run(jax.lax.stop_gradient(x), slice(frozen_layers)))
    return run(x, slice(frozen_layers, None))


def split(x: jax.Array) -> jax.Array:
    """Activations with their first axis, the batch, over all devices, where there is a mesh.

    Left to itself, XLA may gather those of a tower whose parameters are split.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    return jax.lax.with_sharding_constraint(x, P(mesh.axis_names))


def whole(layer: Any) -> Any:
    """A tree of parameters, such as a layer's, on every device, where a mesh splits them.

    They are gathered when they are needed, or else the activations might be moved to them.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return layer
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, P()), layer)
