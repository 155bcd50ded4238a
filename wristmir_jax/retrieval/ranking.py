"""How both stages work together: pools of exams from the coarse search, ordered by the rerank."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from wristmir_jax.retrieval.coarse import CoarseSearcher
from wristmir_jax.retrieval.exam_table import ExamTable
from wristmir_jax.retrieval.padding import bucket, pad_rows
from wristmir_jax.retrieval.queries import Queries
from wristmir_jax.retrieval.rerank import Gallery, QueryArrays, Reranked, rerank

# Rows to fetch first, beyond those that hold the candidates when all are alike.
_SLACK = 1.25
_MIN_DEPTH = 16
# How much deeper the coarse search looks when it did not look deep enough.
_DEEPER = 4
# Exams reranked in one call; larger pools are first cut down by their global scores.
_MAX_POOL = 16384
# Bounds the memory of one call: floats gathered.
_MAX_GATHERED = 2**25
_MAX_BATCH = 256


@dataclass(frozen=True)
class Ranked:
    """The exams found for B queries, best first.

    Attributes:
        exams: int32 (B, K), positions in `ExamTable.exam_ids`; -1 where there are no more.
        scores: float32 (B, K), what they are ordered by; -inf where there are no more.
        global_scores: float32 (B, K).
        region_scores: float32 (B, K), NaN where query or exam does not show the region, and in a
            search without a region.
    """

    exams: np.ndarray
    scores: np.ndarray
    global_scores: np.ndarray
    region_scores: np.ndarray


@dataclass(frozen=True)
class Selection:
    """The rows and exams that a search may find.

    Attributes:
        rows: bool (N,).
        exams: bool (E,), those with such rows.
        views: int32 (E, V) on the device, `ExamTable.views` of such rows only.
    """

    rows: np.ndarray
    exams: np.ndarray
    views: jax.Array

    @classmethod
    def of(cls, rows: np.ndarray, exams: ExamTable) -> "Selection":
        views = np.where((exams.views >= 0) & rows[exams.views], exams.views, -1)
        return cls(rows, np.any(views >= 0, axis=1), jax.device_put(views))


@dataclass(frozen=True)
class Plan:
    """One search, apart from its queries.

    Attributes:
        gallery: N rows; `coarse` searches its global vectors.
        exam_of_row: int32 (N,).
        region: position of the region to rerank by, None for one stage.
        num_candidates: at least `top_k`.
    """

    gallery: Gallery
    coarse: CoarseSearcher
    exam_of_row: np.ndarray
    selection: Selection
    region: int | None
    region_weight: float
    num_candidates: int
    top_k: int


def rank(plan: Plan, queries: Queries, excluded: Sequence[np.ndarray]) -> Ranked:
    """Search for B queries, ever deeper until no exam outside a pool can be a candidate.

    Args:
        excluded: for each query the exams that it must not find, each once.
    """
    shape = (len(queries), plan.top_k)
    ranked = Ranked(
        np.full(shape, -1, np.int32),
        np.full(shape, -np.inf, np.float32),
        np.full(shape, -np.inf, np.float32),
        np.full(shape, np.nan, np.float32),
    )
    selectable = plan.selection.exams
    num_selectable = int(selectable.sum())
    lost = np.array([selectable[exams].sum() for exams in excluded], int)
    needed = np.minimum(plan.num_candidates, num_selectable - lost)
    num_rows, num_views = len(plan.exam_of_row), queries.present.shape[1]
    todo = np.flatnonzero(needed > 0)
    if not len(todo):
        return ranked
    depth = bucket(int(_SLACK * num_rows * plan.num_candidates / num_selectable) + _MIN_DEPTH)
    while len(todo):
        # Pools of half the gallery cost no less than all of it.
        everything = (
            plan.num_candidates + lost.max() >= num_selectable or 2 * depth * num_views >= num_rows
        )
        size = _batch_size(plan, num_selectable if everything else depth * num_views)
        certain = np.zeros(len(todo), int)
        for start in range(0, len(todo), size):
            batch = todo[start : start + size]
            some, without = queries.take(batch), [excluded[query] for query in batch]
            if everything:
                pool = np.repeat(np.flatnonzero(selectable)[None].astype(np.int32), len(batch), 0)
                bound = np.full(len(batch), -np.inf, np.float32)
            else:
                pool, bound = _nearest(plan, some, depth)
            pool = _distinct(pool, without, len(selectable))
            found = _rerank(plan, some, pool, bound)
            certain[start : start + size] = found.certain_B
            ranked.exams[batch] = found.exams_BxK
            ranked.scores[batch] = found.score_BxK
            ranked.global_scores[batch] = found.global_BxK
            ranked.region_scores[batch] = np.where(
                np.isfinite(found.region_BxK), found.region_BxK, np.nan
            )
        todo = todo[:0] if everything else todo[certain < needed[todo]]
        depth *= _DEEPER
    return ranked


def _batch_size(plan: Plan, pool: int) -> int:
    width = min(bucket(pool), _MAX_POOL) * plan.selection.views.shape[1]
    vectors = plan.gallery.global_NxD.shape[1] + plan.gallery.region_RxNxD.shape[2]
    fitting = min(max(_MAX_GATHERED // (width * vectors), 1), _MAX_BATCH)
    return 1 << (fitting.bit_length() - 1)


def _nearest(plan: Plan, queries: Queries, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Exams of the rows nearest to each query's images, and what other exams cannot exceed.

    An exam none of whose rows was fetched scores, for every query image, at most that image's
    last fetched row; its global score, a mean over images, at most their mean.

    Returns:
        int32 (B, Q * depth), the number of exams where there is none; float32 (B,).
    """
    B, Q, _ = queries.global_embedding.shape
    rows_MxK, scores_MxK = plan.coarse.search(queries.global_embedding[queries.present], depth)
    rows = np.full((B, Q, depth), -1)
    rows[queries.present] = rows_MxK
    last = np.zeros((B, Q), np.float32)
    last[queries.present] = np.min(scores_MxK, axis=1, where=rows_MxK >= 0, initial=1.0)
    usable = (rows >= 0) & plan.selection.rows[rows]
    exams = np.where(usable, plan.exam_of_row[rows], len(plan.selection.exams))
    return exams.reshape(B, Q * depth).astype(np.int32), last.sum(1) / queries.present.sum(1)


