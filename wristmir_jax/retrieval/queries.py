"""What is searched for: the vectors of the images of one exam, many exams at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wristmir_jax.retrieval.exam_table import ExamTable
from wristmir_jax.retrieval.store import EmbeddingStore


@dataclass(frozen=True)
class Queries:
    """B query exams of up to Q images each, usually one.

    Attributes:
        global_embedding: float32 (B, Q, D), unit vectors.
        present: bool (B, Q), False for padding.
        region_embedding: float32 (B, Q, R, D_local), unit vectors, 0 where absent.
        region_present: bool (B, Q, R), whether the image shows the region.
    """

    global_embedding: np.ndarray
    present: np.ndarray
    region_embedding: np.ndarray
    region_present: np.ndarray

    def __len__(self) -> int:
        return len(self.present)

    @classmethod
    def of_images(
        cls,
        global_embedding: np.ndarray,
        region_embedding: np.ndarray,
        region_present: np.ndarray,
    ) -> "Queries":
        """One query: the Q images of one exam, as `Embedder.embed_images` gives them.

        Args:
            global_embedding: float32 (Q, D).
            region_embedding: float32 (Q, R, D_local).
            region_present: bool (Q, R).
        """
        return cls.of_rows(
            global_embedding,
            region_embedding,
            np.asarray(region_present, bool),
            [np.arange(len(global_embedding))],
        )

    @classmethod
    def of_rows(
        cls,
        global_embedding: np.ndarray,
        region_embedding: np.ndarray,
        region_present: np.ndarray,
        rows: Sequence[np.ndarray],
    ) -> "Queries":
        """One query for each of B lists of rows of the arrays (first axis N, see `of_images`)."""
        length = max((len(of_query) for of_query in rows), default=1)
        table = np.full((len(rows), length), -1)
        for query, of_query in enumerate(rows):
            table[query, : len(of_query)] = of_query
        present = table >= 0
        shows = region_present[table] & present[..., None]
        return cls(
            global_embedding=np.where(present[..., None], global_embedding[table], 0),
            present=present,
            region_embedding=np.where(shows[..., None], region_embedding[table], 0),
            region_present=shows,
        )

    @classmethod
    def of_exams(cls, store: EmbeddingStore, exam_ids: Sequence[str]) -> "Queries":
        """The exams of a store, each with all its images, in the order of `exam_ids`.

        Raises:
            UserError: an exam is not in the store.
        """
        exams = ExamTable.of(store.ids)
        return cls.of_rows(
            store.global_embedding,
            store.region_embedding,
            store.region_present,
            [exams.rows(exams.exam(exam_id)) for exam_id in exam_ids],
        )

    def take(self, which: np.ndarray | slice) -> "Queries":
        """Some of the queries, in that order."""
        return Queries(
            self.global_embedding[which],
            self.present[which],
            self.region_embedding[which],
            self.region_present[which],
        )
