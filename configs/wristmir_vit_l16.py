"""As wristmir_vit_b16.py with ViT-L/16 for films and ViT-B/16 for crops; parameters are split."""

import ml_collections

from configs import wristmir_vit_b16
from wristmir_jax.learning import config as configs


def get_config() -> ml_collections.ConfigDict:
    config = wristmir_vit_b16.get_config()
    config.micro_batches = 16
    config.mesh.fsdp = 4
    config.model.remat = "full"
    config.model.global_tower = configs.vit(16, 1024, 24, 16)
    config.model.local_tower = configs.vit(16, 768, 12, 12)
    config.optimizer.learning_rate = 5e-4
    return config
