"""Devices that are not there: TPU slices for the compiler, and fake CPU devices."""

import contextlib
import dataclasses
import importlib.util
import io
import os
import re
from typing import Any

import jax
from jax.experimental import topologies

from wristmir_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Chip:
    """What one JAX device of a kind can do.

    Attributes:
        memory_gib: that programs can use, by libtpu's own message where one does not fit.
        teraflops: peak of bfloat16 products.
        memory_gb_s: bandwidth of its memory, 10^9 bytes a second.
        interconnect_gb_s: that it can send to other chips of the slice, all links together.
        options: of the topology's description.
    """

    memory_gib: float
    teraflops: float
    memory_gb_s: float
    interconnect_gb_s: float
    options: tuple[tuple[str, str], ...] = ()


# Peaks and bandwidths of a chip: cloud.google.com/tpu/docs/v4, v5e, v5p and v6e. They give the
# interconnect in both directions together (v5e 400, v5p 1200, v6e 800 GB/s); half of it is what a
# chip sends. That of v4: six links of 50 GB/s (Jouppi et al. 2023, arXiv 2304.01433).
CHIPS = {
    # Both cores of a chip are one device, as JAX runs them by default; libtpu would describe them
    # apart otherwise, two devices a chip with half of everything. On v5p they always are one.
    "v4": Chip(30.75, 275, 1228, 300, (("chip_config_name", "megacore"),)),
    "v5e": Chip(15.75, 197, 819, 200),
    "v5p": Chip(95.74, 459, 2765, 600),
    "v6e": Chip(31.25, 918, 1638, 400),
}
CPU = "cpu"


@dataclasses.dataclass(frozen=True)
class Topology:
    """Devices to compile for.

    Attributes:
        name: as it was asked for.
        devices: of JAX.
        chip: what each can do; None for fake CPU devices.
    """

    name: str
    devices: tuple[Any, ...]
    chip: Chip | None


def topology(name: str) -> Topology:
    """The devices of `v5e:8x8`, or of `cpu:8` for eight fake ones.

    Call it before anything else has started JAX's devices.

    Raises:
        UserError: the name is not understood, libtpu is missing or does not know the slice.
    """
    # Nothing is run; a TPU or GPU of this machine stays free for others.
    jax.config.update("jax_platforms", CPU)
    kind, _, shape = name.partition(":")
    if kind == CPU and re.fullmatch(r"[1-9]\d*", shape):
        return Topology(name, _fake_devices(int(shape), name), None)
    if kind not in CHIPS or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}", shape):
        raise UserError(
            f"--topology={name}: give a TPU slice such as v5e:8x8 ({', '.join(CHIPS)}), or cpu:8"
        )
    chip = CHIPS[kind]
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"--topology={name} needs the compiler of TPUs: pip install 'wristmir_jax[tpu]'"
        )
    # libtpu would ask the cloud's metadata server where it runs.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-64")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    # Its lock file is for processes that use a TPU, which compiling ahead of time does not.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    # Programs that were compiled ahead of time cannot be read back from it.
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            described = topologies.get_topology_desc(name, "tpu", **dict(chip.options))
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        problem = "knows no such slice" if "INVALID_ARGUMENT" in reason else "cannot be used"
        raise UserError(f"--topology={name}: libtpu {problem}: {reason}") from None
    return Topology(name, tuple(described.devices), chip)


def _fake_devices(count: int, name: str) -> tuple[Any, ...]:
    with contextlib.suppress(RuntimeError):  # The devices have been started already.
        jax.config.update("jax_num_cpu_devices", count)
    devices = jax.devices(CPU)
    if len(devices) < count:
        raise UserError(
            f"--topology={name}: only {len(devices)} CPU devices could be started; unset XLA_FLAGS"
        )
    return tuple(devices[:count])
