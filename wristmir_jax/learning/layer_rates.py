"""How fast each layer of a tower learns, relative to the heads."""

import ml_collections
import numpy as np

TOWERS = ("global_tower", "local_tower", "text_tower")


def differ(config: ml_collections.ConfigDict) -> bool:
    """Whether any parameter learns at another rate than the rest."""
    frozen = any(config.model[tower].get("frozen_layers", 0) for tower in TOWERS)
    return frozen or config.optimizer.layer_decay != 1


def of(name: str, ndim: int, config: ml_collections.ConfigDict) -> np.ndarray | np.float32:
    """What the learning rate of a parameter is multiplied by.

    The blocks of a tower of depth n learn at `layer_decay` ** (n - i), i = 0 for the first, what
    lies below them at layer_decay ** (n + 1), and everything behind them at 1 (Clark et al. 2020,
    arXiv 2003.10555; Bao et al. 2022, arXiv 2106.08254). Frozen layers, and what lies below them,
    learn at 0: neither gradient nor weight decay moves them. What tells a tower the kind of its
    input is no part of pretrained weights and learns at 1.

    Args:
        name: of the parameter.
        ndim: its axes.
        config: of the run.

    Returns:
        float32, to be broadcast to the parameter: () or (depth, 1, ...).
    """
    tower, _, inside = name.partition("/")
    if tower not in TOWERS or "depth" not in config.model[tower]:
        return np.float32(1)
    depth, frozen = config.model[tower].depth, config.model[tower].get("frozen_layers", 0)
    decay = config.optimizer.layer_decay
    if inside.startswith("blocks/layers/"):
        layer = np.arange(depth)
        rate = np.where(layer < frozen, 0.0, decay ** (depth - layer))
        return rate.astype(np.float32).reshape(depth, *[1] * (ndim - 1))
    if inside.startswith(("patch/", "position", "prefix", "token/", "input_norm/")):
        return np.float32(0 if frozen else decay ** (depth + 1))
    return np.float32(1)
