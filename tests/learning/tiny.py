"""A tiny model and random batches, for tests that need shapes and not sense."""

import ml_collections
import numpy as np

from wristmir_jax.learning import config as configs

SHAPES = {"image_size": 32, "crop_size": 16, "num_regions": 3, "vocab_size": 50}


def tiny_config() -> ml_collections.ConfigDict:
    config = configs.base()
    config.dataset = "unused"
    config.total_steps = 4
    config.batch_size = 8
    config.model.embedding_dim = 16
    config.model.global_tower = configs.vit(8, 32, 1, 2)
    config.model.local_tower = configs.convolutional(2, (16, 24), 1)
    config.model.text_tower = configs.text(32, 1, 2)
    config.model.global_text_length = 12
    config.model.region_text_length = 8
    return config


def random_batch(
    batch_size: int, seed: int = 0, num_regions: int = 3, num_shards: int = 1
) -> dict[str, np.ndarray]:
    """The same records for 1 and for 8 shards: captions lie in the eighth of their record."""
    rng = np.random.default_rng(seed)
    B, R = batch_size, num_regions
    tokens = {"global": (B, 12), "region": (B * R, 8)}
    batch = {
        "image": rng.integers(0, 255, (B, 32, 32), dtype=np.uint8),
        "crops": rng.integers(0, 255, (B, R, 16, 16), dtype=np.uint8),
        "mirrored": rng.random(B) < 0.5,
        "region_status": rng.integers(0, 4, (B, R)).astype(np.uint8),
        "global_group": rng.integers(0, 3, (B, 1)).astype(np.int32).repeat(2, 1),
        "region_group": rng.integers(0, 3, (B, R, 1)).astype(np.int32).repeat(2, 2),
    }
    eighth_B = np.arange(B) // (B // 8)
    for level, shape in tokens.items():
        rows = shape[0] // 8
        lowest = -1 if level == "region" else 0
        index = rng.integers(lowest, max(rows, 1), (B, R) if level == "region" else B)
        if num_shards == 1:
            first_row = (eighth_B * rows).reshape(B, *[1] * (index.ndim - 1))
            index = np.where(index >= 0, index + first_row, -1)
        batch[f"{level}_text_index"] = index.astype(np.int32)
        batch[f"{level}_token"] = rng.integers(1, 50, shape).astype(np.int32)
    return batch
