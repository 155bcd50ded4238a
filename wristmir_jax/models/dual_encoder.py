"""The dual encoder: a global and a local image tower, trained jointly with one text tower."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from flax import nnx

from wristmir_jax.models.layers import unit_length
from wristmir_jax.models.text import TextTower
from wristmir_jax.models.vision import ConvTower, ViT

# The text tower projects once for whole films and once for regions.
GLOBAL_LEVEL, REGION_LEVEL = 0, 1


class DualEncoder(nnx.Module):
    """Global tower, local tower shared by the regions, text tower, all into unit vectors.

    Args:
        config: `config.model`; see learning/config.py for its keys.
        image_size, crop_size: pixels of the square films and crops.
        num_regions: R, may be 0.
        vocab_size: of the tokenizer.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        *,
        image_size: int,
        crop_size: int,
        num_regions: int,
        vocab_size: int,
        rngs: nnx.Rngs,
    ):
        dtype = jnp.dtype(config.dtype)
        self.dtype = dtype
        self.global_tower = _vision_tower(config.global_tower, image_size, 1, dtype, rngs)
        # A data set without regions still has a local tower, of one kind that it never sees.
        self.local_tower = _vision_tower(
            config.local_tower, crop_size, max(num_regions, 1), dtype, rngs
        )
        text = config.text_tower
        self.text_tower = TextTower(
            vocab_size=vocab_size,
            max_length=max(config.global_text_length, config.region_text_length),
            width=text.width,
            depth=text.depth,
            num_heads=text.num_heads,
            dtype=dtype,
            rngs=rngs,
        )

        self.global_projection = nnx.Linear(
            self.global_tower.out_features, config.embedding_dim, dtype=dtype, rngs=rngs
        )
        self.local_projection = nnx.Linear(
            self.local_tower.out_features, config.embedding_dim, dtype=dtype, rngs=rngs
        )
        self.text_projections = nnx.List(
            [
                nnx.Linear(text.width, config.embedding_dim, dtype=dtype, rngs=rngs)
                for _ in (GLOBAL_LEVEL, REGION_LEVEL)
            ]
        )
        self.log_scale = nnx.Param(jnp.full((2,), jnp.log(config.initial_scale), jnp.float32))

    def encode_global(self, image_BxHxW: jax.Array) -> jax.Array:
        """Unit vectors float32 (B, D) of films with pixels in [0, 1]."""
        return unit_length(self.project_global(image_BxHxW))

    def encode_regions(self, crop_BxRxHxW: jax.Array) -> jax.Array:
        """Unit vectors float32 (B, R, D) of crops, all regions in one call of the local tower."""
        return unit_length(self.project_regions(crop_BxRxHxW))

    def encode_text(self, token_TxL: jax.Array, level: int) -> jax.Array:
        """Unit vectors float32 (T, D) of token ids, for `GLOBAL_LEVEL` or `REGION_LEVEL`."""
        return unit_length(self.project_text(token_TxL, level))

    def project_global(self, image_BxHxW: jax.Array) -> jax.Array:
        """`encode_global` before normalisation."""
        kind_B = jnp.zeros(image_BxHxW.shape[0], jnp.int32)
        return self.global_projection(self.global_tower(self._normalise(image_BxHxW), kind_B))

    def project_regions(self, crop_BxRxHxW: jax.Array) -> jax.Array:
        """`encode_regions` before normalisation."""
        B, R, H, W = crop_BxRxHxW.shape
        kind_N = jnp.tile(jnp.arange(R, dtype=jnp.int32), B)
        features = self.local_tower(self._normalise(crop_BxRxHxW.reshape(B * R, H, W)), kind_N)
        return self.local_projection(features).reshape(B, R, -1)

    def project_text(self, token_TxL: jax.Array, level: int) -> jax.Array:
        """`encode_text` before normalisation."""
        return self.text_projections[level](self.text_tower(token_TxL))

    def _normalise(self, pixels: jax.Array) -> jax.Array:
        return ((pixels - 0.5) / 0.25).astype(self.dtype)


def _vision_tower(
    config: ml_collections.ConfigDict,
    image_size: int,
    num_kinds: int,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
) -> Any:
    if config.kind == "vit":
        return ViT(
            image_size=image_size,
            patch_size=config.patch_size,
            width=config.width,
            depth=config.depth,
            num_heads=config.num_heads,
            num_kinds=num_kinds,
            dtype=dtype,
            rngs=rngs,
        )
    return ConvTower(
        stem_stride=config.stem_stride,
        widths=tuple(config.widths),
        blocks_per_stage=config.blocks_per_stage,
        num_kinds=num_kinds,
        dtype=dtype,
        rngs=rngs,
    )
