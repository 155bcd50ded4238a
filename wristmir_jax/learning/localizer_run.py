"""The localiser of a run: its averaged parameters, as a file holds them."""

import jax
import numpy as np
from etils import epath
from flax import nnx

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.errors import UserError
from wristmir_jax.learning import workdir as workdirs
from wristmir_jax.learning.checkpoints import Checkpoints, has_checkpoint
from wristmir_jax.learning.sharding import make_mesh
from wristmir_jax.learning.state import plan_state_of
from wristmir_jax.models.localizer import Localizer, LocalizerSpec
from wristmir_jax.models.localizer_file import LocalizerFile, read_localizer


def localizer_of_run(workdir: epath.PathLike) -> LocalizerFile:
    """From the newest checkpoint of a run; not calibrated.

    Raises:
        UserError: no run of config.task=localizer, or no checkpoint, in `workdir`.
    """
    workdir = epath.Path(workdir)
    config = workdirs.read_config(workdir)
    if config.task != "localizer":
        raise UserError(f"--workdir={workdir} holds a run of config.task={config.task}")
    if not has_checkpoint(workdir):
        raise UserError(f"--workdir={workdir} has no checkpoint yet: train first")
    spec = LocalizerSpec.of(config.localizer, len(REGION_NAMES))
    _, plan, _ = plan_state_of(
        lambda seed: Localizer(spec, rngs=nnx.Rngs(seed)), config, make_mesh()
    )
    with Checkpoints(workdir) as checkpoints:
        step = checkpoints.latest_step
        assert step is not None
        average = checkpoints.restore(step, plan).average
    arrays = {name: np.asarray(value) for name, value in jax.device_get(average).items()}
    return LocalizerFile(spec, REGION_NAMES, arrays, about=f"step {step} of seed {config.seed}")


def file_or_run(path: epath.PathLike) -> LocalizerFile:
    """A file of a localiser, or that of the run in a folder.

    Raises:
        UserError: it is neither.
    """
    return localizer_of_run(path) if epath.Path(path).is_dir() else read_localizer(path)
