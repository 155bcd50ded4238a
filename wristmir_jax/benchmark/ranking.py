"""Ranks the training exams for other exams, by the searches that users run."""

from dataclasses import dataclass

import numpy as np

from wristmir_jax.benchmark.exams import Exams
from wristmir_jax.retrieval.store import EmbeddingStore

# The deepest list that a vote or a table asks for.
DEPTH = 100


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
    """The training exams of a store as a gallery.

    Attributes:
        exams: int (G,), their positions in `Exams`.
    """

    def __init__(self, store: EmbeddingStore, exams: Exams):
        self.exams = np.flatnonzero(exams.split == "train")
        self._store, self._all = store, exams

    def rank(
        self,
        queries: np.ndarray,
        region: str | None,
        region_weight: float | None = None,
        num_candidates: int | None = None,
    ) -> Ranking:
        s, e = self._store, self._all
        G = np.full((len(queries), len(self.exams)), -np.inf, np.float32)
        R = G.copy()
        r = s.metadata.regions.index(region) if region else None
        rows = [np.flatnonzero(e.exam_of_row == x) for x in range(len(e))]
        for i, q in enumerate(queries):
            sims = s.global_embedding[rows[q]] @ s.global_embedding.T
            for j, g in enumerate(self.exams):
                if e.patient_id[q] == e.patient_id[g]:
                    continue
                G[i, j] = sims[:, rows[g]].max(1).mean()
                if r is not None:
                    qr = rows[q][s.region_present[rows[q], r]]
                    gr = rows[g][s.region_present[rows[g], r]]
                    if len(qr) and len(gr):
                        R[i, j] = (
                            (s.region_embedding[qr, r] @ s.region_embedding[gr, r].T).max(1).mean()
                        )
        total = G
        if r is not None:
            assert region_weight is not None
            keep = np.argsort(np.argsort(-G, 1), 1) < (num_candidates or 10**9)
            has = np.isfinite(R)
            anyhas = has.any(1, keepdims=True)
            total = np.where(
                has,
                (1 - region_weight) * G + region_weight * np.where(has, R, 0),
                np.where(anyhas, G - 10, G),
            )
            total = np.where(keep & np.isfinite(G), total, -np.inf)
        order = np.argsort(-total, axis=1, kind="stable")[:, :DEPTH]
        scores = np.take_along_axis(total, order, 1)
        return Ranking(np.where(np.isfinite(scores), self.exams[order], -1), scores)
