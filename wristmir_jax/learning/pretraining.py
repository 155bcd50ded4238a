"""Towers that a run starts from, where its config names folders of them."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from wristmir_jax.learning.config import TOWERS
from wristmir_jax.learning.dry_run import Shapes
from wristmir_jax.learning.messages import tell
from wristmir_jax.learning.state import TrainState
from wristmir_jax.models.pretrained.loading import load_text, load_vision
from wristmir_jax.models.specs import TextSpec, VisionSpec

Arrays = dict[str, np.ndarray]


def load_pretrained(config: ml_collections.ConfigDict, shapes: Shapes) -> Arrays:
    """Parameters of the towers that `config.pretrained` names, by their names in the model.

    Args:
        config: of the run.
        shapes: of its data set and tokenizer.

    Returns:
        float32 arrays; none where no folder is named.

    Raises:
        UserError: a folder does not hold the tower that the config describes.
    """
    loaded: Arrays = {}
    for tower in TOWERS:
        folder = config.pretrained[tower]
        if not folder:
            continue
        arrays = _load(tower, folder, config, shapes)
        loaded |= {f"{tower}/{name}": array for name, array in arrays.items()}
        tell(f"{tower} starts from {folder}: {sum(a.size for a in arrays.values()):,} parameters")
    return loaded


def _load(tower: str, folder: str, config: ml_collections.ConfigDict, shapes: Shapes) -> Arrays:
    keys, ignore = config.model[tower], tuple(config.pretrained.ignore)
    key = f"config.model.{tower}"
    if tower == "text_tower":
        length = max(config.model.global_text_length, config.model.region_text_length)
        return load_text(folder, TextSpec.of(keys), shapes.vocab_size, length, ignore, key)
    size = shapes.image_size if tower == "global_tower" else shapes.crop_size
    return load_vision(folder, VisionSpec.of(keys), size, ignore, key)


def with_pretrained(state: TrainState, loaded: Arrays) -> TrainState:
    """The state of a new run whose parameters are replaced by those that were loaded.

    Args:
        state: of a new run, on the devices.
        loaded: of `load_pretrained`; every process has all of it.
    """
    if not loaded:
        return state
    placed = {name: _like(state.parameters[name], array) for name, array in loaded.items()}
    parameters = state.parameters | placed
    average = state.average | {name: jnp.copy(array) for name, array in placed.items()}
    return state.replace(parameters=parameters, average=average)  # pyright: ignore[reportAttributeAccessIssue]


def _like(value: jax.Array, array: np.ndarray) -> jax.Array:
    array = array.astype(value.dtype)
    return jax.make_array_from_callback(value.shape, value.sharding, lambda index: array[index])
