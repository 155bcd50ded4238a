"""Stage two: candidate exams ordered by the bone in question, in one compiled call."""

from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

# Subtracted from the global score of a candidate that does not show the region which the query
# shows: inner products lie in [-1, 1], so such candidates follow all that do show it.
MISSING_REGION_PENALTY = 3.0

_Array: TypeAlias = jax.Array | np.ndarray

# Two ways to add up the same inner product differ by less.
SCORE_TOLERANCE = 1e-5


class Gallery(NamedTuple):
    """What the device holds of an index: N rows (images), R regions.

    Attributes:
        global_NxD: float32, unit vectors.
        region_RxNxD: float32, unit vectors; R may be 0.
        present_RxN: bool, whether the row shows the region.
    """

    global_NxD: jax.Array
    region_RxNxD: jax.Array
    present_RxN: jax.Array


class QueryArrays(NamedTuple):
    """B query exams of up to Q images each, for one region.

    Attributes:
        global_BxQxD: float32.
        present_BxQ: bool, False for padding.
        region_BxQxD: float32, of the region in question.
        region_present_BxQ: bool, whether the image shows it.
    """

    global_BxQxD: _Array
    present_BxQ: _Array
    region_BxQxD: _Array
    region_present_BxQ: _Array


class Reranked(NamedTuple):
    """The best K exams of each query, best first.

    Attributes:
        exams_BxK: int32, -1 where there are no more.
        score_BxK: float32, what they are ordered by; -inf where there are no more.
        global_BxK: float32.
        region_BxK: float32, -inf where query or exam does not show the region.
        certain_B: int32, candidates whose global score no exam outside the pool can exceed.
    """

    exams_BxK: _Array
    score_BxK: _Array
    global_BxK: _Array
    region_BxK: _Array
    certain_B: _Array


@partial(jax.jit, static_argnames=("capacity", "top_k", "with_region"))
def rerank(
    gallery: Gallery,
    views_ExV: jax.Array,
    query: QueryArrays,
    pool_BxP: _Array,
    bound_B: _Array,
    region: jax.Array | np.int32,
    region_weight: jax.Array | np.float32,
    num_candidates: jax.Array | np.int32,
    *,
    capacity: int,
    top_k: int,
    with_region: bool,
) -> Reranked:
    """Order a pool of exams by (1 - w) global + w region score.

    An exam's score for one query image is its best view's inner product; for a query of several
    images it is the mean over them. The `num_candidates` exams of the pool with the highest global
    score are candidates. Candidates that do not show the region the query shows come after all that
    do, by their global score minus `MISSING_REGION_PENALTY`; where w is 0, or the query does not
    show the region, the score is the global one. Equal scores are ordered by global score, then by
    position in the pool.

    Args:
        views_ExV: int32, rows of each exam, -1 for padding.
        pool_BxP: int32 exams, ascending, -1 for padding.
        bound_B: float32, global score that no exam outside the pool exceeds; for `certain_B`.
        region: int32, position of the region; ignored without region.
        region_weight: float32, w in [0, 1].
        num_candidates: int32, at most `capacity`.
        capacity: at most P.
        top_k: at most `capacity`.
        with_region: False orders by the global score alone.
    """
    in_pool_BxP = pool_BxP >= 0
    rows_BxPxV = jnp.where(in_pool_BxP[..., None], views_ExV[jnp.maximum(pool_BxP, 0)], -1)
    global_BxP = _exam_score(
        gallery.global_NxD[jnp.maximum(rows_BxPxV, 0)],
        rows_BxPxV >= 0,
        query.global_BxQxD,
        query.present_BxQ,
    )
    certain_B = jnp.sum(global_BxP >= bound_B[:, None] - SCORE_TOLERANCE, axis=1, dtype=jnp.int32)
    global_BxC, position_BxC = jax.lax.top_k(global_BxP, capacity)
    exams_BxC = jnp.take_along_axis(pool_BxP, position_BxC, axis=1)
    candidate_BxC = (jnp.arange(capacity) < num_candidates) & jnp.isfinite(global_BxC)

    region_BxC = jnp.full_like(global_BxC, -jnp.inf)
    score_BxC = global_BxC
    if with_region:
        rows_BxCxV = jnp.take_along_axis(rows_BxPxV, position_BxC[..., None], axis=1)
        safe_BxCxV = jnp.maximum(rows_BxCxV, 0)
        region_BxC = _exam_score(
            gallery.region_RxNxD[region, safe_BxCxV],
            (rows_BxCxV >= 0) & gallery.present_RxN[region, safe_BxCxV],
            query.region_BxQxD,
            query.region_present_BxQ,
        )
        asked_Bx1 = query.region_present_BxQ.any(axis=1, keepdims=True) & (region_weight > 0)
        score_BxC = jnp.where(
            asked_Bx1 & jnp.isfinite(region_BxC),
            (1 - region_weight) * global_BxC + region_weight * region_BxC,
            global_BxC - MISSING_REGION_PENALTY * asked_Bx1,
        )
    score_BxK, best_BxK = jax.lax.top_k(jnp.where(candidate_BxC, score_BxC, -jnp.inf), top_k)
    exams_BxK = jnp.take_along_axis(exams_BxC, best_BxK, axis=1)
    return Reranked(
        exams_BxK=jnp.where(jnp.isfinite(score_BxK), exams_BxK, -1),
        score_BxK=score_BxK,
        global_BxK=jnp.take_along_axis(global_BxC, best_BxK, axis=1),
        region_BxK=jnp.take_along_axis(region_BxC, best_BxK, axis=1),
        certain_B=certain_B,
    )


def _exam_score(
    vectors_BxPxVxD: jax.Array, seen_BxPxV: jax.Array, query_BxQxD: _Array, asks_BxQ: _Array
) -> jax.Array:
    """float32 (B, P): best over views, mean over query images; -inf where either has none."""
    similarity_BxQxPxV = jnp.einsum(
        "bqd,bpvd->bqpv", query_BxQxD, vectors_BxPxVxD, precision=jax.lax.Precision.HIGHEST
    )
    best_BxQxP = jnp.max(similarity_BxQxPxV, axis=3, initial=-jnp.inf, where=seen_BxPxV[:, None])
    seen_BxP = seen_BxPxV.any(axis=2)
    used_BxQxP = seen_BxP[:, None] & asks_BxQ[..., None]
    total_BxP = jnp.sum(jnp.where(used_BxQxP, best_BxQxP, 0), axis=1)
    count_B = jnp.maximum(asks_BxQ.sum(axis=1), 1)
    defined_BxP = seen_BxP & asks_BxQ.any(axis=1, keepdims=True)
    return jnp.where(defined_BxP, total_BxP / count_B[:, None], -jnp.inf)
