"""Image towers: a ViT and a small residual convolutional network.

Both take `num_kinds` > 1 when one tower serves several kinds of crops and is told which it sees.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from wristmir_jax.models.layers import Perceptron, Transformer, attend, layer_norm
from wristmir_jax.models.specs import VisionSpec
from wristmir_jax.models.stack import Execution


class ViT(nnx.Module):
    """Vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929).

    A vector of the kind of the image is added to every patch. It starts at zero, so that weights
    which were trained without it begin as they are.

    Args:
        spec: what it is made of.
        image_size: pixels of the square images.
        num_kinds: of images that it is told apart.
        execution: how it is computed.
    """

    def __init__(
        self,
        spec: VisionSpec,
        image_size: int,
        num_kinds: int = 1,
        *,
        execution: Execution,
        rngs: nnx.Rngs,
    ):
        if image_size % spec.patch_size:
            raise ValueError(
                f"image size {image_size} is not a multiple of patch size {spec.patch_size}"
            )
        self.spec = spec
        self.out_features = spec.out_features
        self.num_patches = (image_size // spec.patch_size) ** 2
        width, dtype = spec.width, execution.dtype
        self.patch = nnx.Linear(spec.patch_size**2, width, dtype=dtype, rngs=rngs)
        normal = nnx.initializers.normal(0.02)

        def table(rows: int) -> nnx.Param:
            return nnx.Param(normal(rngs.params(), (rows, width), jnp.float32))

        self.position = table(self.num_patches)
        self.prefix = table(spec.num_prefix_tokens) if spec.num_prefix_tokens else None
        self.kind = nnx.Param(jnp.zeros((num_kinds, width), jnp.float32))
        self.input_norm = layer_norm(spec, execution, rngs) if spec.input_norm else None
        self.blocks = Transformer(spec, execution, rngs=rngs)
        self.norm = layer_norm(spec, execution, rngs)
        attention = spec.pooling == "attention"
        self.pooling = AttentionPooling(spec, execution, rngs=rngs) if attention else None
        self.projection = (
            nnx.Linear(width, spec.projection, use_bias=False, dtype=dtype, rngs=rngs)
            if spec.projection
            else None
        )

    def __call__(
        self, image_BxHxW: jax.Array, kind_B: jax.Array, kept_BxK: jax.Array | None = None
    ) -> jax.Array:
        """Features (B, out_features).

        Args:
            image_BxHxW: normalised pixels.
            kind_B: int32.
            kept_BxK: int32, the patches that are looked at (Li et al. 2023, arXiv 2212.00794);
                None for all.
        """
        B, H, W = image_BxHxW.shape
        p = self.spec.patch_size
        patches = image_BxHxW.reshape(B, H // p, p, W // p, p).transpose(0, 1, 3, 2, 4)
        patches_BxLxP = patches.reshape(B, (H // p) * (W // p), p * p)
        position = self.position[...].astype(image_BxHxW.dtype)[None]
        if kept_BxK is not None:
            patches_BxLxP = jnp.take_along_axis(patches_BxLxP, kept_BxK[..., None], axis=1)
            position = position[0][kept_BxK]
        x_BxLxD = self.patch(patches_BxLxP) + position
        x_BxLxD = x_BxLxD + _of_kind(self.kind[...], kind_B).astype(x_BxLxD.dtype)[:, None]
        num_prefix = self.spec.num_prefix_tokens
        if self.prefix is not None:
            prefix = self.prefix[...].astype(x_BxLxD.dtype)
            prefix_BxPxD = jnp.broadcast_to(prefix, (B, *prefix.shape))
            x_BxLxD = jnp.concatenate([prefix_BxPxD, x_BxLxD], axis=1)
        if self.input_norm is not None:
            x_BxLxD = self.input_norm(x_BxLxD)
        x_BxLxD = self.norm(self.blocks(x_BxLxD))
        if self.pooling is not None:
            x_BxD = self.pooling(x_BxLxD)
        elif self.spec.pooling == "class":
            x_BxD = x_BxLxD[:, 0]
        else:
            x_BxD = x_BxLxD[:, num_prefix:].mean(axis=1)
        return x_BxD if self.projection is None else self.projection(x_BxD)


def _of_kind(table: jax.Array, kind_B: jax.Array) -> jax.Array:
    """Rows of a table (num_kinds, ...), as a product: of a gather, the gradient would have all
    images wait for their turn to add to the same few rows."""
    one_hot_BxK = jax.nn.one_hot(kind_B, len(table), dtype=table.dtype)
    return jnp.tensordot(one_hot_BxK, table, 1, precision=jax.lax.Precision.HIGHEST)


class AttentionPooling(nnx.Module):
    """One learnt query that attends to all tokens, then a perceptron with a shortcut (Zhai et al.
    2022, arXiv 2106.04560)."""

    def __init__(self, spec: VisionSpec, execution: Execution, *, rngs: nnx.Rngs):
        width, dtype = spec.width, execution.dtype
        self.num_heads = spec.num_heads
        # Of a single query nothing is to be fused.
        self.execution = dataclasses.replace(execution, attention="xla")
        normal = nnx.initializers.normal(0.02)
        self.query = nnx.Param(normal(rngs.params(), (1, width), jnp.float32))
        self.q = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.kv = nnx.Linear(width, 2 * width, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(spec, execution, rngs)
        self.mlp = Perceptron(spec, dtype, rngs=rngs)

    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        """(B, D)."""
        B, L, D = x_BxLxD.shape
        H, Dh = self.num_heads, D // self.num_heads
        q_1xD = self.q(self.query[...].astype(x_BxLxD.dtype))
        q_Bx1xHxDh = jnp.broadcast_to(q_1xD.reshape(1, 1, H, Dh), (B, 1, H, Dh))
        kv = self.kv(x_BxLxD).reshape(B, L, 2, H, Dh)
        pooled = attend(q_Bx1xHxDh, kv[:, :, 0], kv[:, :, 1], self.execution)
        pooled_BxD = self.out(pooled.reshape(B, D))
        return pooled_BxD + self.mlp(self.norm(pooled_BxD))


class ResidualBlock(nnx.Module):
    """Two 3x3 convolutions with group normalisation and a shortcut."""

    def __init__(
        self, features_in: int, features: int, stride: int, *, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        self.conv1 = nnx.Conv(
            features_in, features, (3, 3), strides=stride, use_bias=False, dtype=dtype, rngs=rngs
        )
        self.norm1 = nnx.GroupNorm(features, num_groups=8, dtype=dtype, rngs=rngs)
        self.conv2 = nnx.Conv(features, features, (3, 3), use_bias=False, dtype=dtype, rngs=rngs)
        # Its scale starts at one: blocks that start as their shortcuts (zero) learn late.
        self.norm2 = nnx.GroupNorm(features, num_groups=8, dtype=dtype, rngs=rngs)
        self.shortcut = (
            nnx.Conv(features_in, features, (1, 1), use_bias=False, dtype=dtype, rngs=rngs)
            if stride > 1 or features_in != features
            else None
        )
        self.stride = stride

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        y = nnx.relu(self.norm1(self.conv1(x_BxHxWxC)))
        y = self.norm2(self.conv2(y))
        if self.stride > 1:
            window = (self.stride, self.stride)
            x_BxHxWxC = nnx.avg_pool(x_BxHxWxC, window, strides=window, padding="SAME")
        if self.shortcut is not None:
            x_BxHxWxC = self.shortcut(x_BxHxWxC)
        return nnx.relu(x_BxHxWxC + y)


class ConvTower(nnx.Module):
    """Residual network (He et al. 2016, arXiv 1512.03385) on a space-to-depth stem.

    Each stage after the first halves the resolution. A gain and a shift by kind (FiLM, Perez et al.
    2018, arXiv 1709.07871) after the stem and after the pooling tell the tower what it sees.
    """

    def __init__(
        self,
        stem_stride: int,
        widths: tuple[int, ...],
        blocks_per_stage: int,
        num_kinds: int = 1,
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.stem_stride = stem_stride
        self.out_features = 2 * widths[-1]
        size = stem_stride + 2
        self.stem = nnx.Conv(
            1, widths[0], (size, size), strides=stem_stride, dtype=dtype, rngs=rngs
        )
        zeros = jnp.zeros((num_kinds, 2, widths[0]), jnp.float32)
        self.kind = nnx.Param(zeros)
        blocks = []
        features_in = widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks_per_stage):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(ResidualBlock(features_in, width, stride, dtype=dtype, rngs=rngs))
                features_in = width
        self.blocks = nnx.List(blocks)

    def __call__(self, image_BxHxW: jax.Array, kind_B: jax.Array) -> jax.Array:
        """Features of shape (B, out_features): mean- and max-pooled, for marks of any extent."""
        x_BxHxWxC = self.stem(image_BxHxW[..., None])
        gain_Bx2xC = _of_kind(self.kind[...], kind_B).astype(x_BxHxWxC.dtype)
        gain, shift = gain_Bx2xC[:, 0, None, None], gain_Bx2xC[:, 1, None, None]
        x_BxHxWxC = nnx.relu(x_BxHxWxC * (1 + gain) + shift)
        for block in self.blocks:
            x_BxHxWxC = block(x_BxHxWxC)
        return jnp.concatenate([x_BxHxWxC.mean(axis=(1, 2)), x_BxHxWxC.max(axis=(1, 2))], axis=-1)
