"""Blocks that the towers share."""

import jax
import jax.numpy as jnp
from flax import nnx


class Attention(nnx.Module):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762)."""

    def __init__(self, width: int, num_heads: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        if width % num_heads:
            raise ValueError(f"width {width} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.qkv = nnx.Linear(width, 3 * width, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(self, x_BxLxD: jax.Array, key_valid_BxL: jax.Array | None = None) -> jax.Array:
        """Attend within each row; positions that are not valid are never attended to."""
        B, L, D = x_BxLxD.shape
        qkv = self.qkv(x_BxLxD).reshape(B, L, 3, self.num_heads, D // self.num_heads)
        mask = None if key_valid_BxL is None else key_valid_BxL[:, None, None, :]
        y_BxLxHxDh = jax.nn.dot_product_attention(
            qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], mask=mask
        )
        return self.out(y_BxLxHxDh.reshape(B, L, D))


class TransformerBlock(nnx.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, num_heads: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.norm1 = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.attention = Attention(width, num_heads, dtype=dtype, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.up = nnx.Linear(width, 4 * width, dtype=dtype, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, dtype=dtype, rngs=rngs)

    def __call__(self, x_BxLxD: jax.Array, key_valid_BxL: jax.Array | None = None) -> jax.Array:
        x_BxLxD = x_BxLxD + self.attention(self.norm1(x_BxLxD), key_valid_BxL)
        return x_BxLxD + self.down(nnx.gelu(self.up(self.norm2(x_BxLxD))))


def unit_length(x: jax.Array) -> jax.Array:
    """L2-normalise the last axis in float32."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-12)
