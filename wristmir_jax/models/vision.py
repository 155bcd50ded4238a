"""Image towers: a ViT and a small residual convolutional network.

Both take `num_kinds` > 1 when one tower serves several kinds of crops and is told which it sees.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from wristmir_jax.models.layers import TransformerBlock


class ViT(nnx.Module):
    """Vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), mean-pooled.

    The kind of the image is one more token, so that every block can attend to it.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        width: int,
        depth: int,
        num_heads: int,
        num_kinds: int = 1,
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        if image_size % patch_size:
            raise ValueError(
                f"image size {image_size} is not a multiple of patch size {patch_size}"
            )
        self.patch_size = patch_size
        self.out_features = width
        num_patches = (image_size // patch_size) ** 2
        self.patch = nnx.Linear(patch_size * patch_size, width, dtype=dtype, rngs=rngs)
        normal = nnx.initializers.normal(0.02)
        self.position = nnx.Param(normal(rngs.params(), (num_patches, width), jnp.float32))
        self.kind = nnx.Param(normal(rngs.params(), (num_kinds, width), jnp.float32))
        self.blocks = nnx.List(
            [TransformerBlock(width, num_heads, dtype=dtype, rngs=rngs) for _ in range(depth)]
        )
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)

    def __call__(self, image_BxHxW: jax.Array, kind_B: jax.Array) -> jax.Array:
        """Features of shape (B, out_features)."""
        B, H, W = image_BxHxW.shape
        p = self.patch_size
        patches = image_BxHxW.reshape(B, H // p, p, W // p, p).transpose(0, 1, 3, 2, 4)
        x_BxLxD = self.patch(patches.reshape(B, (H // p) * (W // p), p * p))
        x_BxLxD = x_BxLxD + self.position[...].astype(x_BxLxD.dtype)
        kind_Bx1xD = self.kind[...].astype(x_BxLxD.dtype)[kind_B][:, None]
        x_BxLxD = jnp.concatenate([kind_Bx1xD, x_BxLxD], axis=1)
        for block in self.blocks:
            x_BxLxD = block(x_BxLxD)
        return self.norm(x_BxLxD).mean(axis=1)


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
        gain_Bx2xC = self.kind[...].astype(x_BxHxWxC.dtype)[kind_B]
        gain, shift = gain_Bx2xC[:, 0, None, None], gain_Bx2xC[:, 1, None, None]
        x_BxHxWxC = nnx.relu(x_BxHxWxC * (1 + gain) + shift)
        for block in self.blocks:
            x_BxHxWxC = block(x_BxHxWxC)
        return jnp.concatenate([x_BxHxWxC.mean(axis=(1, 2)), x_BxHxWxC.max(axis=(1, 2))], axis=-1)
