"""FracAtlas: real films of hands, arms, legs, hips and shoulders, without regions.

Data: python -m wristmir_jax.prepare --source=fracatlas --input=DIR --output=runs/fracatlas/dataset
Trains on two CPU cores in under 30 minutes; BUILD_NOTES.md has the measured time and scores.
"""

import ml_collections

from wristmir_jax.learning import config as configs


def get_config() -> ml_collections.ConfigDict:
    config = configs.base()
    config.dataset = "runs/fracatlas/dataset"
    config.total_steps = 1200
    config.batch_size = 64
    config.checkpoint_every_steps = 300
    config.model.embedding_dim = 96
    config.model.global_tower = configs.convolutional(4, (32, 64, 96, 160), 1)
    # There are no crops: the smallest tower there is.
    config.model.local_tower = configs.convolutional(4, (16,), 1)
    config.model.text_tower = configs.text(64, 2, 2)
    config.loader.text_capacities = (1.0,)
    # Films are taken in any pose.
    config.augment.rotation_degrees = 20.0
    config.augment.scale = 0.15
    config.augment.shift = 0.08
    config.optimizer.learning_rate = 2e-3
    return config
