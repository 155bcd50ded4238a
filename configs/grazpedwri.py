"""GRAZPEDWRI-DX: real pediatric wrists, captions rendered from their AO codes.

Data: python -m wristmir_jax.prepare --source=grazpedwri --input=DIR
      --output=runs/grazpedwri/dataset

    --config=configs/grazpedwri.py        small towers for two CPU cores and a handful of films
    --config=configs/grazpedwri.py:full   ViT towers for the 20,327 films on an accelerator;
                                          prepare with --image_size=224 --crop_size=128
"""

import ml_collections

from wristmir_jax.learning import config as configs


def get_config(size: str = "small") -> ml_collections.ConfigDict:
    if size not in ("small", "full"):
        raise ValueError(f"configs/grazpedwri.py:{size}: choose small or full")
    config = configs.base()
    config.dataset = "runs/grazpedwri/dataset"
    # Films are rotated and off-centre more than phantoms are.
    config.augment.rotation_degrees = 25.0
    config.augment.scale = 0.2
    config.augment.shift = 0.1
    if size == "small":
        # Of a handful of films the captions alone are soon learnt, and all that tells films of
        # equal captions apart is lost.
        config.loss.image_weight = 1.0
        config.augment.scale = 0.35
        config.augment.contrast = 0.4
        config.augment.gamma = 0.5
        config.total_steps = 400
        config.batch_size = 16
        config.checkpoint_every_steps = 100
        config.model.embedding_dim = 256
        config.model.global_tower = configs.convolutional(4, (32, 64, 96, 128), 1)
        config.model.local_tower = configs.convolutional(4, (48, 96, 160), 1)
        config.model.text_tower = configs.text(64, 2, 2)
        config.loader.text_capacities = (1.0,)
        return config
    config.total_steps = 20_000
    config.batch_size = 512
    config.checkpoint_every_steps = 1000
    config.log_every_steps = 50
    config.loader.num_workers = 8
    config.model.dtype = "bfloat16"
    config.model.embedding_dim = 512
    config.model.global_tower = configs.vit(16, 768, 12, 12)
    config.model.local_tower = configs.vit(16, 384, 12, 6)
    config.model.text_tower = configs.text(384, 6, 6)
    config.optimizer.learning_rate = 5e-4
    config.optimizer.warmup_steps = 1000
    config.optimizer.weight_decay = 0.1
    config.optimizer.ema_decay = 0.999
    return config
