"""Multi-positive contrastive loss between images and captions: what it is, written densely."""

import jax
import jax.numpy as jnp

from wristmir_jax.learning.pairs import PairLabels, relations

# exp(log_scale) is kept below this (Radford et al. 2021, arXiv 2103.00020).
MAX_SCALE = 100.0


def contrastive_loss(
    image_BxKxD: jax.Array,
    text_BxKxD: jax.Array,
    labels: PairLabels,
    scale: jax.Array,
    bias: jax.Array | None = None,
    *,
    row_exponent: float = 0.0,
) -> jax.Array:
    """Symmetric loss in which every pair of the same caption group is a positive.

    Pairs are compared within their kind (whole films, or crops of one region) only: another bone's
    caption would be a negative that the tower, which knows the region, separates for nothing. The
    kinds that have a valid pair are averaged.

    For a row i with positives P(i) and candidates A(i) (all but the ambiguous ones, see
    `pairs.relations`) and w_j = 1 / |group of j|, so that each distinct caption is one candidate,
    however often the batch repeats it:

    - softmax, without `bias`:
      log sum_{j in A(i)} w_j exp(s_ij) - log sum_{j in P(i)} w_j exp(s_ij), the form that sums over
      positives inside the logarithm (MIL-NCE, Miech et al. 2020, arXiv 1912.06430);
    - sigmoid, with `bias`: sum_{j in A(i)} w_j log(1 + exp(-t_ij (s_ij + bias))), t_ij = 1 on
      positives and -1 elsewhere (SigLIP, Zhai et al. 2023, arXiv 2303.15343).

    Rows are averaged with the weight |group of i| ** -row_exponent: with 0 each pair counts once
    and scores learn how common a caption is, which recall over images asks for; with 1 each
    distinct caption counts once, and rare ones are heard as loudly as common ones.

    This is the reference, of which a device holds all B x B logits; `tiled_loss` is the same in
    little memory.

    Args:
        image_BxKxD, text_BxKxD: float32 unit vectors; row (b, k) of both is one pair.
        labels: of the pairs, with leading axes (B, K).
        scale: float32 (), inverse temperature.
        bias: float32 (), of the sigmoid loss; None for softmax.
        row_exponent: 0..1, how far the size of a group in the batch is weighed out of the mean.

    Returns:
        float32 (), the mean of both directions; 0 where no pair is valid.
    """

    def of_kind(image_NxD: jax.Array, text_NxD: jax.Array, labels: PairLabels) -> jax.Array:
        return _loss_of_kind(image_NxD, text_NxD, labels, scale, bias, row_exponent)

    if image_BxKxD.shape[1] == 1:
        # Plain matrix products instead of batched ones.
        only = jax.tree.map(lambda leaf: leaf[:, 0], (image_BxKxD, text_BxKxD, labels))
        return of_kind(*only)
    loss_K = jax.vmap(of_kind, in_axes=1)(image_BxKxD, text_BxKxD, labels)
    present_K = labels.valid_N.any(axis=0)
    return jnp.where(present_K, loss_K, 0.0).sum() / jnp.maximum(present_K.sum(), 1)


def _loss_of_kind(
    image_NxD: jax.Array,
    text_NxD: jax.Array,
    labels: PairLabels,
    scale: jax.Array,
    bias: jax.Array | None,
    row_exponent: float,
) -> jax.Array:
    positive_NxN, candidate_NxN = relations(labels, labels)
    group_size_N = jnp.maximum(positive_NxN.sum(1), 1).astype(jnp.float32)
    row_weight_N = jnp.where(labels.valid_N, group_size_N**-row_exponent, 0.0)
    logits_NxN = scale * jnp.einsum(
        "nd,md->nm", image_NxD, text_NxD, precision=jax.lax.Precision.HIGHEST
    )

    def direction(logits_NxN: jax.Array) -> jax.Array:
        if bias is None:
            weighted_NxN = logits_NxN - jnp.log(group_size_N)[None]
            over_candidates_N = _masked_logsumexp(weighted_NxN, candidate_NxN)
            over_positives_N = _masked_logsumexp(weighted_NxN, positive_NxN)
            loss_N = over_candidates_N - over_positives_N
        else:
            sign_NxN = jnp.where(positive_NxN, 1.0, -1.0)
            loss_NxN = jax.nn.softplus(-sign_NxN * (logits_NxN + bias)) / group_size_N[None]
            loss_N = jnp.where(candidate_NxN, loss_NxN, 0.0).sum(axis=1)
        loss_N = jnp.where(labels.valid_N, loss_N, 0.0)
        return (row_weight_N * loss_N).sum() / jnp.maximum(row_weight_N.sum(), 1e-9)

    return (direction(logits_NxN) + direction(logits_NxN.T)) / 2


def _masked_logsumexp(logits_NxN: jax.Array, mask_NxN: jax.Array) -> jax.Array:
    # A row without any candidate is given one of logit 0, so that its gradient is 0 and not NaN.
    empty_N = ~mask_NxN.any(axis=1)
    mask_NxN = mask_NxN | empty_N[:, None]
    logits_NxN = jnp.where(empty_N[:, None], 0.0, logits_NxN)
    return jax.nn.logsumexp(logits_NxN, axis=1, where=mask_NxN)
