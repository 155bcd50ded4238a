"""Which images make up which exam, and which exams a patient has."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from wristmir_jax.errors import UserError


class ExamTable:
    """E exams over N rows, in the order of their first rows.

    Attributes:
        exam_ids: E names.
        patient_ids: E names, "" where unknown.
        exam_of_row: int32 (N,).
        views: int32 (E, V), the rows of each exam ascending, -1 for padding.
    """

    def __init__(
        self, exam_ids: Sequence[str], patient_ids: Sequence[str], exam_of_row: np.ndarray
    ):
        self.exam_ids = tuple(exam_ids)
        self.patient_ids = tuple(patient_ids)
        self.exam_of_row = exam_of_row
        self.views = _rows_of(exam_of_row, len(exam_ids))
        self._position = {exam_id: exam for exam, exam_id in enumerate(exam_ids)}
        self._of_patient: dict[str, list[int]] = {}
        for exam, patient_id in enumerate(patient_ids):
            if patient_id:
                self._of_patient.setdefault(patient_id, []).append(exam)

    @classmethod
    def of(cls, ids: pa.Table) -> "ExamTable":
        """Group rows by `exam_id`.

        Raises:
            UserError: the images of one exam are of two patients.
        """
        position: dict[str, int] = {}
        exam_of_row = np.array(
            [position.setdefault(exam, len(position)) for exam in ids["exam_id"].to_pylist()],
            np.int32,
        )
        patients = [""] * len(position)
        seen = np.zeros(len(position), bool)
        for row, patient_id in enumerate(ids["patient_id"].to_pylist()):
            exam = exam_of_row[row]
            if seen[exam] and patients[exam] != patient_id:
                raise UserError(
                    f"row {row} of the embeddings is of another patient than the other images of "
                    "its exam: correct exam_id or patient_id and prepare the data set again"
                )
            seen[exam], patients[exam] = True, patient_id
        return cls(list(position), patients, exam_of_row)

    def exam(self, exam_id: str) -> int:
        """Position of an exam.

        Raises:
            UserError: there is none of this name.
        """
        exam = self.find(exam_id)
        if exam is None:
            raise UserError(f"exam {exam_id!r} is not in the index")
        return exam

    def find(self, exam_id: str) -> int | None:
        """Position of an exam, None where there is none of this name."""
        return self._position.get(exam_id)

    def of_patient(self, patient_id: str) -> list[int]:
        """Positions of a patient's exams; none of an unknown patient ("")."""
        return self._of_patient.get(patient_id, [])

    def rows(self, exam: int) -> np.ndarray:
        """Rows of an exam, ascending."""
        views = self.views[exam]
        return views[views >= 0]


def _rows_of(exam_of_row: np.ndarray, num_exams: int) -> np.ndarray:
    counts = np.bincount(exam_of_row, minlength=num_exams)
    order = np.argsort(exam_of_row, kind="stable")
    column = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    views = np.full((num_exams, counts.max(initial=1)), -1, np.int32)
    views[exam_of_row[order], column] = order
    return views
