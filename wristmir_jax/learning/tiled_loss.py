"""The contrastive loss in memory that is linear in the batch, over any number of devices.

The softmax is taken online over tiles (Milakov and Gimelshein 2018, arXiv 1805.02867; for
contrastive losses Cheng et al. 2024, arXiv 2410.17243), once over all candidates and once over the
positives; the gradient computes each tile of logits anew.
"""

import functools
from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from wristmir_jax.learning.pairs import PairLabels, relations
from wristmir_jax.learning.ring import sweep
from wristmir_jax.learning.sharding import BATCH_AXES

# Stands for the logarithm of 0 where infinities would give NaN.
_LOG_0 = -1e30


@flax.struct.dataclass
class _Pairs:
    """Pairs that rows or columns of logits belong to, leaves (K, n, ...) or (n, ...) of a kind."""

    vectors: jax.Array
    labels: PairLabels
    log_group_size: jax.Array


class _Form(Protocol):
    """A loss of rows that is a sum over tiles, in both directions alike.

    `sums` is a tree of arrays (n,), `finish` makes (loss, residual) of it, each (n,) or a tree.
    """

    @staticmethod
    def start(shape: tuple[int, ...]) -> Any: ...

    @staticmethod
    def add(
        sums: Any, logits: jax.Array, log_size: jax.Array, masks: tuple[jax.Array, jax.Array]
    ) -> Any:
        """Take in logits (n, t), whose columns stand for groups of exp(log_size) (t,) pairs."""
        ...

    @staticmethod
    def finish(sums: Any) -> tuple[jax.Array, Any]: ...

    @staticmethod
    def gradient(
        residual: Any, logits: jax.Array, log_size: jax.Array, masks: tuple[jax.Array, jax.Array]
    ) -> jax.Array:
        """Of each row's loss by the logits, (n, t)."""
        ...


class _Softmax:
    @staticmethod
    def start(shape: tuple[int, ...]) -> Any:
        """Maximum and sum of exponentials below it, over positives and over candidates."""
        return ((jnp.full(shape, _LOG_0), jnp.zeros(shape)),) * 2

    @staticmethod
    def add(sums: Any, logits: jax.Array, log_size: jax.Array, masks: Any) -> Any:
        weighted = logits - log_size

        def extend(maximum: jax.Array, total: jax.Array, mask: jax.Array) -> Any:
            new = jnp.maximum(maximum, jnp.where(mask, weighted, _LOG_0).max(axis=1))
            terms = jnp.where(mask, jnp.exp(weighted - new[:, None]), 0.0)
            return new, total * jnp.exp(maximum - new) + terms.sum(axis=1)

        return tuple(
            extend(maximum, total, mask) for (maximum, total), mask in zip(sums, masks, strict=True)
        )

    @staticmethod
    def finish(sums: Any) -> tuple[jax.Array, Any]:
        positives, candidates = (
            jnp.where(total > 0, maximum + jnp.log(jnp.maximum(total, 1e-37)), 0.0)
            for maximum, total in sums
        )
        return candidates - positives, (positives, candidates)

    @staticmethod
    def gradient(residual: Any, logits: jax.Array, log_size: jax.Array, masks: Any) -> jax.Array:
        weighted = logits - log_size
        positives, candidates = (
            jnp.where(mask, jnp.exp(weighted - logsumexp[:, None]), 0.0)
            for logsumexp, mask in zip(residual, masks, strict=True)
        )
        return candidates - positives


class _Sigmoid:
    @staticmethod
    def start(shape: tuple[int, ...]) -> Any:
        return jnp.zeros(shape)

    @staticmethod
    def add(sums: Any, logits: jax.Array, log_size: jax.Array, masks: Any) -> Any:
        positive, candidate = masks
        losses = jax.nn.softplus(jnp.where(positive, -logits, logits)) * jnp.exp(-log_size)
        return sums + jnp.where(candidate, losses, 0.0).sum(axis=1)

    @staticmethod
    def finish(sums: Any) -> tuple[jax.Array, Any]:
        return sums, ()

    @staticmethod
    def gradient(residual: Any, logits: jax.Array, log_size: jax.Array, masks: Any) -> jax.Array:
        positive, candidate = masks
        slope = jax.nn.sigmoid(logits) - positive
        return jnp.where(candidate, slope * jnp.exp(-log_size), 0.0)


