"""Where a tower lies in the files of a folder: what each family of checkpoints says of itself."""

import dataclasses
from collections.abc import Callable
from typing import Any

from wristmir_jax.errors import UserError
from wristmir_jax.models.pretrained.folder import CheckpointFolder
from wristmir_jax.models.pretrained.folds import Fold
from wristmir_jax.models.pretrained.rules import Rule
from wristmir_jax.models.specs import TextSpec, VisionSpec

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CENTRED: Statistics = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
OPENAI: Statistics = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """A tower in a folder.

    Attributes:
        spec: what it is made of.
        rules: its tensors.
        folds: what to do with what they give, in this order.
        unused: regular expression of the names in the file that are no part of the tower.
        free: keys of `spec` that the folder does not decide.
        resize: (config, image size) -> None, writes another image size into the config; None where
            the library that reads it builds one size only.
    """

    spec: VisionSpec | TextSpec
    rules: tuple[Rule, ...]
    folds: tuple[Fold, ...]
    unused: str
    free: tuple[str, ...] = ()
    resize: Callable[[dict[str, Any], int], None] | None = None


def activation(folder: CheckpointFolder, name: str) -> str:
    """Our name of an activation.

    Raises:
        UserError: the towers have no such activation.
    """
    if name not in _ACTIVATIONS:
        raise UserError(
            f"{folder.path / folder.config_file}: activation {name} is not among those of the "
            f"towers: {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def mlp_width(width: int, hidden: int) -> int:
    """As specs hold it: 0 for four times the width."""
    return 0 if hidden == 4 * width else hidden


def prefix_of(folder: CheckpointFolder, anchor: str, tower: str) -> str:
    """What stands before the names of a tower: nothing, `vit.`, `text_model.` ...

    Args:
        folder: the checkpoint.
        anchor: end of a name that only this tower has.
        tower: for the message, such as image tower.

    Raises:
        UserError: no name ends so, or several do.
    """
    found = [name for name in folder.shapes if name == anchor or name.endswith(f".{anchor}")]
    if len(found) != 1:
        raise UserError(
            f"{folder.path} holds {len(found) or 'no'} tensors named {anchor}, so it is not clear "
            f"which {tower} to read"
        )
    return found[0].removesuffix(anchor)


def square(size: int | list[int] | tuple[int, ...]) -> int:
    """The side of a square that a config gives as one number or two."""
    return size if isinstance(size, int) else size[-1]


def refuse(folder: CheckpointFolder, **expected: tuple[Any, Any]) -> None:
    """Stop where a config asks for what the towers do not have.

    Args:
        folder: the checkpoint.
        **expected: key -> (what the config says, what it must be).

    Raises:
        UserError: names the key.
    """
    for key, (given, wanted) in expected.items():
        if given != wanted:
            raise UserError(
                f"{folder.path / folder.config_file}: {key}={given} is not supported, only {wanted}"
            )
