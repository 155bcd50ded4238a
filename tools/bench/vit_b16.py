"""ViT-B/16 at 224 pixels, three crops, 64 tokens, bfloat16: what GPUs are measured by."""

import ml_collections

from wristmir_jax.learning import config as configs


def get_config() -> ml_collections.ConfigDict:
    config = configs.base()
    config.batch_size = 256
    config.model.dtype = "bfloat16"
    config.model.embedding_dim = 512
    config.model.global_tower = configs.vit(16, 768, 12, 12)
    config.model.local_tower = configs.vit(16, 384, 12, 6)
    config.model.text_tower = configs.text(512, 8, 8)
    config.model.global_text_length = 64
    config.model.region_text_length = 64
    config.tokenizer.vocab_size = 8192
    return config
