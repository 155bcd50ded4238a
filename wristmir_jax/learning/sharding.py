"""The device mesh and where arrays live on it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from wristmir_jax.errors import UserError

DATA_AXIS, FSDP_AXIS = "data", "fsdp"
# Both axes split the batch; only the second splits the parameters.
BATCH_AXES = (DATA_AXIS, FSDP_AXIS)
BATCH_SPEC = P(BATCH_AXES)

# Which axis of the mesh splits which axis of a parameter; None leaves it whole.
MESH_AXES: dict[str, str | None] = {
    "layer": None,
    "embed": FSDP_AXIS,
    "heads": None,
    "hidden": None,
    "vocabulary": None,
    "position": None,
    "patch": None,
    "joint": None,
    "window": None,
    "channels": FSDP_AXIS,
    "features": FSDP_AXIS,
}
# What the axes of a parameter are, by the end of its name; none where it is always whole. A stack
# of layers has one more axis before them.
LOGICAL_AXES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"attention/qkv/kernel", ("embed", "heads")),
    (r"attention/out/kernel", ("heads", "embed")),
    (r"pooling/(q|kv)/kernel", ("embed", "heads")),
    (r"pooling/out/kernel", ("heads", "embed")),
    (r"mlp/up/kernel", ("embed", "hidden")),
    (r"mlp/down/kernel", ("hidden", "embed")),
    (r"patch/kernel", ("patch", "embed")),
    (r"token/embedding", ("vocabulary", "embed")),
    (r"(position|prefix|query)", ("position", "embed")),
    (r"tower/projection(/\d+)?/kernel", ("embed", "joint")),
    (r"head(s/\d+)?/projection/kernel", ("features", "joint")),
    (r"(kind|batch_mean|batch_variance)", ()),
    (r"(stem|conv\d|shortcut|lateral/\d+)/kernel", ("window", "window", "window", "channels")),
    (r"hidden/kernel", ("features", "joint")),
)
# Parameters of the transformers' layers, which are stacked.
_STACKED = "/layers/"

# Below this many elements an all-gather costs more than the memory it saves.
MIN_SHARDED_ELEMENTS = 2**14


def make_mesh(fsdp: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over all devices of all processes: `fsdp` of them share one copy of the parameters.

    Args:
        fsdp: length of the fsdp axis; the rest is the data axis.
        devices: another set of jax devices.

    Raises:
        UserError: the number of devices is not a multiple of `fsdp`, or a TPU slice has no links
            along which so many of them form a ring.
    """
    num_devices = jax.device_count() if devices is None else len(devices)
    if fsdp < 1 or num_devices % fsdp:
        raise UserError(f"config.mesh.fsdp={fsdp} does not divide the {num_devices} devices")
    try:
        return jax.make_mesh(
            (num_devices // fsdp, fsdp),
            (DATA_AXIS, FSDP_AXIS),
            axis_types=(AxisType.Auto, AxisType.Auto),
            devices=devices,
        )
    except NotImplementedError:
        # JAX keeps an axis of the mesh on whole rings of links: 4x4x4 chips have rings of 4.
        raise UserError(
            f"config.mesh.fsdp={fsdp} does not fit how these {num_devices} TPUs are linked: it "
            "must be a product of lengths of the slice, such as 8 on 8x8, or 4 or 16 on 4x4x4"
        ) from None


def parameter_spec(name: str, shape: tuple[int, ...], mesh: Mesh) -> P:
    """How a parameter is split: by `LOGICAL_AXES` and `MESH_AXES`.

    Small arrays, biases and gains among them, and axes that the mesh does not divide stay whole.

    Raises:
        ValueError: the table does not tell what the axes of a large parameter are.
    """
    if mesh.shape[FSDP_AXIS] == 1 or np.prod(shape) < MIN_SHARDED_ELEMENTS:
        return P()
    leading = ("layer",) if _STACKED in name else ()
    if len(shape) - len(leading) < 2:
        return P()
    for pattern, axes in LOGICAL_AXES:
        if re.search(rf"(^|[/_]){pattern}$", name):
            if not axes:
                return P()
            mesh_axes = [MESH_AXES[axis] for axis in (*leading, *axes)]
            return P(
                *(
                    axis if axis is not None and length % mesh.shape[axis] == 0 else None
                    for axis, length in zip(mesh_axes, shape, strict=True)
                )
            )
    raise ValueError(f"learning/sharding.py has no logical axes for {name} of shape {shape}")


def state_shardings(shapes: object, mesh: Mesh) -> object:
    """NamedSharding of every array of a train state, from names and shapes alone.

    Optimiser moments and averages have their parameter's name and shape and so its sharding.
    """

    def sharding(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        name = str(getattr(path[-1], "key", ""))
        return NamedSharding(mesh, parameter_spec(name, leaf.shape, mesh))

    return jax.tree_util.tree_map_with_path(sharding, shapes)


def place_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Put this process's part of a batch on its devices, as one global array a key."""
    sharding = NamedSharding(mesh, BATCH_SPEC)
    return {
        key: jax.make_array_from_process_local_data(sharding, array) for key, array in batch.items()
    }


def rows_of_shard(table_TxF: jax.Array, index_BxK: jax.Array, mesh: Mesh) -> jax.Array:
    """Rows of a table that is split over the devices, of which each asks for its own only.

    Args:
        table_TxF: split over all axes of the mesh.
        index_BxK: int32, split in the same way; positions within the part of the same device. Rows
            of negative positions mean nothing.
        mesh: of the devices.

    Returns:
        (B, K, F), split like the index.
    """
    return jax.shard_map(
        lambda table_txF, index_bxK: table_txF[index_bxK],
        mesh=mesh,
        in_specs=BATCH_SPEC,
        out_specs=BATCH_SPEC,
    )(table_TxF, index_BxK)