def tiled_loss(
    image_BxKxD: jax.Array,
    text_BxKxD: jax.Array,
    labels: PairLabels,
    scale: jax.Array,
    bias: jax.Array | None = None,
    *,
    mesh: Mesh,
    tile: int,
    row_exponent: float = 0.0,
) -> jax.Array:
    """`loss.contrastive_loss`, forward and gradient, without ever holding a matrix of logits.

    A device holds the B / N rows of its own, against which it sees captions `tile` at a time; they
    come round the ring of all N devices.

    Args:
        image_BxKxD, text_BxKxD: float32 unit vectors, split over all axes of the mesh.
        labels: with leading axes (B, K).
        scale: float32 ().
        bias: float32 () of the sigmoid loss; None for softmax.
        mesh: whose devices divide B.
        tile: columns of logits that stand in memory at a time.
        row_exponent: as in `contrastive_loss`.

    Returns:
        float32 ().
    """
    given_bias = jnp.zeros(()) if bias is None else bias
    form: Any = _Softmax if bias is None else _Sigmoid
    static = _Static(mesh, form, tile, row_exponent)
    return _loss(static, image_BxKxD, text_BxKxD, labels, scale, given_bias)


@flax.struct.dataclass
class _Static:
    """What the compiled function is made for."""

    mesh: Mesh = flax.struct.field(pytree_node=False)
    form: Any = flax.struct.field(pytree_node=False)
    tile: int = flax.struct.field(pytree_node=False)
    row_exponent: float = flax.struct.field(pytree_node=False)

    def sweep(self, *arguments: Any) -> Any:
        return sweep(*arguments, axes=BATCH_AXES, num_devices=self.mesh.size, tile=self.tile)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loss(static: _Static, *arguments: Any) -> jax.Array:
    return _forward(static, *arguments)[0]


def _forward(
    static: _Static,
    image_BxKxD: jax.Array,
    text_BxKxD: jax.Array,
    labels: PairLabels,
    scale: jax.Array,
    bias: jax.Array,
) -> tuple[jax.Array, Any]:
    form = static.form

    def on_device(
        image_nxKxD: jax.Array,
        text_nxKxD: jax.Array,
        labels: PairLabels,
        scale: jax.Array,
        bias: jax.Array,
    ) -> Any:
        image, text, labels = _kinds_first((image_nxKxD, text_nxKxD, labels))
        shape = labels.valid_N.shape
        size_Kxn, _ = static.sweep(_count_group, labels, labels, jnp.zeros(shape), ())
        log_size_Kxn = jnp.log(jnp.maximum(size_Kxn, 1.0))

        def add(rows: _Pairs, columns: _Pairs, row_sums: Any, column_sums: Any) -> Any:
            logits = scale * _product("nd,td->nt", rows.vectors, columns.vectors) + bias
            masks = relations(rows.labels, columns.labels)
            turned = tuple(mask.T for mask in masks)
            return (
                form.add(row_sums, logits, columns.log_group_size, masks),
                form.add(column_sums, logits.T, rows.log_group_size, turned),
            )

        row_sums, column_sums = static.sweep(
            add,
            _Pairs(image, labels, log_size_Kxn),
            _Pairs(text, labels, log_size_Kxn),
            form.start(shape),
            form.start(shape),
        )
        (row_loss_Kxn, row_residual), (column_loss_Kxn, column_residual) = (
            form.finish(row_sums),
            form.finish(column_sums),
        )
        weight_Kxn = jnp.where(labels.valid_N, jnp.exp(-static.row_exponent * log_size_Kxn), 0.0)
        total_K = jax.lax.psum(weight_Kxn.sum(axis=1), BATCH_AXES)
        num_present = jnp.maximum((total_K > 0).sum(), 1)
        weight_Kxn /= jnp.maximum(total_K, 1e-9)[:, None] * (2 * num_present)
        loss = jax.lax.psum((weight_Kxn * (row_loss_Kxn + column_loss_Kxn)).sum(), BATCH_AXES)
        return loss, (log_size_Kxn, weight_Kxn, row_residual, column_residual)

    loss, residual = jax.shard_map(
        on_device,
        mesh=static.mesh,
        in_specs=(_BATCH, _BATCH, _BATCH, P(), P()),
        out_specs=(P(), _KINDS_THEN_BATCH),
        check_vma=False,
    )(image_BxKxD, text_BxKxD, labels, scale, bias)
    return loss, (image_BxKxD, text_BxKxD, labels, scale, bias, residual)


