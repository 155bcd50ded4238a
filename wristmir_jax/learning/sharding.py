"""The device mesh and where arrays live on it."""

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

# Suffix of the keys of a batch that index the rows of its distinct captions.
TEXT_INDEX = "_text_index"

# Below this many elements an all-gather costs more than the memory it saves.
MIN_SHARDED_ELEMENTS = 2**14


def make_mesh(fsdp: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over all devices of all processes: `fsdp` of them share one copy of the parameters.

    Args:
        fsdp: length of the fsdp axis; the rest is the data axis.
        devices: another set of jax devices.

    Raises:
        UserError: the number of devices is not a multiple of `fsdp`.
    """
    num_devices = jax.device_count() if devices is None else len(devices)
    if fsdp < 1 or num_devices % fsdp:
        raise UserError(f"config.mesh.fsdp={fsdp} does not divide the {num_devices} devices")
    return jax.make_mesh(
        (num_devices // fsdp, fsdp),
        (DATA_AXIS, FSDP_AXIS),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=devices,
    )


def parameter_spec(shape: tuple[int, ...], mesh: Mesh) -> P:
    """Split the longest axis that the fsdp axis divides; small arrays are replicated."""
    fsdp = mesh.shape[FSDP_AXIS]
    if fsdp == 1 or np.prod(shape) < MIN_SHARDED_ELEMENTS:
        return P()
    divisible = [axis for axis, length in enumerate(shape) if length % fsdp == 0]
    if not divisible:
        return P()
    longest = max(divisible, key=lambda axis: shape[axis])
    return P(*[FSDP_AXIS if axis == longest else None for axis in range(len(shape))])


def state_shardings(shapes: object, mesh: Mesh) -> object:
    """NamedSharding of every array of a train state, from its shapes alone.

    Optimiser moments and averages have their parameter's shape and so its sharding.
    """
    return jax.tree.map(lambda leaf: NamedSharding(mesh, parameter_spec(leaf.shape, mesh)), shapes)


def place_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Put this process's part of a batch on its devices, as one global array a key.

    `<level>_text_index` counts rows of this process's `<level>_token` on the host, and rows of the
    tokens of all processes on the devices.
    """
    sharding = NamedSharding(mesh, BATCH_SPEC)
    placed = {
        key: jax.make_array_from_process_local_data(sharding, array)
        for key, array in batch.items()
        if not key.endswith(TEXT_INDEX)
    }
    for key, index in batch.items():
        if key.endswith(TEXT_INDEX):
            token_TxL = placed[key.removesuffix(TEXT_INDEX) + "_token"]
            first_row = min(
                (rows.start or 0 for rows, *_ in _addressable(sharding, token_TxL.shape)), default=0
            )
            global_index = np.where(index >= 0, index + first_row, -1).astype(np.int32)
            placed[key] = jax.make_array_from_process_local_data(sharding, global_index)
    return placed


def _addressable(sharding: NamedSharding, shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    return list(sharding.addressable_devices_indices_map(shape).values())  # type: ignore[arg-type]
