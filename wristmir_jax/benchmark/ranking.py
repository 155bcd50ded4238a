"""Ranks the training exams for other exams, by the search that users run, with exact stage one."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from wristmir_jax.benchmark.exams import Exams
from wristmir_jax.retrieval.coarse import ExactSearcher
from wristmir_jax.retrieval.queries import Queries
from wristmir_jax.retrieval.store import EmbeddingStore
from wristmir_jax.retrieval.two_stage import NUM_CANDIDATES, REGION_WEIGHT, Index

# The deepest list that a vote or a table asks for.
DEPTH = 100


@dataclass(frozen=True)
class Ranking:
    """Exams found for each of Q queries, best first.

    Attributes:
        exams: int (Q, DEPTH), positions in `Exams`; -1 where the gallery had no more.
        scores: float32 (Q, DEPTH), -inf there.
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
        self._all = exams
        self._store = store
        self._index = Index.build(
            _rows(store, np.flatnonzero(exams.split[exams.exam_of_row] == "train")),
            ExactSearcher.kind,
        )
        # `Exams` is sorted by name. The last element answers for -1, nobody.
        found = np.searchsorted(exams.exam_id, self._index.exams.exam_ids)
        self._position = np.append(found, -1)
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
            region_weight, num_candidates: of the second stage; None for the search's defaults.
        """
        region_weight = REGION_WEIGHT if region_weight is None else region_weight
        num_candidates = NUM_CANDIDATES if num_candidates is None else num_candidates
        key = (region, region_weight, num_candidates, queries.tobytes())
        if key not in self._found:
            ranked = self._index.search_batch(
                Queries.of_exams(self._store, self._all.exam_id[queries].tolist()),
                region,
                DEPTH,
                num_candidates=num_candidates,
                region_weight=region_weight,
                exclude_patient=self._all.patient_id[queries].tolist(),
            )
            self._found[key] = Ranking(self._position[ranked.exams], ranked.scores)
        return self._found[key]


def _rows(store: EmbeddingStore, rows: np.ndarray) -> EmbeddingStore:
    return dataclasses.replace(
        store,
        ids=store.ids.take(rows),
        global_embedding=store.global_embedding[rows],
        region_embedding=store.region_embedding[rows],
        region_present=store.region_present[rows],
        region_status=store.region_status[rows],
    )
