"""Checkpoints of the train state and of the loader, by Orbax."""

import contextlib
from typing import Any, TypeVar

import grain
import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from wristmir_jax.errors import UserError

Tree = TypeVar("Tree")
FOLDER = "checkpoints"


class Checkpoints:
    """The checkpoints of one run, newest last.

    Saving is asynchronous; `save` before the next batch is drawn, so that the loader's state is the
    one that belongs to the step. Use as a context manager: leaving it waits for writes under way.

    Args:
        workdir: of the run; checkpoints live in `workdir/checkpoints`.
        keep: newest checkpoints that are kept.
    """

    def __init__(self, workdir: epath.PathLike, keep: int = 1):
        folder = epath.Path(workdir) / FOLDER
        # Orbax takes absolute paths only.
        self._folder = folder if "://" in str(folder) else folder.absolute()
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.preservation_policy.LatestN(keep),
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

    def save(self, step: int, state: Any, iterator: grain.DatasetIterator) -> None:
        """Start writing the checkpoint of `step`; returns once the arrays are copied."""
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                iterator=grain.checkpoint.CheckpointSave(iterator),
            ),
        )

    def restore(
        self, step: int, state: Tree, iterator: grain.DatasetIterator | None = None
    ) -> Tree:
        """Read the checkpoint of `step` into the shapes and shardings of `state`.

        Args:
            step: of the checkpoint.
            state: arrays or ShapeDtypeStructs with shardings.
            iterator: set to the loader's saved state where given.

        Raises:
            UserError: the checkpoint is of another architecture, or cannot be read.
        """
        self._check_architecture(step, state)
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state
        )
        items: dict[str, Any] = {"state": ocp.args.StandardRestore(abstract)}
        if iterator is not None:
            items["iterator"] = grain.checkpoint.CheckpointRestore(iterator)
        return self._manager.restore(step, args=ocp.args.Composite(**items))["state"]

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
    return {_name(path): tuple(leaf.shape) for path, leaf in leaves if hasattr(leaf, "shape")}


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(
        str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path
    )


def has_checkpoint(workdir: epath.PathLike) -> bool:
    """Whether a run in `workdir` has written a checkpoint."""
    folder = epath.Path(workdir) / FOLDER
    return folder.exists() and any(child.name.isdigit() for child in folder.iterdir())
