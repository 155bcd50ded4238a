"""Towers from the folders of others: what they are made of, and their parameters."""

import dataclasses
import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from flax import nnx

from wristmir_jax.errors import UserError
from wristmir_jax.models import parameters
from wristmir_jax.models.pretrained import families
from wristmir_jax.models.pretrained.folder import CheckpointFolder
from wristmir_jax.models.pretrained.layout import Layout
from wristmir_jax.models.pretrained.rules import Arrays
from wristmir_jax.models.specs import TextSpec, TransformerSpec, VisionSpec
from wristmir_jax.models.stack import Execution
from wristmir_jax.models.text import TextTower
from wristmir_jax.models.vision import ViT

# Vectors of the kind of image, which only our towers have.
KIND = "kind"
_SHOWN = 5


def vision_spec(folder: epath.PathLike) -> VisionSpec:
    """What the image tower in `folder` is made of.

    Raises:
        UserError: a folder, family or architecture that is not known.
    """
    spec = families.vision_layout(folder)[1].spec
    assert isinstance(spec, VisionSpec)
    return spec


def text_spec(folder: epath.PathLike) -> TextSpec:
    """What the text tower in `folder` is made of.

    Raises:
        UserError: a folder, family or architecture that is not known.
    """
    spec = families.text_layout(folder)[1].spec
    assert isinstance(spec, TextSpec)
    return spec


def load_vision(
    folder: epath.PathLike,
    spec: VisionSpec,
    image_size: int,
    ignore: Sequence[str] = (),
    key: str = "config.model.global_tower",
) -> Arrays:
    """Parameters of a `ViT`, by their names in the tower.

    They give what the original gives of images whose channels are equal. `kind` is not among them.

    Args:
        folder: local, with config.json (or open_clip_config.json) and safetensors.
        spec: what the recipe's tower is made of; `frozen_layers` may be any.
        image_size: pixels; positions are interpolated where the original's differs.
        ignore: regular expressions of the file's names that may stay unused or be missing; what is
            missing is left out of the result.
        key: of `spec` in the recipe, for messages.

    Returns:
        float32 arrays.

    Raises:
        UserError: the folder does not hold this tower, or tensors are missing or unused.
    """
    checkpoint, layout = families.vision_layout(folder)
    check_spec(checkpoint, layout, spec, key)
    if image_size % spec.patch_size:
        raise UserError(
            f"{key}.patch_size={spec.patch_size} of {folder} does not divide images of "
            f"{image_size} pixels"
        )
    raw = read(checkpoint, layout, ignore)
    if "patch/kernel" in raw and (channels := raw["patch/kernel"].shape[1]) not in (1, 3):
        raise UserError(f"{checkpoint.path} sees {channels} channels: only 1 or 3 are known")
    arrays = folded(layout, raw)
    if "position" in arrays:
        side = image_size // spec.patch_size
        arrays["position"] = _resized(checkpoint, arrays["position"], side)
    tower = functools.partial(ViT, _shallow(spec), image_size, 1)
    _check_shapes(checkpoint, arrays, _shapes(tower, spec.depth))
    return arrays


def load_text(
    folder: epath.PathLike,
    spec: TextSpec,
    vocab_size: int,
    max_length: int,
    ignore: Sequence[str] = (),
    key: str = "config.model.text_tower",
) -> Arrays:
    """Parameters of a `TextTower`, by their names in the tower.

    Args:
        folder: local, with config.json (or open_clip_config.json) and safetensors.
        spec: what the recipe's tower is made of; `frozen_layers` may be any.
        vocab_size: tokens of the tokenizer.
        max_length: tokens of the longest caption.
        ignore: regular expressions of the file's names that may stay unused or be missing; what is
            missing is left out of the result.
        key: of `spec` in the recipe, for messages.

    Returns:
        float32 arrays.

    Raises:
        UserError: the folder does not hold this tower, tensors are missing or unused, or its
            vocabulary or captions are shorter.
    """
    checkpoint, layout = families.text_layout(folder)
    check_spec(checkpoint, layout, spec, key)
    arrays = folded(layout, read(checkpoint, layout, ignore))
    limits = {
        "token/embedding": (vocab_size, "tokens; the tokenizer has"),
        "position": (max_length, "positions; the longest caption has"),
    }
    for name, (rows, what) in limits.items():
        if name not in arrays:
            continue
        if len(arrays[name]) < rows:
            raise UserError(f"{checkpoint.path} knows {len(arrays[name])} {what} {rows}")
        arrays[name] = arrays[name][:rows]
    tower = functools.partial(TextTower, _shallow(spec), vocab_size, max_length)
    _check_shapes(checkpoint, arrays, _shapes(tower, spec.depth))
    return arrays


