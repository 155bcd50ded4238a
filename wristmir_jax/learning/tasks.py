"""What a run trains: the dual encoder on captions, or the localiser on boxes."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import grain
import jax
import ml_collections
import numpy as np
from etils import epath
from flax import nnx
from jax.sharding import Mesh

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.dataset import Dataset
from wristmir_jax.data.localizer_batches import Mixture, localizer_batches
from wristmir_jax.errors import UserError
from wristmir_jax.learning import workdir as workdirs
from wristmir_jax.learning.dry_run import Memory, Shapes, describe
from wristmir_jax.learning.inputs import make_batches, make_tokenizer
from wristmir_jax.learning.localizer_loss import localizer_loss
from wristmir_jax.learning.localizer_run import file_or_run
from wristmir_jax.learning.messages import tell
from wristmir_jax.learning.pretraining import load_pretrained
from wristmir_jax.learning.record_order import keep_neighbours, record_order
from wristmir_jax.learning.state import TrainState, plan_state, plan_state_of
from wristmir_jax.learning.step import LossFunction, batch_loss
from wristmir_jax.learning.validation import NoValidation, Validation
from wristmir_jax.models.localizer import Localizer, LocalizerSpec


class Task(Protocol):
    """One kind of training: all that differs between kinds.

    Attributes:
        loss: of one batch.
    """

    loss: LossFunction

    def pretrained(self) -> dict[str, np.ndarray]:
        """Parameters that a new run starts from, by name."""
        ...

    def prepare_workdir(self) -> None:
        """Write what a reader of the run needs; called by the first process."""
        ...

    def plan(self, mesh: Mesh) -> tuple[Any, TrainState, Callable[[], TrainState]]:
        """As of `state.plan_state`."""
        ...

    def batches(self, first_step: int) -> grain.DatasetIterator:
        """The batches of this process that follow `first_step` steps."""
        ...

    def validation(self, graph: Any, mesh: Mesh, first_step: int) -> Validation | NoValidation:
        """What is measured at each checkpoint."""
        ...

    def describe(self, executable: Any) -> str:
        """One line on a compiled step."""
        ...


def open_task(config: ml_collections.ConfigDict, workdir: epath.Path) -> Task:
    """The task of `config.task`.

    Raises:
        UserError: the data set does not serve it.
    """
    return {"contrastive": ContrastiveTask, "localizer": LocalizerTask}[config.task](
        config, workdir
    )


class ContrastiveTask:
    """The dual encoder of films, crops and captions."""

    loss = staticmethod(batch_loss)

    def __init__(self, config: ml_collections.ConfigDict, workdir: epath.Path):
        self._config, self._workdir = config, workdir
        self._dataset = Dataset(config.dataset)
        # Precedence: the run's own, then a given one, then a new one.
        begun = (workdir / workdirs.CONFIG_FILE).exists()
        self._tokenizer = (
            workdirs.read_tokenizer(workdir) if begun else make_tokenizer(config, self._dataset)
        )
        self._order = record_order(config, self._dataset, workdir)
        info = self._dataset.info
        self._shapes = Shapes(
            info.image_size, info.crop_size, len(info.regions), self._tokenizer.vocab_size
        )

    def pretrained(self) -> dict[str, np.ndarray]:
        return load_pretrained(self._config, self._shapes)

    def prepare_workdir(self) -> None:
        keep_neighbours(self._config, self._workdir)
        workdirs.prepare(self._workdir, self._config, self._dataset.info, self._tokenizer)

    def plan(self, mesh: Mesh) -> tuple[Any, TrainState, Callable[[], TrainState]]:
        return plan_state(self._config, mesh, **dataclasses.asdict(self._shapes))

    def batches(self, first_step: int) -> grain.DatasetIterator:
        return make_batches(self._config, self._dataset, self._order, self._tokenizer, first_step)

    def validation(self, graph: Any, mesh: Mesh, first_step: int) -> Validation:
        return Validation(
            self._config, self._workdir, self._dataset, self._tokenizer, graph, mesh, first_step
        )

    def describe(self, executable: Any) -> str:
        return describe(executable, self._config, self._shapes)


class LocalizerTask:
    """The network that finds the regions, on films whose boxes are known."""

    loss = staticmethod(localizer_loss)

    def __init__(self, config: ml_collections.ConfigDict, workdir: epath.Path):
        self._config, self._workdir = config, workdir
        self._dataset = Dataset(config.dataset)
        info = self._dataset.info
        if info.regions != REGION_NAMES:
            has = ", ".join(info.regions) or "none"
            raise UserError(
                f"--config.dataset={config.dataset}: has regions {has}; the localiser needs "
                f"{', '.join(REGION_NAMES)}"
            )
        self._mixture = None
        if folder := config.localizer.mixed_dataset:
            other = Dataset(folder)
            if (other.info.regions, other.info.image_size) != (info.regions, info.image_size):
                raise UserError(
                    f"config.localizer.mixed_dataset={folder}: prepare it with the regions of "
                    f"config.dataset and --image_size={info.image_size}"
                )
            self._mixture = Mixture(other.source(config.split), config.localizer.mixed_fraction)
        self._spec = LocalizerSpec.of(config.localizer, len(REGION_NAMES))
        self._order = record_order(config, self._dataset)

    def pretrained(self) -> dict[str, np.ndarray]:
        path = self._config.pretrained.localizer
        if not path:
            return {}
        file = file_or_run(path)
        if file.spec != self._spec:
            raise UserError(
                f"config.pretrained.localizer={path}: holds a network of {file.spec}, the config "
                f"describes {self._spec}"
            )
        tell(f"the localiser starts from {path}")
        return file.parameters

    def prepare_workdir(self) -> None:
        workdirs.prepare(self._workdir, self._config, self._dataset.info)

    def plan(self, mesh: Mesh) -> tuple[Any, TrainState, Callable[[], TrainState]]:
        return plan_state_of(
            lambda seed: Localizer(self._spec, rngs=nnx.Rngs(seed)), self._config, mesh
        )

    def batches(self, first_step: int) -> grain.DatasetIterator:
        config = self._config
        return localizer_batches(
            self._dataset.source(config.split),
            self._order,
            self._mixture,
            batch_size=config.batch_size,
            seed=config.seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            first_step=first_step,
            num_workers=config.loader.num_workers,
            buffer_size=config.loader.buffer_size,
        )

    def validation(self, graph: Any, mesh: Mesh, first_step: int) -> NoValidation:
        return NoValidation()

    def describe(self, executable: Any) -> str:
        return f"compiled step, a device: {Memory.of(executable)}"
