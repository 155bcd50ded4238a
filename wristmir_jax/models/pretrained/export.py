"""Towers of ours into the layout of others, which their libraries load."""

import copy
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from safetensors.numpy import save_file

from wristmir_jax.errors import UserError
from wristmir_jax.folders import write_aside
from wristmir_jax.models.pretrained import families
from wristmir_jax.models.pretrained.folder import CheckpointFolder
from wristmir_jax.models.pretrained.layout import Layout
from wristmir_jax.models.pretrained.loading import KIND, check_spec, folded, read
from wristmir_jax.models.pretrained.rules import Arrays
from wristmir_jax.models.specs import TextSpec, VisionSpec

# Tokenizer, preprocessing and the like, but neither weights nor their index.
_COPIED = (".json", ".txt", ".model")


def export_vision(
    parameters: Mapping[str, np.ndarray],
    spec: VisionSpec,
    like_folder: epath.PathLike,
    output: epath.PathLike,
    kind: int = 0,
    ignore: Sequence[str] = (),
    key: str = "config.model.global_tower",
) -> None:
    """Write an image tower as a copy of `like_folder` with its weights replaced.

    Read by the library that `like_folder` is of, it gives our features of images whose channels are
    equal. What is no part of the tower, such as a classifier, is that of `like_folder`.

    Args:
        parameters: of a `ViT`, by their names in the tower.
        spec: what it is made of.
        like_folder: a checkpoint of the same architecture; images may be of another size.
        output: the new folder.
        kind: of the images that it will see, where the tower is told which.
        ignore: regular expressions of names in `like_folder` that are kept though not known.
        key: of `spec` in the recipe, for messages.

    Raises:
        UserError: the architectures differ, or there is something in `output`.
    """
    like, layout = families.vision_layout(like_folder)
    check_spec(like, layout, spec, key)
    ours = {name: np.asarray(value, np.float32) for name, value in parameters.items()}
    kinds = ours.pop(KIND, np.zeros((1, spec.width), np.float32))
    ours["position"] = ours["position"] + kinds[kind]
    like_arrays = _complete(like, layout, ignore)
    old_rows = len(folded(layout, like_arrays)["position"])
    config = copy.deepcopy(like.config)
    if len(ours["position"]) != old_rows:
        image_size = spec.patch_size * round(len(ours["position"]) ** 0.5)
        if layout.resize is None:
            raise UserError(
                f"{like.path}: open_clip builds this tower for one image size, which is not that "
                f"of the run, {image_size} pixels"
            )
        layout.resize(config, image_size)
    _write(like, layout, ours, like_arrays, config, output)


def export_text(
    parameters: Mapping[str, np.ndarray],
    spec: TextSpec,
    like_folder: epath.PathLike,
    output: epath.PathLike,
    ignore: Sequence[str] = (),
    key: str = "config.model.text_tower",
) -> None:
    """Write a text tower as a copy of `like_folder` with its weights replaced.

    Tokens and positions beyond those of the tower are those of `like_folder`.

    Args:
        parameters: of a `TextTower`, by their names in the tower.
        spec: what it is made of.
        like_folder: a checkpoint of the same architecture.
        output: the new folder.
        ignore: regular expressions of names in `like_folder` that are kept though not known.
        key: of `spec` in the recipe, for messages.

    Raises:
        UserError: the architectures differ, or there is something in `output`.
    """
    like, layout = families.text_layout(like_folder)
    check_spec(like, layout, spec, key)
    ours = {name: np.asarray(value, np.float32) for name, value in parameters.items()}
    like_arrays = _complete(like, layout, ignore)
    like_folded = folded(layout, like_arrays)
    for name in ("token/embedding", "position"):
        if len(ours[name]) > len(like_folded[name]):
            raise UserError(
                f"{like.path} has {len(like_folded[name])} rows of {name}, the tower "
                f"{len(ours[name])}: take the checkpoint that the run started from"
            )
        ours[name] = np.concatenate([ours[name], like_folded[name][len(ours[name]) :]])
    _write(like, layout, ours, like_arrays, copy.deepcopy(like.config), output)


def _complete(like: CheckpointFolder, layout: Layout, ignore: Sequence[str]) -> Arrays:
    arrays = read(like, layout, ignore)
    if missing := [rule.theirs[0] for rule in layout.rules if rule.ours not in arrays]:
        raise UserError(f"{like.path} misses {missing[0]}: take a complete checkpoint for --like")
    return arrays


def _write(
    like: CheckpointFolder,
    layout: Layout,
    ours: Arrays,
    like_arrays: Arrays,
    config: dict[str, Any],
    output: epath.PathLike,
) -> None:
    output = epath.Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} is not empty: choose another output folder")
    for fold in reversed(layout.folds):
        fold.unfold(ours, like_arrays)
    tensors = like.read(like.shapes)
    for rule in layout.rules:
        tensors |= rule.write(ours[rule.ours], layout.spec.depth)
    for part in (config, config.get("vision_config") or {}, config.get("text_config") or {}):
        part.update(dict.fromkeys({"dtype", "torch_dtype"} & part.keys(), "float32"))
    with write_aside(output, like.weights_file) as aside:
        for path in (*like.path.glob("*"), *like.path.glob("[!.]*/*")):
            if path.suffix in _COPIED and not path.name.endswith(".index.json"):
                target = aside / path.relative_to(like.path)
                target.parent.mkdir(exist_ok=True)
                path.copy(target)
        (aside / like.config_file).write_text(json.dumps(config, indent=2) + "\n")
        save_file(tensors, os.fspath(aside / like.weights_file), metadata={"format": "pt"})
