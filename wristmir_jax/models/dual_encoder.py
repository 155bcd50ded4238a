"""The dual encoder: a global and a local image tower, trained jointly with one text tower."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from flax import nnx

from wristmir_jax.models.layers import Standardization, unit_length
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
        has_bias: learn a bias of the logits of each level, for the sigmoid loss.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        *,
        image_size: int,
        crop_size: int,
        num_regions: int,
        vocab_size: int,
        has_bias: bool = False,
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

        self.global_head = _Head(1, self.global_tower.out_features, config, dtype, rngs)
        self.local_head = _Head(
            max(num_regions, 1), self.local_tower.out_features, config, dtype, rngs
        )
        self.text_heads = nnx.List(
            [
                _Head(kinds, text.width, config, dtype, rngs)
                for kinds in (1, max(num_regions, 1))  # GLOBAL_LEVEL, REGION_LEVEL
            ]
        )
        self.log_scale = nnx.Param(jnp.full((2,), jnp.log(config.initial_scale), jnp.float32))
        # At first few pairs of a batch are positive, and the sigmoid of each should say so.
        initial_bias = jnp.full((2,), -config.initial_scale, jnp.float32)
        self.bias = nnx.Param(initial_bias) if has_bias else None

    def global_features(self, image_BxHxW: jax.Array) -> jax.Array:
        """Features (B, F) of films with pixels in [0, 1], before the shared space."""
        kind_B = jnp.zeros(image_BxHxW.shape[0], jnp.int32)
        return self.global_tower(self._normalise(image_BxHxW), kind_B)

    def region_features(self, crop_BxRxHxW: jax.Array) -> jax.Array:
        """Features (B, R, F) of crops, all regions in one call of the local tower."""
        B, R, H, W = crop_BxRxHxW.shape
        kind_N = jnp.tile(jnp.arange(R, dtype=jnp.int32), B)
        features = self.local_tower(self._normalise(crop_BxRxHxW.reshape(B * R, H, W)), kind_N)
        return features.reshape(B, R, features.shape[-1])

    def text_features(self, token_TxL: jax.Array) -> jax.Array:
        """Features (T, F) of token ids int32, before the shared space."""
        return self.text_tower(token_TxL)

    def fit_global(self, features_BxF: jax.Array) -> jax.Array:
        """Unit vectors float32 (B, D), standardised by this batch's statistics, as in training."""
        seen_Bx1 = jnp.ones((len(features_BxF), 1), bool)
        return self.global_head(features_BxF[:, None], seen_Bx1)[:, 0]

    def fit_regions(self, features_BxRxF: jax.Array, seen_BxR: jax.Array) -> jax.Array:
        """Unit vectors float32 (B, R, D), standardised by the statistics of the crops `seen_BxR`,
        as in training."""
        return self.local_head(features_BxRxF, seen_BxR)

    def fit_captions(self, features_TxF: jax.Array, index_BxK: jax.Array, level: int) -> jax.Array:
        """Unit vectors float32 (B, K, D) of the captions of a batch, each of them encoded once.

        Standardised by the batch's statistics, as in training. A caption counts as often as it is
        used, so that the number of processes, which store shared captions twice, changes nothing.

        Args:
            features_TxF: of the distinct captions.
            index_BxK: int32, row of each caption in `features_TxF`, -1 where there is none (its
                vector means nothing); K regions, or 1 at `GLOBAL_LEVEL`.
            level: `GLOBAL_LEVEL` or `REGION_LEVEL`.
        """
        return self.text_heads[level](features_TxF[index_BxK], index_BxK >= 0)

    def encode_global(self, image_BxHxW: jax.Array) -> jax.Array:
        """Unit vectors float32 (B, D) of films with pixels in [0, 1]."""
        return self.global_head(self.global_features(image_BxHxW)[:, None])[:, 0]

    def encode_regions(self, crop_BxRxHxW: jax.Array) -> jax.Array:
        """Unit vectors float32 (B, R, D) of crops with pixels in [0, 1]."""
        return self.local_head(self.region_features(crop_BxRxHxW))

    def encode_text(self, token_TxL: jax.Array, level: int, region: int = 0) -> jax.Array:
        """Unit vectors float32 (T, D) of token ids.

        Args:
            token_TxL: int32.
            level: `GLOBAL_LEVEL` or `REGION_LEVEL`.
            region: position of the region that the captions of `REGION_LEVEL` speak of.
        """
        features_TxF = self.text_features(token_TxL)
        return self.text_heads[level](features_TxF[:, None], first_kind=region)[:, 0]

    def _normalise(self, pixels: jax.Array) -> jax.Array:
        return ((pixels - 0.5) / 0.25).astype(self.dtype)


class _Head(nnx.Module):
    """Pooled features of K kinds -> unit vectors of the shared space."""

    def __init__(
        self,
        num_kinds: int,
        features: int,
        config: ml_collections.ConfigDict,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.standardization = Standardization(num_kinds, features)
        self.projection = nnx.Linear(features, config.embedding_dim, dtype=dtype, rngs=rngs)

    def __call__(
        self, x_BxKxF: jax.Array, seen_BxK: jax.Array | None = None, first_kind: int = 0
    ) -> jax.Array:
        standardization = self.standardization
        x_BxKxF = (
            standardization(x_BxKxF, first_kind)
            if seen_BxK is None
            else standardization.fit(x_BxKxF, seen_BxK)
        )
        return unit_length(self.projection(x_BxKxF))


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
