"""Train the dual encoder on a prepared data set; run again to resume."""

from absl import flags
from ml_collections import ConfigDict, config_flags

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


_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Compile the step for --topology, print what it takes, and end."
)
_TOPOLOGY = flags.DEFINE_string(
    "topology", "", "With --dry_run: a TPU slice such as v5e:8x8, or cpu:8 for fake devices."
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 224, "Pixels of films, with --dry_run where there is no data set.", lower_bound=1
)
_CROP_SIZE = flags.DEFINE_integer(
    "crop_size", 128, "Pixels of crops, with --dry_run where there is no data set.", lower_bound=1
)


def main() -> None:
    if _CONFIG.value is None:
        raise UserError("--config is missing: give a recipe, such as --config=configs/demo.py")
    if _DRY_RUN.value:
        _dry_run(_CONFIG.value)
        return
    if _TOPOLOGY.value:
        raise UserError(f"--topology={_TOPOLOGY.value} goes with --dry_run")
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


def _dry_run(config: ConfigDict) -> None:
    if not _TOPOLOGY.value:
        raise UserError("--dry_run needs --topology, such as v5e:8x8 or cpu:8")
    from wristmir_jax.learning import dry_run

    dry_run.main(config, _TOPOLOGY.value, _IMAGE_SIZE.value, _CROP_SIZE.value)


if __name__ == "__main__":
    cli.run(main)
