"""The localiser that finds the bone regions, trained on phantoms, or further on a team's own boxes:
see docs/localizing.md."""

import ml_collections

from wristmir_jax.learning import config as configs


def get_config() -> ml_collections.ConfigDict:
    config = configs.base()
    config.task = "localizer"
    config.dataset = "data/localizer"
    config.total_steps = 3000
    config.batch_size = 64
    config.checkpoint_every_steps = 250
    config.log_every_steps = 25
    # Films as they come: the localiser knows no findings.
    config.loader.balance = 0.0
    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup_steps = 100
    config.optimizer.weight_decay = 0.02
    config.optimizer.ema_decay = 0.995
    return config
