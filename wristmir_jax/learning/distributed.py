"""Several processes as one run: JAX's multi-controller runtime."""

import jax

from wristmir_jax.errors import UserError


def initialize(coordinator_address: str, num_processes: int, process_id: int) -> None:
    """Join the other processes of the run; nothing to do where there is one process.

    Args:
        coordinator_address: host:port of process 0; "auto" on TPU pods, SLURM and other clusters
            that JAX knows; "" for one process.
        num_processes, process_id: with an explicit address.

    Raises:
        UserError: the address is given without the other two.
    """
    if not coordinator_address:
        return
    if coordinator_address == "auto":
        jax.distributed.initialize()
        return
    if num_processes < 1 or not 0 <= process_id < num_processes:
        raise UserError(
            f"--coordinator_address={coordinator_address} needs --num_processes of at least 1 and "
            f"--process_id below it, not {num_processes} and {process_id}"
        )
    jax.distributed.initialize(coordinator_address, num_processes, process_id)
