"""Multi-positive contrastive loss between images and captions."""

import flax.struct
import jax
import jax.numpy as jnp

from wristmir_jax.reports.findings import STATUSES

_NO_FRACTURE = STATUSES.index("no_fracture")
_UNCERTAIN = STATUSES.index("uncertain")
_FRACTURE = STATUSES.index("fracture")

# exp(log_scale) is kept below this (Radford et al. 2021, arXiv 2103.00020).
MAX_SCALE = 100.0


@flax.struct.dataclass
class PairLabels:
    """What makes two (image, caption) pairs positive, negative or neither.

    Attributes:
        group_Nx2: int32, both words of the caption group; pairs of equal groups are positives.
        valid_N: bool, the pair has both its image and its caption.
        status_NxK: integer codes into STATUSES of the K regions that the caption speaks of.
    """

    group_Nx2: jax.Array
    valid_N: jax.Array
    status_NxK: jax.Array


def _same_group(a: PairLabels, b: PairLabels) -> jax.Array:
    equal = (a.group_Nx2[:, None] == b.group_Nx2[None]).all(-1)
    return equal & a.valid_N[:, None] & b.valid_N[None]


def _ambiguous(a: PairLabels, b: PairLabels) -> jax.Array:
    """Whether two captions may well mean the same: uncertain in one, fracture in the other, and no
    region that is fractured in one and not in the other."""
    left, right = a.status_NxK[:, None], b.status_NxK[None]

    def pairs(first: int, second: int) -> jax.Array:
        return ((left == first) & (right == second)) | ((left == second) & (right == first))

    return pairs(_UNCERTAIN, _FRACTURE).any(-1) & ~pairs(_FRACTURE, _NO_FRACTURE).any(-1)


def multi_positive_loss(
    image_NxD: jax.Array,
    text_NxD: jax.Array,
    labels: PairLabels,
    scale: jax.Array,
    *,
    row_exponent: float = 0.0,
) -> jax.Array:
    """Symmetric softmax loss in which every pair of the same caption group is a positive.

    For a row i with positives P(i) and candidates A(i) (all but the ambiguous ones):

        loss(i) = log sum_{j in A(i)} w_j exp(s_ij) - log sum_{j in P(i)} w_j exp(s_ij)

    the form that sums over positives inside the logarithm (MIL-NCE, Miech et al. 2020, arXiv
    1912.06430). w_j = 1 / |group of j|, so that each distinct caption is one candidate, however
    often the batch repeats it. An uncertain finding against the same finding asserted is left out
    of A(i). Rows are averaged with the weight |group of i| ** -row_exponent: with 0 each pair
    counts once and scores learn how common a caption is, which recall over images asks for; with 1
    each distinct caption counts once, and rare ones are heard as loudly as common ones.

    Args:
        image_NxD, text_NxD: float32 unit vectors; row j of both is pair j.
        labels: of the N pairs.
        scale: float32 (), inverse temperature.
        row_exponent: 0..1, how far the size of a group in the batch is weighed out of the mean.

    Returns:
        float32 (), the mean of both directions; 0 where no pair is valid.
    """
    positive_NxN = _same_group(labels, labels)
    candidate_NxN = labels.valid_N[:, None] & labels.valid_N[None]
    candidate_NxN &= positive_NxN | ~_ambiguous(labels, labels)
    group_size_N = jnp.maximum(positive_NxN.sum(1), 1).astype(jnp.float32)
    row_weight_N = jnp.where(labels.valid_N, group_size_N**-row_exponent, 0.0)
    logits_NxN = scale * jnp.einsum(
        "nd,md->nm", image_NxD, text_NxD, precision=jax.lax.Precision.HIGHEST
    )

    def direction(logits_NxN: jax.Array) -> jax.Array:
        weighted_NxN = logits_NxN - jnp.log(group_size_N)[None]
        over_candidates_N = _masked_logsumexp(weighted_NxN, candidate_NxN)
        over_positives_N = _masked_logsumexp(weighted_NxN, positive_NxN)
        loss_N = jnp.where(labels.valid_N, over_candidates_N - over_positives_N, 0.0)
        return (row_weight_N * loss_N).sum() / jnp.maximum(row_weight_N.sum(), 1e-9)

    return (direction(logits_NxN) + direction(logits_NxN.T)) / 2


def _masked_logsumexp(logits_NxN: jax.Array, mask_NxN: jax.Array) -> jax.Array:
    # A row without any candidate is given one of logit 0, so that its gradient is 0 and not NaN.
    empty_N = ~mask_NxN.any(axis=1)
    mask_NxN = mask_NxN | empty_N[:, None]
    logits_NxN = jnp.where(empty_N[:, None], 0.0, logits_NxN)
    return jax.nn.logsumexp(logits_NxN, axis=1, where=mask_NxN)


def region_loss(
    image_BxRxD: jax.Array,
    text_BxRxD: jax.Array,
    labels: PairLabels,
    scale: jax.Array,
    *,
    row_exponent: float = 0.0,
) -> jax.Array:
    """`multi_positive_loss` within each region, averaged over the regions that have a valid pair.

    A crop is told from those of the same bone only: another bone's caption would be a negative that
    the tower, which knows the region, separates for nothing.

    Args:
        image_BxRxD, text_BxRxD: float32 unit vectors.
        labels: with leading axes (B, R); `status_NxK` is (B, R, 1).
        scale: float32 ().
        row_exponent: as in `multi_positive_loss`.
    """

    def one_region(image_BxD: jax.Array, text_BxD: jax.Array, labels: PairLabels) -> jax.Array:
        return multi_positive_loss(image_BxD, text_BxD, labels, scale, row_exponent=row_exponent)

    loss_R = jax.vmap(one_region, in_axes=1)(image_BxRxD, text_BxRxD, labels)
    present_R = labels.valid_N.any(axis=0)
    return jnp.where(present_R, loss_R, 0.0).sum() / jnp.maximum(present_R.sum(), 1)
