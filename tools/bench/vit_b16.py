"""ViT-B/16 at 224 pixels, three crops, 64 tokens, bfloat16: what GPUs are measured by.

--config=tools/bench/vit_b16.py has ViT-B/16 for films and crops, as wristmir_biomedclip has;
--config=tools/bench/vit_b16.py:vit_s16 has ViT-S/16 for crops, as wristmir_vit_b16 has.
"""

import ml_collections

from wristmir_jax.learning import config as configs

_CROPS = {"vit_b16": (16, 768, 12, 12), "vit_s16": (16, 384, 12, 6)}


def get_config(crops: str = "vit_b16") -> ml_collections.ConfigDict:
    if crops not in _CROPS:
        raise ValueError(f"no encoder of crops {crops}: expected one of {', '.join(_CROPS)}")
    config = configs.base()
    # Beside PyTorch's step, which takes more than 88 GiB for as many, 256.
    config.batch_size = 384
    config.model.dtype = "bfloat16"
    config.model.embedding_dim = 512
    config.model.global_tower = configs.vit(16, 768, 12, 12)
    config.model.local_tower = configs.vit(*_CROPS[crops])
    config.model.text_tower = configs.text(512, 8, 8)
    config.model.global_text_length = 64
    config.model.region_text_length = 64
    config.tokenizer.vocab_size = 8192
    return config
