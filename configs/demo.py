"""The demo: phantoms, towers small enough to train in minutes on two CPU cores."""

import ml_collections

from wristmir_jax.learning import config as configs


def get_config() -> ml_collections.ConfigDict:
    config = configs.base()
    config.dataset = "runs/demo/dataset"
    config.total_steps = 700
    config.batch_size = 64
    config.checkpoint_every_steps = 100
    config.log_every_steps = 10
    # Films as often as they occur: recall over all of them follows how common a caption is.
    config.loader.balance = 0.0
    config.loader.text_capacities = (0.5, 0.75, 1.0)
    config.model.embedding_dim = 96
    config.model.global_tower = configs.convolutional(4, (24, 64, 128), 1)
    config.model.local_tower = configs.convolutional(4, (24, 48, 96), 1)
    config.model.text_tower = configs.text(64, 2, 2)
    config.model.global_text_length = 64
    config.model.region_text_length = 32
    config.loss.global_weight = 2.0
    # Phantoms are already posed and exposed at random; a few minutes leave no room for more of it.
    config.augment.rotation_degrees = 5.0
    config.augment.scale = 0.05
    config.augment.shift = 0.02
    config.augment.gamma = 0.1
    config.augment.contrast = 0.1
    config.augment.brightness = 0.05
    config.augment.noise = 0.0
    config.optimizer.learning_rate = 3e-3
    config.optimizer.warmup_steps = 20
    config.optimizer.ema_decay = 0.98
    return config
