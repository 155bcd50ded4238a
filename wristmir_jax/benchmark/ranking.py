"""Ranks the training exams for other exams, by the rerank that users run and every exam scored."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from wristmir_jax.benchmark.exams import Exams
from wristmir_jax.retrieval.padding import bucket, pad_rows
from wristmir_jax.retrieval.rerank import Gallery, QueryArrays, rerank
from wristmir_jax.retrieval.store import EmbeddingStore

# The deepest list that a vote or a table asks for.
DEPTH = 100

# Float32 numbers gathered at once: 2^24 are 64 MiB.
_GATHERED = 1 << 24
_MAX_BATCH = 64


@dataclass(frozen=True)
class Ranking:
    """Exams found for each of Q queries, best first.

    Attributes:
        exams: int (Q, K), positions in `Exams`; -1 where the gallery had no more.
        scores: float32 (Q, K), -inf there.
    """

    exams: np.ndarray
    scores: np.ndarray


class TrainGallery:
    """The training exams of a store as a gallery; exams of the query's patient never answer.

    Attributes:
        exams: int (G,), their positions in `Exams`.
    """

    def __init__(self, store: EmbeddingStore, exams: Exams):
        self.exams = np.flatnonzero(exams.split == "train")
        self._regions = store.metadata.regions
        self._patient_id = exams.patient_id
        self._views = _views(exams.exam_of_row, len(exams))
        self._rows = Gallery(
            global_NxD=jnp.asarray(store.global_embedding),
            region_RxNxD=jnp.asarray(np.moveaxis(store.region_embedding, 1, 0)),
            present_RxN=jnp.asarray(store.region_present.T),
        )
        # One search answers every k, weighting and threshold that is tried on it.
        self._found: dict[tuple[str | None, float, int, bytes], Ranking] = {}

    def rank(
        self,
        queries: np.ndarray,
        region: str | None,
        region_weight: float | None = None,
        num_candidates: int | None = None,
    ) -> Ranking:
        """The first DEPTH training exams for each query.

        Args:
            queries: int (Q,), positions in `Exams`.
            region: to rerank by; None for the global score alone.
            region_weight, num_candidates: of the second stage; None for all weight on the region
                and every exam a candidate.
        """
        weight = 1.0 if region_weight is None else region_weight
        candidates = min(num_candidates or len(self.exams), len(self.exams))
        key = (region, weight, candidates, queries.tobytes())
        if key not in self._found:
            width = self._rows.global_NxD.shape[1] * self._views.shape[1] * len(self.exams)
            batch = int(np.clip(_GATHERED // width, 1, _MAX_BATCH))
            parts = [
                self._search(queries[start : start + batch], batch, region, weight, candidates)
                for start in range(0, len(queries), batch)
            ]
            depth = min(DEPTH, len(self.exams))
            none = Ranking(np.zeros((0, depth), np.int64), np.zeros((0, depth), np.float32))
            self._found[key] = Ranking(
                np.concatenate([none.exams, *(part.exams for part in parts)]),
                np.concatenate([none.scores, *(part.scores for part in parts)]),
            )
        return self._found[key]

    def _search(
        self, queries: np.ndarray, batch: int, region: str | None, weight: float, candidates: int
    ) -> Ranking:
        views = pad_rows(self._views[queries] + 1, batch) - 1
        safe, asks = np.maximum(views, 0), views >= 0
        r = self._regions.index(region) if region is not None else 0
        has_region = region is not None
        pool = np.where(
            self._patient_id[self.exams][None] != self._patient_id[queries][:, None],
            np.arange(len(self.exams))[None],
            -1,
        )
        found = rerank(
            self._rows,
            jnp.asarray(self._views[self.exams]),
            QueryArrays(
                global_BxQxD=self._rows.global_NxD[safe],
                present_BxQ=jnp.asarray(asks),
                region_BxQxD=(
                    self._rows.region_RxNxD[r, safe] if has_region else self._rows.global_NxD[safe]
                ),
                region_present_BxQ=(
                    self._rows.present_RxN[r, safe] & asks
                    if has_region
                    else jnp.zeros(asks.shape, bool)
                ),
            ),
            jnp.asarray(pad_rows(pool, batch), jnp.int32),
            jnp.zeros(batch),
            jnp.int32(r),
            jnp.float32(weight),
            jnp.int32(candidates),
            capacity=min(bucket(candidates), len(self.exams)),
            top_k=min(DEPTH, candidates, len(self.exams)),
            with_region=has_region,
        )
        exams = np.asarray(found.exams_BxK)[: len(queries)]
        scores = np.asarray(found.score_BxK)[: len(queries)]
        short = min(DEPTH, len(self.exams)) - exams.shape[1]
        exams = np.pad(exams, ((0, 0), (0, short)), constant_values=-1)
        scores = np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf)
        return Ranking(np.where(exams >= 0, self.exams[exams], -1), scores)


def _views(exam_of_row: np.ndarray, num_exams: int) -> np.ndarray:
    """int32 (E, V): the rows of each exam, -1 for padding."""
    order = np.argsort(exam_of_row, kind="stable")
    counts = np.bincount(exam_of_row, minlength=num_exams)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    views = np.full((num_exams, counts.max(initial=1)), -1, np.int32)
    views[exam_of_row[order], place] = order
    return views
