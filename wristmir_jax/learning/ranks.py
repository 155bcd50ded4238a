"""Ranks of the right answers among all, which every recall is counted from."""

import jax
import jax.numpy as jnp
import numpy as np

# Scores nearer than this are ties, and a tie counts against us: with equal vectors for all, recall
# is 0 rather than luck. float32 rounding of an inner product of unit vectors is an order below it.
TIE_TOLERANCE = 1e-6

# Scores held at once; 2^24 float32 are 64 MiB.
_CHUNK_SCORES = 1 << 24


def best_positive_ranks(
    queries_QxD: np.ndarray,
    query_group_Q: np.ndarray,
    candidates_NxD: np.ndarray,
    candidate_group_N: np.ndarray,
    chunk: int | None = None,
) -> np.ndarray:
    """Rank (1 = first) of each query's best candidate of its own group; ties count against it.

    Args:
        queries_QxD, candidates_NxD: float32, scored by inner product, `chunk` queries at a time.
        query_group_Q, candidate_group_N: int, small codes (below 2^31).
        chunk: queries scored at once; None for as many as fit 64 MiB.

    Returns:
        int64 (Q,); N + 1 where no candidate is of the query's group.
    """
    num_queries, num_candidates = len(queries_QxD), len(candidates_NxD)
    if not num_queries or not num_candidates:
        return np.full(num_queries, num_candidates + 1, np.int64)
    if chunk is None:
        chunk = _CHUNK_SCORES // num_candidates
    chunk = max(1, min(chunk, num_queries))
    candidates = jnp.asarray(candidates_NxD, jnp.float32)
    groups = jnp.asarray(candidate_group_N, jnp.int32)
    ranks = []
    for start in range(0, num_queries, chunk):
        # The last chunk is filled up, so that only one shape is compiled.
        rows = np.minimum(np.arange(start, start + chunk), num_queries - 1)
        ranks.append(
            _ranks(
                jnp.asarray(queries_QxD[rows], jnp.float32),
                jnp.asarray(query_group_Q[rows], jnp.int32),
                candidates,
                groups,
            )
        )
    return np.concatenate([np.asarray(rank) for rank in ranks])[:num_queries].astype(np.int64)


@jax.jit
def _ranks(
    queries: jax.Array, query_group: jax.Array, candidates: jax.Array, groups: jax.Array
) -> jax.Array:
    scores = jnp.matmul(queries, candidates.T, precision=jax.lax.Precision.HIGHEST)
    positive = query_group[:, None] == groups[None, :]
    best = jnp.where(positive, scores, -jnp.inf).max(1, keepdims=True)
    return 1 + jnp.sum(~positive & (scores >= best - TIE_TOLERANCE), axis=1)
