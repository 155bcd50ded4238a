"""Vision transformers that two CPU cores can train: ViT-Ti/16 and four text layers."""

import ml_collections

from wristmir_jax.learning import config as configs


def get_config() -> ml_collections.ConfigDict:
    config = configs.base()
    config.batch_size = 32
    config.model.embedding_dim = 128
    config.model.global_tower = configs.vit(16, 192, 12, 3)
    config.model.local_tower = configs.vit(16, 192, 4, 3)
    config.model.text_tower = configs.text(192, 4, 3)
    config.model.global_text_length = 64
    config.model.region_text_length = 32
    config.model.unroll_layers = 12
    return config
