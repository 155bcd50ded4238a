"""From BiomedCLIP: ViT-B/16 for films and for crops, PubMedBERT for captions.

    --config.pretrained.global_tower=DIR --config.pretrained.local_tower=DIR
    --config.pretrained.text_tower=DIR, with DIR a local copy in open_clip layout (safetensors)

Data: prepare with --image_size=224 --crop_size=128
"""

import ml_collections

from configs import wristmir_vit_b16
from wristmir_jax.learning import config as configs


def get_config() -> ml_collections.ConfigDict:
    config = wristmir_vit_b16.get_config()
    config.micro_batches = 16
    for tower in ("global_tower", "local_tower"):
        config.model[tower] = configs.vit(
            16,
            768,
            12,
            12,
            activation="gelu",
            num_prefix_tokens=1,
            pooling="class",
            projection=512,
        )
    config.model.text_tower = configs.text(
        768,
        12,
        12,
        activation="gelu",
        norm_first=False,
        epsilon=1e-12,
        input_norm=True,
        final_norm=False,
        pooling="first",
        projection=(640, 512),
    )
    config.optimizer.learning_rate = 2e-4
    config.optimizer.layer_decay = 0.85
    return config