def check_spec(folder: CheckpointFolder, layout: Layout, spec: TransformerSpec, key: str) -> None:
    """Stop where a tower is not made as the one in the folder.

    Raises:
        UserError: names each key with both values.
    """
    given, wanted = dataclasses.asdict(spec), dataclasses.asdict(layout.spec)
    # 0 stands for four times the width.
    given["mlp_width"], wanted["mlp_width"] = spec.hidden, layout.spec.hidden
    differing = [
        f"{key}.{name}={given[name]} but {folder.path} has {wanted[name]}"
        for name in wanted
        if name not in ("frozen_layers", *layout.free) and not _equal(given[name], wanted[name])
    ]
    if differing:
        raise UserError("; ".join(differing))


def read(folder: CheckpointFolder, layout: Layout, ignore: Sequence[str] = ()) -> Arrays:
    """What the rules of a tower find in a folder, before it is folded.

    Raises:
        UserError: tensors are missing or unused.
    """
    depth = layout.spec.depth
    needed = {name for rule in layout.rules for name in rule.names(depth)}
    present = folder.shapes.keys()

    def ignored(name: str) -> bool:
        return any(re.search(pattern, name) for pattern in ignore)

    missing = sorted(name for name in needed - present if not ignored(name))
    if missing:
        raise UserError(_listed(folder, missing, "misses", "it may start at random"))
    unused = sorted(
        name
        for name in present - needed
        if not re.fullmatch(layout.unused, name) and not ignored(name)
    )
    if unused:
        raise UserError(_listed(folder, unused, "holds", "no part of the tower needs them"))
    tensors = folder.read(needed & present)
    return {
        rule.ours: rule.read(tensors, depth)
        for rule in layout.rules
        if all(name in tensors for name in rule.names(depth))
    }


def folded(layout: Layout, arrays: Arrays) -> Arrays:
    """The parameters of ours that `read` arrays make up."""
    arrays = dict(arrays)
    for fold in layout.folds:
        if all(name in arrays for name in fold.inputs):
            fold.fold(arrays)
        else:
            for name in fold.inputs:
                arrays.pop(name, None)
    return arrays


def _listed(folder: CheckpointFolder, names: list[str], verb: str, why: str) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{folder.path} {verb} {shown}{more}: if {why}, name it in config.pretrained.ignore"


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6)
    return a == b


def _resized(folder: CheckpointFolder, position_PxD: np.ndarray, side: int) -> np.ndarray:
    """Positions of a square of patches for one of another side."""
    rows, width = position_PxD.shape
    old = math.isqrt(rows)
    if old**2 != rows:
        raise UserError(f"{folder.path}: positions of {rows} patches are no square")
    if old == side:
        return position_PxD
    square = position_PxD.reshape(old, old, width)
    resized = jax.image.resize(square, (side, side, width), "bicubic")
    return np.asarray(resized).reshape(-1, width)


def _shallow(spec: Any) -> Any:
    # Layers are equal: one of them tells the shapes of all.
    return dataclasses.replace(spec, depth=1, frozen_layers=0)


def _shapes(tower: Any, depth: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters of a tower, which is given with one layer."""

    def make() -> parameters.Parameters:
        return parameters.split(tower(execution=Execution(), rngs=nnx.Rngs(0)))[1]

    return {
        name: (depth, *array.shape[1:]) if name.startswith("blocks/layers/") else array.shape
        for name, array in jax.eval_shape(make).items()
        if name != KIND
    }


def _check_shapes(
    folder: CheckpointFolder, arrays: Arrays, shapes: dict[str, tuple[int, ...]]
) -> None:
    for name, array in arrays.items():
        if array.shape != shapes[name]:
            raise UserError(
                f"{folder.path}: its tensors give {name} of shape {array.shape}, where its config "
                f"says {shapes[name]}"
            )
