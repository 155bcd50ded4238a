"""Reports and radiographs of a team's own: ViT towers on one accelerator or a pod.

Data: python -m wristmir_jax.prepare --source=folder --input=MANIFEST --output=DIR
      --image_size=224 --crop_size=128
"""

import ml_collections

from wristmir_jax.learning import config as configs


def get_config() -> ml_collections.ConfigDict:
    config = configs.base()
    config.dataset = "runs/wristmir/dataset"
    config.total_steps = 50_000
    config.batch_size = 1024
    config.checkpoint_every_steps = 1000
    config.log_every_steps = 50
    config.loader.num_workers = 8
    config.model.dtype = "bfloat16"
    config.model.embedding_dim = 512
    config.model.global_tower = configs.vit(16, 768, 12, 12)
    config.model.local_tower = configs.vit(16, 384, 12, 6)
    config.model.text_tower = configs.text(512, 8, 8)
    config.optimizer.learning_rate = 5e-4
    config.optimizer.warmup_steps = 2000
    config.optimizer.weight_decay = 0.1
    config.optimizer.ema_decay = 0.9995
    return config
