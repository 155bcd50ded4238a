"""The demo: phantoms, towers small enough to train in minutes on two CPU cores."""

import ml_collections

from wristmir_jax.learning import config as configs


def get_config() -> ml_collections.ConfigDict:
    config = configs.base()
    config.dataset = "runs/demo/dataset"
    config.total_steps = 500
    config.batch_size = 64
    config.checkpoint_every_steps = 100
    config.log_every_steps = 10
    config.model.embedding_dim = 96
    config.model.global_tower = configs.convolutional(4, (32, 64, 96, 128), 1)
    config.model.local_tower = configs.convolutional(4, (48, 96, 160), 1)
    config.model.text_tower = dict(width=64, depth=2, num_heads=2)
    config.model.global_text_length = 96
    config.model.region_text_length = 32
    return config
