"""A local folder with a model's config and its weights in safetensors.

Weights in pickled files (`pytorch_model.bin`) are refused: reading a pickle runs what is in it.
Convert them once, with PyTorch, in the folder:

    import torch
    from safetensors.torch import save_file

    tensors = torch.load("pytorch_model.bin", map_location="cpu", weights_only=True)
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, "model.safetensors",
              metadata={"format": "pt"})

where the files of open_clip are `open_clip_pytorch_model.bin` and `open_clip_model.safetensors`.
"""

import collections
import dataclasses
import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from absl import logging
from etils import epath
from safetensors import SafetensorError, safe_open

from wristmir_jax.errors import UserError

CONFIG_FILE, OPEN_CLIP_CONFIG_FILE = "config.json", "open_clip_config.json"
_WEIGHTS = {
    CONFIG_FILE: "model.safetensors",
    OPEN_CLIP_CONFIG_FILE: "open_clip_model.safetensors",
}
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")

# BERT's files that were converted from TensorFlow use these names.
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


@dataclasses.dataclass(frozen=True)
class CheckpointFolder:
    """What lies in a folder; tensors are read when they are asked for.

    Attributes:
        path: of the folder.
        config_file: config.json or open_clip_config.json.
        weights_file: as which weights are written.
        config: content of `config_file`.
        shapes: of the tensors, by name.
    """

    path: epath.Path
    config_file: str
    weights_file: str
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    _places: dict[str, tuple[str, str]]

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Tensors as float32, whatever the file's precision; integers stay integers."""
        by_file = collections.defaultdict(list)
        for name in names:
            file, stored_name = self._places[name]
            by_file[file].append((name, stored_name))
        tensors = {}
        for file, entries in by_file.items():
            with safe_open(os.fspath(self.path / file), framework="np") as tensors_of:
                for name, stored_name in entries:
                    tensor = tensors_of.get_tensor(stored_name)
                    whole = tensor.dtype.kind in "iub"
                    tensors[name] = tensor if whole else tensor.astype(np.float32)
        return tensors

    def read_json(self, name: str) -> dict[str, Any]:
        """Another file of the folder; empty where there is none."""
        path = self.path / name
        return _read_json(path) if path.exists() else {}

    def pixel_statistics(
        self, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation by channel that pixels in [0, 1] are standardised with.

        Args:
            mean, std: of the family, where the folder has no preprocessor_config.json.
        """
        given = self.read_json("preprocessor_config.json")
        if not given:
            logging.info(
                "%s has no preprocessor_config.json: mean %s, std %s", self.path, mean, std
            )
        elif not given.get("do_normalize", True):
            mean, std = (0.0,) * len(mean), (1.0,) * len(std)
        mean, std = given.get("image_mean", mean), given.get("image_std", std)
        return np.asarray(mean, np.float32), np.asarray(std, np.float32)


def open_folder(path: epath.PathLike) -> CheckpointFolder:
    """Read the config and the names in a folder.

    Raises:
        UserError: no folder, no config, no weights in safetensors, or files that are damaged.
    """
    path = epath.Path(path)
    if not path.is_dir():
        raise UserError(f"{path} is no folder: give a local one with {CONFIG_FILE} and weights")
    configs = [name for name in _WEIGHTS if (path / name).exists()]
    if not configs:
        raise UserError(f"{path} holds neither {CONFIG_FILE} nor {OPEN_CLIP_CONFIG_FILE}")
    for config_file in configs:
        weights_file = _WEIGHTS[config_file]
        index_file = path / f"{weights_file}.index.json"
        if index_file.exists():
            files = sorted(set(_read_json(index_file).get("weight_map", {}).values()))
        elif (path / weights_file).exists():
            files = [weights_file]
        else:
            continue
        shapes, places = _tensors(path, files)
        config = _read_json(path / config_file)
        return CheckpointFolder(path, config_file, weights_file, config, shapes, places)
    wanted = _WEIGHTS[configs[0]]
    if pickled := sorted(file.name for pattern in _PICKLED for file in path.glob(pattern)):
        raise UserError(
            f"{path / pickled[0]} is a pickle, which is not read: convert it to {wanted} with "
            "torch.load(..., weights_only=True) and safetensors.torch.save_file, as "
            "wristmir_jax/models/pretrained/folder.py shows"
        )
    raise UserError(f"{path} holds no {wanted}: download the weights in safetensors")


def _tensors(
    path: epath.Path, files: list[str]
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[str, str]]]:
    shapes, places = {}, {}
    for file in files:
        if not (path / file).exists():
            raise UserError(f"{path / file} is missing: the index names it")
        try:
            with safe_open(os.fspath(path / file), framework="np") as tensors:
                for stored_name in tensors.keys():  # noqa: SIM118 (it is no mapping)
                    name = stored_name
                    for old, new in _OLD_NAMES.items():
                        name = name.removesuffix(old) + new if name.endswith(old) else name
                    shapes[name] = tuple(tensors.get_slice(stored_name).get_shape())
                    places[name] = (file, stored_name)
        except SafetensorError as error:
            raise UserError(f"{path / file} is damaged: {error}; download it again") from None
    return shapes, places


def _read_json(path: epath.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is no JSON object")
    return content
