"""Blocks that the towers share."""

import functools
import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from wristmir_jax.models.specs import TransformerSpec
from wristmir_jax.models.stack import Execution, apply_stacked, stacked

Pointwise = Callable[[jax.Array], jax.Array]


def _keeping_input_alone(function: Pointwise, slope: Pointwise) -> Pointwise:
    """`function`, whose gradient is computed from its input.

    Left to itself the backward pass keeps a second array as large as a hidden layer, the largest
    there is; to write and read it takes longer than to compute it anew.
    """

    @jax.custom_vjp
    def activation(x: jax.Array) -> jax.Array:
        return function(x)

    def backward(x: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
        gradient = cotangent.astype(jnp.float32) * slope(x.astype(jnp.float32))
        return (gradient.astype(x.dtype),)

    activation.defvjp(lambda x: (function(x), x), backward)
    return activation


def _gelu_slope(x: jax.Array) -> jax.Array:
    below = 0.5 * (1 + jax.lax.erf(x * math.sqrt(0.5)))
    return below + x * jnp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _gelu_tanh_slope(x: jax.Array) -> jax.Array:
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    tanh = jnp.tanh(scale * (x + cubic * x**3))
    return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh**2) * scale * (1 + 3 * cubic * x**2)


def _quick_gelu_slope(x: jax.Array) -> jax.Array:
    below = jax.nn.sigmoid(1.702 * x)
    return below + 1.702 * x * below * (1 - below)


# Gaussian error linear units (Hendrycks and Gimpel 2016, arXiv 1606.08415).
ACTIVATIONS = {
    "gelu": _keeping_input_alone(functools.partial(jax.nn.gelu, approximate=False), _gelu_slope),
    "gelu_tanh": _keeping_input_alone(
        functools.partial(jax.nn.gelu, approximate=True), _gelu_tanh_slope
    ),
    "quick_gelu": _keeping_input_alone(lambda x: x * jax.nn.sigmoid(1.702 * x), _quick_gelu_slope),
}


class Attention(nnx.Module):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762)."""

    def __init__(self, spec: TransformerSpec, execution: Execution, *, rngs: nnx.Rngs):
        self.num_heads = spec.num_heads
        self.execution = execution
        width, dtype = spec.width, execution.dtype
        self.qkv = nnx.Linear(width, 3 * width, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(
        self, x_BxLxD: jax.Array, num_keys_B: jax.Array | None = None, causal: bool = False
    ) -> jax.Array:
        """Attend within each row; as `attend`."""
        B, L, D = x_BxLxD.shape
        qkv = self.qkv(x_BxLxD).reshape(B, L, 3, self.num_heads, D // self.num_heads)
        y_BxLxHxDh = attend(
            qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], self.execution, num_keys_B, causal
        )
        return self.out(y_BxLxHxDh.reshape(B, L, D))


def attend(
    q_BxLxHxDh: jax.Array,
    k_BxSxHxDh: jax.Array,
    v_BxSxHxDh: jax.Array,
    execution: Execution,
    num_keys_B: jax.Array | None = None,
    causal: bool = False,
) -> jax.Array:
    """Scaled dot-product attention, (B, L, H, Dh).

    Args:
        num_keys_B: int32, at least 1: of each row, so many keys from the first on are attended to;
            None for all.
        causal: queries attend to no key behind their own position.
    """
    return jax.nn.dot_product_attention(
        q_BxLxHxDh,
        k_BxSxHxDh,
        v_BxSxHxDh,
        key_value_seq_lengths=num_keys_B,
        is_causal=causal,
        implementation=_attention(execution, q_BxLxHxDh),
    )


def _attention(execution: Execution, q_BxLxHxDh: jax.Array) -> Literal["xla", "cudnn"]:
    if execution.attention != "auto":
        return execution.attention
    head_width = q_BxLxHxDh.shape[-1]
    half = q_BxLxHxDh.dtype in (jnp.bfloat16, jnp.float16)
    # What cuDNN's fused attention takes.
    fused = half and head_width % 8 == 0 and head_width <= 128
    return "cudnn" if fused and jax.default_backend() == "gpu" else "xla"


class Perceptron(nnx.Module):
    """Two linear maps with an activation between them."""

    def __init__(self, spec: TransformerSpec, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        self.activation = spec.activation
        self.up = nnx.Linear(spec.width, spec.hidden, dtype=dtype, rngs=rngs)
        self.down = nnx.Linear(spec.hidden, spec.width, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.down(ACTIVATIONS[self.activation](self.up(x)))


class TransformerBlock(nnx.Module):
    """Attention and perceptron, each with a shortcut."""

    def __init__(self, spec: TransformerSpec, execution: Execution, *, rngs: nnx.Rngs):
        self.norm_first = spec.norm_first
        self.norm1 = layer_norm(spec, execution, rngs)
        self.attention = Attention(spec, execution, rngs=rngs)
        self.norm2 = layer_norm(spec, execution, rngs)
        self.mlp = Perceptron(spec, execution.dtype, rngs=rngs)

    def __call__(
        self, x_BxLxD: jax.Array, num_keys_B: jax.Array | None = None, causal: bool = False
    ) -> jax.Array:
        if self.norm_first:
            x_BxLxD = x_BxLxD + self.attention(self.norm1(x_BxLxD), num_keys_B, causal)
            return x_BxLxD + self.mlp(self.norm2(x_BxLxD))
        x_BxLxD = self.norm1(x_BxLxD + self.attention(x_BxLxD, num_keys_B, causal))
        return self.norm2(x_BxLxD + self.mlp(x_BxLxD))


class Transformer(nnx.Module):
    """All blocks of a tower."""

    def __init__(self, spec: TransformerSpec, execution: Execution, *, rngs: nnx.Rngs):
        self.frozen_layers = spec.frozen_layers
        self.execution = execution
        blocks = [TransformerBlock(spec, execution, rngs=rngs) for _ in range(spec.depth)]
        self.layers = stacked(blocks)

    def __call__(
        self, x_BxLxD: jax.Array, num_keys_B: jax.Array | None = None, causal: bool = False
    ) -> jax.Array:
        def call(block: TransformerBlock, x_BxLxD: jax.Array) -> jax.Array:
            return block(x_BxLxD, num_keys_B, causal)

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
