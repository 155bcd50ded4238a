"""Text tower: a small transformer over the tokens of a caption."""

import jax
import jax.numpy as jnp
from flax import nnx

from wristmir_jax.models.layers import TransformerBlock
from wristmir_jax.models.tokenizer import PAD_ID


class TextTower(nnx.Module):
    """Bidirectional transformer encoder, mean-pooled over the tokens that are not padding."""

    def __init__(
        self,
        vocab_size: int,
        max_length: int,
        width: int,
        depth: int,
        num_heads: int,
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.out_features = width
        self.token = nnx.Embed(vocab_size, width, dtype=dtype, rngs=rngs)
        normal = nnx.initializers.normal(0.02)
        self.position = nnx.Param(normal(rngs.params(), (max_length, width), jnp.float32))
        self.blocks = nnx.List(
            [TransformerBlock(width, num_heads, dtype=dtype, rngs=rngs) for _ in range(depth)]
        )
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)

    def __call__(self, token_TxL: jax.Array) -> jax.Array:
        """Features (T, out_features) of token ids int32 (T, L); a row of padding gives zeros."""
        valid_TxL = token_TxL != PAD_ID
        x_TxLxD = self.token(token_TxL)
        x_TxLxD = x_TxLxD + self.position[...][: token_TxL.shape[1]].astype(x_TxLxD.dtype)
        # A row of padding alone would attend to nothing; let it see itself and drop it below.
        key_valid_TxL = valid_TxL | ~valid_TxL.any(axis=1, keepdims=True)
        for block in self.blocks:
            x_TxLxD = block(x_TxLxD, key_valid_TxL)
        x_TxLxD = self.norm(x_TxLxD) * valid_TxL[..., None].astype(x_TxLxD.dtype)
        return x_TxLxD.sum(axis=1) / jnp.maximum(valid_TxL.sum(axis=1, keepdims=True), 1)
