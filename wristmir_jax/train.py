"""Train the dual encoder on a prepared data set; run again to resume."""

from absl import flags
from ml_collections import config_flags

from wristmir_jax import cli
from wristmir_jax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Recipe, such as configs/demo.py.", lock_config=True
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder or bucket for checkpoints and metrics; resumes what it holds."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator_address",
    "",
    "host:port of process 0 where several processes train together; auto on TPU pods and SLURM.",
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", 0, "With --coordinator_address=host:port.")
_PROCESS_ID = flags.DEFINE_integer("process_id", -1, "With --coordinator_address=host:port.")


def main() -> None:
    if _CONFIG.value is None:
        raise UserError("--config is missing: give a recipe, such as --config=configs/demo.py")
    if not _WORKDIR.value:
        raise UserError("--workdir is missing: give a folder for checkpoints and metrics")
    from wristmir_jax.learning import distributed, loop

    distributed.initialize(
        _COORDINATOR.value,
        _NUM_PROCESSES.value,
        _PROCESS_ID.value,
        _CONFIG.value.recovery.stall_seconds,
    )
    distributed.keep_compiled_programs(_WORKDIR.value)
    loop.train(_CONFIG.value, _WORKDIR.value)


if __name__ == "__main__":
    cli.run(main)
