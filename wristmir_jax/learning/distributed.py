"""Several processes as one run: JAX's multi-controller runtime."""

import math

import jax
from etils import epath

from wristmir_jax.errors import UserError

_CACHE_FOLDER = "compiled"


def initialize(
    coordinator_address: str, num_processes: int, process_id: int, stall_seconds: float = 300
) -> None:
    """Join the other processes of the run; nothing to do where there is one process.

    Args:
        coordinator_address: host:port of process 0; "auto" on TPU pods, SLURM and other clusters
            that JAX knows; "" for one process.
        num_processes, process_id: with an explicit address.
        stall_seconds: after which `learning.watch` names a stalled process; the runtime, which
            does not say which, waits for longer.

    Raises:
        UserError: the address is given without the other two.
    """
    if not coordinator_address:
        return
    heartbeat_timeout = max(100, math.ceil(3 * stall_seconds))
    if coordinator_address == "auto":
        jax.distributed.initialize(heartbeat_timeout_seconds=heartbeat_timeout)
        return
    if num_processes < 1 or not 0 <= process_id < num_processes:
        raise UserError(
            f"--coordinator_address={coordinator_address} needs --num_processes of at least 1 and "
            f"--process_id below it, not {num_processes} and {process_id}"
        )
    jax.distributed.initialize(
        coordinator_address,
        num_processes,
        process_id,
        heartbeat_timeout_seconds=heartbeat_timeout,
    )


def keep_compiled_programs(workdir: epath.PathLike) -> None:
    """Keep compiled programs in the run's folder, so that a resumed run starts at once.

    JAX_COMPILATION_CACHE_DIR names another folder. Call it before anything is compiled.
    """
    if not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", str(epath.Path(workdir) / _CACHE_FOLDER))
