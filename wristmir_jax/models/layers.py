"""Blocks that the towers share."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from wristmir_jax.models.specs import TransformerSpec
from wristmir_jax.models.stack import Execution, apply_stacked, stacked

_ACTIVATIONS = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
}
ACTIVATIONS = tuple(_ACTIVATIONS)


class Attention(nnx.Module):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762)."""

    def __init__(self, spec: TransformerSpec, execution: Execution, *, rngs: nnx.Rngs):
        self.num_heads = spec.num_heads
        self.execution = execution
        width, dtype = spec.width, execution.dtype
        self.qkv = nnx.Linear(width, 3 * width, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(
        self, x_BxLxD: jax.Array, key_valid_BxL: jax.Array | None = None, causal: bool = False
    ) -> jax.Array:
        """Attend within each row; positions that are not valid are never attended to."""
        B, L, D = x_BxLxD.shape
        qkv = self.qkv(x_BxLxD).reshape(B, L, 3, self.num_heads, D // self.num_heads)
        y_BxLxHxDh = attend(
            qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], self.execution, key_valid_BxL, causal
        )
        return self.out(y_BxLxHxDh.reshape(B, L, D))


def attend(
    q_BxLxHxDh: jax.Array,
    k_BxSxHxDh: jax.Array,
    v_BxSxHxDh: jax.Array,
    execution: Execution,
    key_valid_BxS: jax.Array | None = None,
    causal: bool = False,
) -> jax.Array:
    """Scaled dot-product attention, (B, L, H, Dh)."""
    mask = None if key_valid_BxS is None else key_valid_BxS[:, None, None, :]
    return jax.nn.dot_product_attention(
        q_BxLxHxDh,
        k_BxSxHxDh,
        v_BxSxHxDh,
        mask=mask,
        is_causal=causal,
        implementation=_attention(execution, q_BxLxHxDh, masked=mask is not None),
    )


def _attention(
    execution: Execution, q_BxLxHxDh: jax.Array, masked: bool
) -> Literal["xla", "cudnn"]:
    if execution.attention != "auto":
        return execution.attention
    head_width = q_BxLxHxDh.shape[-1]
    half = q_BxLxHxDh.dtype in (jnp.bfloat16, jnp.float16)
    # What cuDNN's fused attention takes; captions, which need a mask, are short anyway.
    fused = half and not masked and head_width % 8 == 0 and head_width <= 128
    return "cudnn" if fused and jax.default_backend() == "gpu" else "xla"


class Perceptron(nnx.Module):
    """Two linear maps with an activation between them."""

    def __init__(self, spec: TransformerSpec, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        self.activation = spec.activation
        self.up = nnx.Linear(spec.width, spec.hidden, dtype=dtype, rngs=rngs)
        self.down = nnx.Linear(spec.hidden, spec.width, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.down(_ACTIVATIONS[self.activation](self.up(x)))


class TransformerBlock(nnx.Module):
    """Attention and perceptron, each with a shortcut."""

    def __init__(self, spec: TransformerSpec, execution: Execution, *, rngs: nnx.Rngs):
        self.norm_first = spec.norm_first
        self.norm1 = layer_norm(spec, execution, rngs)
        self.attention = Attention(spec, execution, rngs=rngs)
        self.norm2 = layer_norm(spec, execution, rngs)
        self.mlp = Perceptron(spec, execution.dtype, rngs=rngs)

    def __call__(
        self, x_BxLxD: jax.Array, key_valid_BxL: jax.Array | None = None, causal: bool = False
    ) -> jax.Array:
        if self.norm_first:
            x_BxLxD = x_BxLxD + self.attention(self.norm1(x_BxLxD), key_valid_BxL, causal)
            return x_BxLxD + self.mlp(self.norm2(x_BxLxD))
        x_BxLxD = self.norm1(x_BxLxD + self.attention(x_BxLxD, key_valid_BxL, causal))
        return self.norm2(x_BxLxD + self.mlp(x_BxLxD))


class Transformer(nnx.Module):
    """All blocks of a tower."""

    def __init__(self, spec: TransformerSpec, execution: Execution, *, rngs: nnx.Rngs):
        self.frozen_layers = spec.frozen_layers
        self.execution = execution
        blocks = [TransformerBlock(spec, execution, rngs=rngs) for _ in range(spec.depth)]
        self.layers = stacked(blocks)

    def __call__(
        self, x_BxLxD: jax.Array, key_valid_BxL: jax.Array | None = None, causal: bool = False
    ) -> jax.Array:
        def call(block: TransformerBlock, x_BxLxD: jax.Array) -> jax.Array:
            return block(x_BxLxD, key_valid_BxL, causal)

        return apply_stacked(self.layers, call, x_BxLxD, self.execution, self.frozen_layers)


def layer_norm(spec: TransformerSpec, execution: Execution, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(spec.width, epsilon=spec.epsilon, dtype=execution.dtype, rngs=rngs)


class Standardization(nnx.Module):
    """Gives every feature mean 0 and variance 1 over the batch, for each kind of input apart.

    Pooled features of one tower share a large component, so without this their projections lie in a
    narrow cone (Liang et al. 2022, arXiv 2203.02053), and gradients go into that component first.
    It is batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167) of the pooled features
    alone; the linear projection behind it makes a gain and a shift of its own unnecessary. Over a
    sharded batch the statistics are those of the whole batch.

    `batch_mean` and `batch_variance` hold those of the last batch that was fitted: they are
    parameters without a gradient, and the moving average of the parameters averages them too.
    """

    def __init__(self, num_kinds: int, features: int):
        self.batch_mean = nnx.Param(jnp.zeros((num_kinds, features), jnp.float32))
        self.batch_variance = nnx.Param(jnp.ones((num_kinds, features), jnp.float32))

    def fit(self, x_BxKxF: jax.Array, seen_BxK: jax.Array) -> jax.Array:
        """Standardise by the batch's own statistics, and keep them.

        Args:
            x_BxKxF: K at most the number of kinds.
            seen_BxK: bool, the rows that count. A kind of which fewer than two count is
                standardised by the statistics that stand.

        Returns:
            float32 (B, K, F).
        """
        K = x_BxKxF.shape[1]
        if K == 0:
            return x_BxKxF.astype(jnp.float32)
        x_BxKxF = x_BxKxF.astype(jnp.float32)
        count_Kx1 = seen_BxK.sum(axis=0)[:, None]
        weight_BxKx1 = (seen_BxK / jnp.maximum(seen_BxK.sum(axis=0), 1))[..., None]
        mean_KxF = (weight_BxKx1 * x_BxKxF).sum(axis=0)
        variance_KxF = (weight_BxKx1 * (x_BxKxF - mean_KxF) ** 2).sum(axis=0)
        enough_Kx1 = count_Kx1 > 1
        mean_KxF = jnp.where(enough_Kx1, mean_KxF, self.batch_mean[:K])
        variance_KxF = jnp.where(enough_Kx1, variance_KxF, self.batch_variance[:K])
        self.batch_mean[...] = self.batch_mean[...].at[:K].set(mean_KxF)
        self.batch_variance[...] = self.batch_variance[...].at[:K].set(variance_KxF)
        return (x_BxKxF - mean_KxF) * jax.lax.rsqrt(variance_KxF + _MIN_VARIANCE)

    def __call__(self, x_BxKxF: jax.Array, first_kind: int = 0) -> jax.Array:
        """Standardise kinds `first_kind` to `first_kind` + K - 1 by the statistics that stand."""
        kinds = slice(first_kind, first_kind + x_BxKxF.shape[1])
        scale_KxF = jax.lax.rsqrt(self.batch_variance[kinds] + _MIN_VARIANCE)
        return (x_BxKxF.astype(jnp.float32) - self.batch_mean[kinds]) * scale_KxF


# Keeps features that hardly vary from being blown up.
_MIN_VARIANCE = 1e-3
STATISTICS = ("batch_mean", "batch_variance")


def unit_length(x: jax.Array) -> jax.Array:
    """L2-normalise the last axis in float32."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-12)
