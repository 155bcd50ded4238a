"""Checkpoints of the train state and of the loader, by Orbax."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, TypeVar

import grain
import jax
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from wristmir_jax import buckets
from wristmir_jax.errors import UserError
from wristmir_jax.learning import names
from wristmir_jax.learning.checksums import checksums

Tree = TypeVar("Tree")
FOLDER = "checkpoints"
DAMAGED_FOLDER = "damaged_checkpoints"

_REMEDY = "train again with this --workdir to go on from the one before it"


class DamagedCheckpointError(UserError):
    """A checkpoint cannot be read, or does not hold what was saved."""


@dataclasses.dataclass
class _Preserved(checkpoint_managers.preservation_policy.PreservationPolicy):
    """The newest checkpoints, and the best one."""

    keep: int
    best_step: int | None = None

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        del context
        newest = len(checkpoints) - self.keep
        return [
            position >= newest or info.step == self.best_step
            for position, info in enumerate(checkpoints)
        ]


@dataclasses.dataclass(frozen=True)
class Origin:
    """Which run wrote a checkpoint.

    Attributes:
        process_count: of jax.distributed; each had its own part of every batch.
        iterator_first_step: step after which the loader began, counted from which its state is.
    """

    process_count: int
    iterator_first_step: int


class Checkpoints:
    """The checkpoints of one run, newest last.

    Saving is asynchronous; `save` before the next batch is drawn, so that the loader's state is the
    one that belongs to the step. Use as a context manager: leaving it waits for writes under way.

    Args:
        workdir: of the run; checkpoints live in `workdir/checkpoints`.
        keep: newest checkpoints that are kept.
    """

    def __init__(self, workdir: epath.PathLike, keep: int = 1):
        buckets.make_ready(workdir)
        folder = epath.Path(workdir) / FOLDER
        # Orbax takes absolute paths only.
        self._folder = folder if buckets.is_bucket(folder) else folder.absolute()
        self._preserved = _Preserved(keep)
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=self._preserved,
                enable_async_checkpointing=True,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    @property
    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def wait(self) -> None:
        """Return once everything is written."""
        self._manager.wait_until_finished()

    @property
    def steps(self) -> tuple[int, ...]:
        """All that there are checkpoints of, in order."""
        return tuple(sorted(self._manager.all_steps()))

    def save(
        self,
        step: int,
        state: Any,
        iterator: grain.DatasetIterator,
        origin: Origin,
        best_step: int | None = None,
    ) -> None:
        """Start writing the checkpoint of `step`; returns once the arrays are copied.

        Args:
            step: of the run.
            state: on the devices.
            iterator: of the loader.
            origin: of the run.
            best_step: whose checkpoint is kept beside the newest ones.
        """
        self._preserved.best_step = best_step
        about = dataclasses.asdict(origin) | {"checksums": checksums(state)}
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                iterator=grain.checkpoint.CheckpointSave(iterator),
                about=ocp.args.JsonSave(about),
            ),
        )

    def origin(self, step: int) -> Origin:
        """Which run wrote the checkpoint of `step`.

        Raises:
            DamagedCheckpointError: it cannot be read.
        """
        about = self._about(step)
        return Origin(**{field.name: about[field.name] for field in dataclasses.fields(Origin)})

    def _about(self, step: int) -> dict[str, Any]:
        with self._naming_damage(step):
            return self._manager.restore(
                step, args=ocp.args.Composite(about=ocp.args.JsonRestore())
            )["about"]

    def restore(
        self, step: int, state: Tree, iterator: grain.DatasetIterator | None = None
    ) -> Tree:
        """Read the checkpoint of `step` into the shapes and shardings of `state`.

        Args:
            step: of the checkpoint.
            state: arrays or ShapeDtypeStructs with shardings, of any devices.
            iterator: set to the loader's saved state where given.

        Raises:
            DamagedCheckpointError: it cannot be read, or does not hold what was saved.
            UserError: it is of another architecture.
        """
        expected = self._about(step)["checksums"]
        with self._naming_damage(step):
            self._check_architecture(step, state)
            abstract = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
                state,
            )
            items: dict[str, Any] = {"state": ocp.args.StandardRestore(abstract)}
            if iterator is not None:
                items["iterator"] = grain.checkpoint.CheckpointRestore(iterator)
            restored = self._manager.restore(step, args=ocp.args.Composite(**items))["state"]
        found = checksums(restored)
        differing = sorted(name for name in expected if found.get(name) != expected[name])
        if differing:
            raise DamagedCheckpointError(
                f"{self._folder / str(step)} is damaged: {len(differing)} arrays are not what was "
                f"saved, such as {differing[0]}; {_REMEDY}"
            )
        return restored

    def set_aside(self, step: int) -> None:
        """Move a damaged checkpoint out of the way of the run that is about to repeat the step."""
        if jax.process_index() == 0:
            target = self._folder.parent / DAMAGED_FOLDER / str(step)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rmtree()
            buckets.move_folder(self._folder / str(step), target)
        _wait_for_all("set aside")
        self._manager.reload()

    @contextlib.contextmanager
    def _naming_damage(self, step: int) -> Iterator[None]:
        try:
            yield
        except (UserError, MemoryError, jax.errors.JaxRuntimeError):
            raise
        # Readers of damaged files raise what they like: ValueError, KeyError, bare Exception.
        except Exception as error:
            reason = str(error).strip().splitlines() or [""]
            raise DamagedCheckpointError(
                f"{self._folder / str(step)} is damaged: {type(error).__name__}: "
                f"{reason[0][:200]}; {_REMEDY}"
            ) from error

    def _check_architecture(self, step: int, state: Any) -> None:
        handler = ocp.StandardCheckpointHandler()
        with contextlib.closing(handler):
            metadata = handler.metadata(self._folder / str(step) / "state")
        saved = _shapes(metadata.tree if hasattr(metadata, "tree") else metadata)
        expected = _shapes(state)
        differing = sorted(
            name for name in saved.keys() | expected.keys() if saved.get(name) != expected.get(name)
        )
        if differing:
            name = differing[0]
            raise UserError(
                f"{self._folder / str(step)} is a checkpoint of another architecture: "
                f"{len(differing)} arrays differ, such as {name}, {saved.get(name, 'absent')} "
                f"there and {expected.get(name, 'absent')} by config.json; give one run's folder"
            )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda node: hasattr(node, "shape"))
    return {names.of(path): tuple(leaf.shape) for path, leaf in leaves if hasattr(leaf, "shape")}


def _wait_for_all(purpose: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(purpose)


def has_checkpoint(workdir: epath.PathLike) -> bool:
    """Whether a run in `workdir` has written a checkpoint."""
    folder = epath.Path(workdir) / FOLDER
    return folder.exists() and any(child.name.isdigit() for child in folder.iterdir())
