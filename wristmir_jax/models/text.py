"""Text tower: a transformer over the tokens of a caption."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from wristmir_jax.models.layers import Transformer, layer_norm
from wristmir_jax.models.specs import TextSpec
from wristmir_jax.models.stack import Execution, whole


@jax.custom_vjp
def token_vectors(table_VxD: jax.Array, index_TxL: jax.Array) -> jax.Array:
    """Rows (T, L, D) of a table; its gradient is summed in float32.

    In half precision a sum over the thousand places of a frequent word would stop growing, and GPUs
    would add slowly.
    """
    return jnp.take(table_VxD, index_TxL, axis=0)


def _token_vectors_forward(table_VxD: jax.Array, index_TxL: jax.Array) -> tuple[jax.Array, Any]:
    return token_vectors(table_VxD, index_TxL), (table_VxD, index_TxL)


def _token_vectors_backward(saved: Any, cotangent_TxLxD: jax.Array) -> tuple[jax.Array, None]:
    table_VxD, index_TxL = saved
    sums_VxD = jnp.zeros(table_VxD.shape, jnp.float32)
    sums_VxD = sums_VxD.at[index_TxL].add(cotangent_TxLxD.astype(jnp.float32))
    return sums_VxD.astype(table_VxD.dtype), None


token_vectors.defvjp(_token_vectors_forward, _token_vectors_backward)


class TextTower(nnx.Module):
    """Transformer encoder of captions.

    Args:
        spec: what it is made of.
        vocab_size: token ids.
        max_length: tokens of the longest caption.
        execution: how it is computed.
    """

    def __init__(
        self,
        spec: TextSpec,
        vocab_size: int,
        max_length: int,
        execution: Execution,
        *,
        rngs: nnx.Rngs,
    ):
        self.spec = spec
        self.out_features = spec.out_features
        dtype = execution.dtype
        self.token = nnx.Embed(vocab_size, spec.width, dtype=dtype, rngs=rngs)
        normal = nnx.initializers.normal(0.02)
        self.position = nnx.Param(normal(rngs.params(), (max_length, spec.width), jnp.float32))
        self.input_norm = layer_norm(spec, execution, rngs) if spec.input_norm else None
        self.blocks = Transformer(spec, execution, rngs=rngs)
        self.norm = layer_norm(spec, execution, rngs) if spec.final_norm else None
        widths = (spec.width, *spec.projection)
        self.projection = nnx.List(
            [
                nnx.Linear(a, b, use_bias=spec.projection_bias, dtype=dtype, rngs=rngs)
                for a, b in itertools.pairwise(widths)
            ]
        )

    def __call__(self, token_TxL: jax.Array) -> jax.Array:
        """Features (T, out_features) of token ids int32 (T, L), padding behind them.

        They are finite for a row of padding.
        """
        spec = self.spec
        valid_TxL = token_TxL != spec.pad_id
        # Half as much is sent in half precision.
        table_VxD = whole(self.token.embedding[...].astype(self.blocks.execution.dtype))
        x_TxLxD = token_vectors(table_VxD, token_TxL)
        x_TxLxD = x_TxLxD + self.position[...][: token_TxL.shape[1]].astype(x_TxLxD.dtype)
        if self.input_norm is not None:
            x_TxLxD = self.input_norm(x_TxLxD)
        num_tokens_T = None
        # Behind a causal caption comes nothing that it could see.
        if not spec.sees_padding and not spec.causal:
            # A row of padding alone would attend to nothing.
            num_tokens_T = jnp.maximum(valid_TxL.sum(axis=1, dtype=jnp.int32), 1)
        x_TxLxD = self.blocks(x_TxLxD, num_tokens_T, spec.causal)
        if self.norm is not None:
            x_TxLxD = self.norm(x_TxLxD)
        x_TxD = self._pool(x_TxLxD, token_TxL, valid_TxL)
        for position, linear in enumerate(self.projection):
            x_TxD = linear(x_TxD if position == 0 else nnx.gelu(x_TxD, approximate=False))
        return x_TxD

    def _pool(self, x_TxLxD: jax.Array, token_TxL: jax.Array, valid_TxL: jax.Array) -> jax.Array:
        if self.spec.pooling == "first":
            return x_TxLxD[:, 0]
        if self.spec.pooling == "last":
            return x_TxLxD[:, -1]
        if self.spec.pooling == "end":
            end_T = jnp.argmax(token_TxL == self.spec.end_id, axis=1)
            return jnp.take_along_axis(x_TxLxD, end_T[:, None, None], axis=1)[:, 0]
        x_TxLxD = x_TxLxD * valid_TxL[..., None].astype(x_TxLxD.dtype)
        return x_TxLxD.sum(axis=1) / jnp.maximum(valid_TxL.sum(axis=1, keepdims=True), 1)
