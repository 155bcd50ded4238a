"""A team's own exams on a pod: ViT-B/16 for films, ViT-S/16 for crops, from scratch.

Data: python -m wristmir_jax.prepare --source=folder --input=MANIFEST --output=DIR
      --image_size=224 --crop_size=128
What it takes: python -m wristmir_jax.train --config=configs/wristmir_vit_b16.py --dry_run
      --topology=v5e:8x8; BUILD_NOTES.md has memory and exams/s to expect.
"""

import ml_collections

from wristmir_jax.learning import config as configs


def get_config() -> ml_collections.ConfigDict:
    config = configs.base()
    config.dataset = "runs/wristmir/dataset"
    config.total_steps = 20_000
    config.batch_size = 16_384
    config.micro_batches = 8
    config.checkpoint_every_steps = 500
    config.log_every_steps = 20
    config.loader.num_workers = 16
    config.model.dtype = "bfloat16"
    config.model.embedding_dim = 512
    config.model.global_tower = configs.vit(16, 768, 12, 12)
    config.model.local_tower = configs.vit(16, 384, 12, 6)
    config.model.text_tower = configs.text(512, 8, 8)
    config.model.global_text_length = 64
    config.model.region_text_length = 32
    config.loss.tile = 256
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 1000
    config.optimizer.weight_decay = 0.1
    config.optimizer.ema_decay = 0.999
    return config
