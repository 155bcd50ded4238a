"""A pretrained tower and a team's few thousand exams, on one GPU in an evening.

BiomedCLIP's towers (see wristmir_biomedclip.py for the folders) with the lower half frozen, higher
layers learning faster, and an end when validation recall has stopped to rise.
"""

import ml_collections

from configs import wristmir_biomedclip


def get_config() -> ml_collections.ConfigDict:
    config = wristmir_biomedclip.get_config()
    config.total_steps = 5000
    config.batch_size = 256
    config.micro_batches = 1
    config.checkpoint_every_steps = 100
    config.log_every_steps = 10
    config.loader.num_workers = 4
    config.loss.tile = 0
    config.model.remat = "dots"
    for tower in ("global_tower", "local_tower", "text_tower"):
        config.model[tower].frozen_layers = 6
    config.validation.max_records = 2000
    config.validation.patience = 10
    config.optimizer.learning_rate = 3e-4
    config.optimizer.layer_decay = 0.75
    config.optimizer.warmup_steps = 100
    config.optimizer.ema_decay = 0.99
    return config