def _distinct(pool_BxP: np.ndarray, excluded: Sequence[np.ndarray], num_exams: int) -> np.ndarray:
    """int32 (B, P'), the exams of each pool that are not excluded, ascending, then -1."""
    pool = np.sort(pool_BxP, axis=1)
    pool[:, 1:][pool[:, 1:] == pool[:, :-1]] = num_exams
    for query, exams in enumerate(excluded):
        if len(exams):
            pool[query][np.isin(pool[query], exams)] = num_exams
    pool.sort(axis=1)
    width = max(1, int((pool < num_exams).sum(axis=1).max()))
    return np.where(pool < num_exams, pool, -1)[:, :width]


def _rerank(plan: Plan, queries: Queries, pool_BxP: np.ndarray, bound_B: np.ndarray) -> Reranked:
    """Pools of any width to the best exams; arrays of exactly B rows and `top_k` columns."""
    capacity = bucket(plan.num_candidates)
    while pool_BxP.shape[1] > max(_MAX_POOL, 2 * capacity):
        # Of a slice of the pool only its globally best can be candidates.
        width = max(_MAX_POOL, 2 * capacity)
        slices = [
            _call(plan, queries, pool_BxP[:, start : start + width], bound_B, cut=True).exams_BxK
            for start in range(0, pool_BxP.shape[1], width)
        ]
        best = np.concatenate(slices, axis=1)
        nowhere = len(plan.selection.exams)
        pool_BxP = _distinct(np.where(best < 0, nowhere, best), (), nowhere)
    return _call(plan, queries, pool_BxP, bound_B, cut=False)


def _call(
    plan: Plan, queries: Queries, pool_BxP: np.ndarray, bound_B: np.ndarray, *, cut: bool
) -> Reranked:
    """One call of `rerank`, padded to few shapes; `cut` keeps the globally best candidates."""
    B, P = pool_BxP.shape
    rows, columns = bucket(B), bucket(max(P, plan.top_k))
    pool = np.full((rows, columns), -1, np.int32)
    pool[:B, :P] = pool_BxP
    capacity = min(columns, bucket(plan.num_candidates))
    region = None if cut else plan.region
    found = rerank(
        plan.gallery,
        plan.selection.views,
        _arrays(queries, region, rows),
        pool,
        pad_rows(bound_B.astype(np.float32), rows),
        np.int32(region or 0),
        np.float32(plan.region_weight),
        np.int32(plan.num_candidates),
        capacity=capacity,
        top_k=capacity if cut else min(capacity, bucket(plan.top_k)),
        with_region=region is not None,
    )
    columns = capacity if cut else plan.top_k
    ranked = [np.asarray(part)[:B, :columns] for part in found[:-1]]
    return Reranked(*ranked, certain_B=np.asarray(found.certain_B)[:B])


def _arrays(queries: Queries, region: int | None, rows: int) -> QueryArrays:
    """The queries' vectors for one region, padded in queries and in images."""
    images = bucket(queries.present.shape[1])

    def padded(array: np.ndarray) -> np.ndarray:
        missing = [(0, rows - len(array)), (0, images - array.shape[1])]
        return np.pad(array, missing + [(0, 0)] * (array.ndim - 2))

    if region is None:
        asked = np.zeros((*queries.present.shape, 1), np.float32)
        shows = np.zeros(queries.present.shape, bool)
    else:
        asked = queries.region_embedding[:, :, region]
        shows = queries.region_present[:, :, region]
    return QueryArrays(
        global_BxQxD=padded(queries.global_embedding),
        present_BxQ=padded(queries.present),
        region_BxQxD=padded(asked),
        region_present_BxQ=padded(shows),
    )
