"""Compare every row of a sharded batch with every other, a tile at a time."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

# A tree of arrays that share their two leading axes, (K, n): kinds, and rows of this device.
Rows = TypeVar("Rows")
Columns = TypeVar("Columns")
RowSums = TypeVar("RowSums")
ColumnSums = TypeVar("ColumnSums")
TileFunction = Callable[[Rows, Columns, RowSums, ColumnSums], tuple[RowSums, ColumnSums]]


def sweep(
    tile_function: TileFunction[Rows, Columns, RowSums, ColumnSums],
    rows: Rows,
    columns: Columns,
    row_sums: RowSums,
    column_sums: ColumnSums,
    *,
    axes: tuple[str, ...],
    num_devices: int,
    tile: int,
) -> tuple[RowSums, ColumnSums]:
    """Call `tile_function` on all rows of this device by `tile` columns of some device, for all.

    Each device keeps its rows. Columns travel round the ring of devices, and what is summed over
    the rows of all devices travels with them, so that after one round everything is home again.
    Call it inside `jax.shard_map`.

    Args:
        tile_function: (rows, columns, row_sums, column_sums) -> (row_sums, column_sums), of one
            kind: leaves (n, ...) of rows and (tile, ...) of columns.
        rows, row_sums: leaves (K, n, ...).
        columns, column_sums: leaves (K, m, ...). Where `tile` does not divide m, columns of zeros
            are added: labels must be such that zeros are never compared.
        axes: mesh axes that the rows are split over.
        num_devices: along these axes.
        tile: columns a call.

    Returns:
        `row_sums` and `column_sums` after all rows met all columns.
    """
    leaves = jax.tree.leaves(columns)
    num_kinds, num_columns = leaves[0].shape[:2]
    if not num_kinds:
        return row_sums, column_sums
    tile = min(tile, num_columns)
    num_tiles = -(-num_columns // tile)
    columns, column_sums = _into_tiles((columns, column_sums), num_tiles, tile)

    def onwards(tree: Any) -> Any:
        if num_devices == 1:
            return tree
        ring = [(device, (device + 1) % num_devices) for device in range(num_devices)]
        return jax.tree.map(lambda leaf: jax.lax.ppermute(leaf, axes, ring), tree)

    def meet(index: jax.Array, sums: Any, columns: Any) -> Any:
        kind, number = index // num_tiles, index % num_tiles
        row_sums, column_sums = sums
        row_sums_n, column_sums_t = tile_function(
            jax.tree.map(lambda leaf: leaf[kind], rows),
            jax.tree.map(lambda leaf: leaf[kind, number], columns),
            jax.tree.map(lambda leaf: leaf[kind], row_sums),
            jax.tree.map(lambda leaf: leaf[kind, number], column_sums),
        )
        return (
            jax.tree.map(lambda leaf, new: leaf.at[kind].set(new), row_sums, row_sums_n),
            jax.tree.map(
                lambda leaf, new: leaf.at[kind, number].set(new), column_sums, column_sums_t
            ),
        )

    def hop(_: jax.Array, carry: Any) -> Any:
        columns, row_sums, column_sums = carry
        # Sent before the tiles are computed: the exchange hides behind them.
        following = onwards(columns)
        row_sums, column_sums = jax.lax.fori_loop(
            0,
            num_kinds * num_tiles,
            lambda index, sums: meet(index, sums, columns),
            (row_sums, column_sums),
        )
        return following, row_sums, onwards(column_sums)

    carry = (columns, row_sums, column_sums)
    _, row_sums, column_sums = (
        hop(jnp.int32(0), carry)
        if num_devices == 1
        else jax.lax.fori_loop(0, num_devices, hop, carry)
    )
    return row_sums, jax.tree.map(
        lambda leaf: leaf.reshape(num_kinds, num_tiles * tile, *leaf.shape[3:])[:, :num_columns],
        column_sums,
    )


def _into_tiles(tree: Any, num_tiles: int, tile: int) -> Any:
    """(K, m, ...) -> (K, num_tiles, tile, ...), zeros behind."""

    def split(leaf: jax.Array) -> jax.Array:
        num_kinds, num_columns, *rest = leaf.shape
        padding = [(0, 0), (0, num_tiles * tile - num_columns)] + [(0, 0)] * len(rest)
        return jnp.pad(leaf, padding).reshape(num_kinds, num_tiles, tile, *rest)

    return jax.tree.map(split, tree)
