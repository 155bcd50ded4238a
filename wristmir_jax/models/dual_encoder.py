"""The dual encoder: a global and a local image tower, trained jointly with one text tower."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from flax import nnx

from wristmir_jax.models.layers import Standardization, unit_length
from wristmir_jax.models.specs import TextSpec, VisionSpec
from wristmir_jax.models.stack import Execution
from wristmir_jax.models.text import TextTower
from wristmir_jax.models.vision import ConvTower, ViT

# Pixels in [0, 1] are shifted and scaled by these before the towers.
PIXEL_MEAN, PIXEL_SCALE = 0.5, 0.25

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
        execution = Execution(
            jnp.dtype(config.dtype), config.remat, config.unroll_layers, config.attention
        )
        self.dtype = execution.dtype
        num_kinds = max(num_regions, 1)
        self.global_tower = _vision_tower(config.global_tower, image_size, 1, execution, rngs)
        # A data set without regions still has a local tower, of one kind that it never sees.
        self.local_tower = _vision_tower(config.local_tower, crop_size, num_kinds, execution, rngs)
        self.text_tower = TextTower(
            TextSpec.of(config.text_tower),
            vocab_size,
            max(config.global_text_length, config.region_text_length),
            execution,
            rngs=rngs,
        )

        def head(num_kinds: int, tower: Any) -> _Head:
            return _Head(num_kinds, tower.out_features, config, execution.dtype, rngs)

        self.global_head = head(1, self.global_tower)
        self.local_head = head(num_kinds, self.local_tower)
        # GLOBAL_LEVEL, REGION_LEVEL
        self.text_heads = nnx.List([head(kinds, self.text_tower) for kinds in (1, num_kinds)])
        self.log_scale = nnx.Param(jnp.full((2,), jnp.log(config.initial_scale), jnp.float32))
        # At first few pairs of a batch are positive, and the sigmoid of each should say so.
        initial_bias = jnp.full((2,), -config.initial_scale, jnp.float32)
        self.bias = nnx.Param(initial_bias) if has_bias else None

    def global_features(
        self, image_BxHxW: jax.Array, kept_BxK: jax.Array | None = None
    ) -> jax.Array:
        """Features (B, F) of films with pixels in [0, 1], before the shared space.

        Args:
            image_BxHxW: float32.
            kept_BxK: int32, patches that a vision transformer looks at; None for all.
        """
        kind_B = jnp.zeros(image_BxHxW.shape[0], jnp.int32)
        return _features(self.global_tower, self._normalise(image_BxHxW), kind_B, kept_BxK)

    def region_features(
        self, crop_BxRxHxW: jax.Array, kept_BxRxK: jax.Array | None = None
    ) -> jax.Array:
        """Features (B, R, F) of crops, all regions in one call of the local tower.

        Args:
            crop_BxRxHxW: float32.
            kept_BxRxK: int32, patches that a vision transformer looks at; None for all.
        """
        B, R, H, W = crop_BxRxHxW.shape
        kind_N = jnp.tile(jnp.arange(R, dtype=jnp.int32), B)
        crop_NxHxW = self._normalise(crop_BxRxHxW.reshape(B * R, H, W))
        kept_NxK = None if kept_BxRxK is None else kept_BxRxK.reshape(B * R, -1)
        features = _features(self.local_tower, crop_NxHxW, kind_N, kept_NxK)
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

    def fit_captions(self, features_BxKxF: jax.Array, seen_BxK: jax.Array, level: int) -> jax.Array:
        """Unit vectors float32 (B, K, D) of the captions of a batch.

        Standardised by the batch's statistics, as in training. A caption counts as often as it is
        used, though it is encoded once.

        Args:
            features_BxKxF: of each pair's caption; K regions, or 1 at `GLOBAL_LEVEL`.
            seen_BxK: bool, there is a caption; the vector of others means nothing.
            level: `GLOBAL_LEVEL` or `REGION_LEVEL`.
        """
        return self.text_heads[level](features_BxKxF, seen_BxK)

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
        return ((pixels - PIXEL_MEAN) / PIXEL_SCALE).astype(self.dtype)


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
    execution: Execution,
    rngs: nnx.Rngs,
) -> Any:
    if config.kind == "vit":
        spec = VisionSpec.of(config)
        return ViT(spec, image_size, num_kinds, execution=execution, rngs=rngs)
    return ConvTower(
        stem_stride=config.stem_stride,
        widths=tuple(config.widths),
        blocks_per_stage=config.blocks_per_stage,
        num_kinds=num_kinds,
        dtype=execution.dtype,
        rngs=rngs,
    )


def _features(
    tower: Any, image_NxHxW: jax.Array, kind_N: jax.Array, kept_NxK: jax.Array | None
) -> jax.Array:
    if kept_NxK is None:
        return tower(image_NxHxW, kind_N)
    return tower(image_NxHxW, kind_N, kept_NxK)