def _backward(static: _Static, saved: Any, cotangent: jax.Array) -> Any:
    form = static.form
    image_BxKxD, text_BxKxD, labels, scale, bias, residual = saved

    def on_device(
        image_nxKxD: jax.Array,
        text_nxKxD: jax.Array,
        labels: PairLabels,
        residual: Any,
        scale: jax.Array,
        bias: jax.Array,
        cotangent: jax.Array,
    ) -> Any:
        image, text, labels = _kinds_first((image_nxKxD, text_nxKxD, labels))
        log_size_Kxn, weight_Kxn, row_residual, column_residual = residual
        weight_Kxn = weight_Kxn * cotangent

        def add(rows: Any, columns: Any, row_sums: Any, column_sums: Any) -> Any:
            rows, row_weight, row_residual = rows
            columns, column_weight, column_residual = columns
            image_gradient, scale_gradient, bias_gradient = row_sums
            cosine = _product("nd,td->nt", rows.vectors, columns.vectors)
            logits = scale * cosine + bias
            masks = relations(rows.labels, columns.labels)
            turned = tuple(mask.T for mask in masks)
            by_rows = form.gradient(row_residual, logits, columns.log_group_size, masks)
            by_columns = form.gradient(column_residual, logits.T, rows.log_group_size, turned).T
            gradient = row_weight[:, None] * by_rows + column_weight[None] * by_columns
            return (
                (
                    image_gradient + _product("nt,td->nd", gradient, columns.vectors),
                    scale_gradient + (gradient * cosine).sum(axis=1),
                    bias_gradient + gradient.sum(axis=1),
                ),
                column_sums + _product("nt,nd->td", gradient, rows.vectors),
            )

        zeros_Kxn = jnp.zeros(weight_Kxn.shape)
        (image_gradient, scale_gradient, bias_gradient), text_gradient = static.sweep(
            add,
            (_Pairs(image, labels, log_size_Kxn), weight_Kxn, row_residual),
            (_Pairs(text, labels, log_size_Kxn), weight_Kxn, column_residual),
            (jnp.zeros(image.shape), zeros_Kxn, zeros_Kxn),
            jnp.zeros(text.shape),
        )
        return (
            scale * jnp.moveaxis(image_gradient, 0, 1),
            scale * jnp.moveaxis(text_gradient, 0, 1),
            jax.lax.psum(scale_gradient.sum(), BATCH_AXES),
            jax.lax.psum(bias_gradient.sum(), BATCH_AXES),
        )

    image_gradient, text_gradient, scale_gradient, bias_gradient = jax.shard_map(
        on_device,
        mesh=static.mesh,
        in_specs=(_BATCH, _BATCH, _BATCH, _KINDS_THEN_BATCH, P(), P(), P()),
        out_specs=(_BATCH, _BATCH, P(), P()),
        check_vma=False,
    )(image_BxKxD, text_BxKxD, labels, residual, scale, bias, cotangent)
    return image_gradient, text_gradient, None, scale_gradient, bias_gradient


_loss.defvjp(_forward, _backward)

_BATCH, _KINDS_THEN_BATCH = P(BATCH_AXES), P(None, BATCH_AXES)


def _kinds_first(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), tree)


def _count_group(rows: PairLabels, columns: PairLabels, size_n: jax.Array, _: Any) -> Any:
    return size_n + relations(rows, columns)[0].sum(axis=1), ()


def _product(subscripts: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(subscripts, a, b, precision=jax.lax.Precision.HIGHEST)
