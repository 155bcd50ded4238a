"""A recipe that trains in seconds: the real config, shrunk."""

import ml_collections

from tests.learning.tiny import tiny_config


def get_config() -> ml_collections.ConfigDict:
    config = tiny_config()
    config.total_steps = 12
    config.batch_size = 8
    config.checkpoint_every_steps = 3
    config.log_every_steps = 1
    config.loader.text_capacities = (1.0,)
    config.model.global_text_length = 48
    config.model.region_text_length = 24
    config.tokenizer.vocab_size = 400
    return config
