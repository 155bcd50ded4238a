"""From MedSigLIP (448 pixels, SO400M): its image tower for films and for crops, and its text tower.

    --config.pretrained.global_tower=DIR --config.pretrained.local_tower=DIR
    --config.pretrained.text_tower=DIR, with DIR a local copy of google/medsiglip-448

Data: prepare with --image_size=448 --crop_size=224
"""

from typing import Any

import ml_collections

from configs import wristmir_vit_b16
from wristmir_jax.learning import config as configs

_SO400M: dict[str, Any] = {"mlp_width": 4304, "activation": "gelu_tanh", "epsilon": 1e-6}


def get_config() -> ml_collections.ConfigDict:
    config = wristmir_vit_b16.get_config()
    config.micro_batches = 32
    config.mesh.fsdp = 8
    config.model.remat = "full"
    for tower in ("global_tower", "local_tower"):
        config.model[tower] = configs.vit(14, 1152, 27, 16, pooling="attention", **_SO400M)
    config.model.text_tower = configs.text(
        1152,
        27,
        16,
        pooling="last",
        pad_id=1,
        sees_padding=True,
        projection=(1152,),
        projection_bias=True,
        **_SO400M,
    )
    # Its text tower looks at the padding, so all captions have the length that it was trained with.
    config.model.global_text_length = 64
    config.model.region_text_length = 64
    config.optimizer.learning_rate = 1e-4
    config.optimizer.layer_decay = 0.9
    return config
