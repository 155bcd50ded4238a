"""The exams of an embedding store: what is scored once however many views it has."""

from dataclasses import dataclass

import numpy as np

from wristmir_jax.errors import UserError
from wristmir_jax.reports.findings import Findings
from wristmir_jax.retrieval.store import EmbeddingStore

FLAGS = ("cast", "hardware", "osteopenia")


@dataclass(frozen=True)
class Exams:
    """E exams over the N rows of a store, R regions (may be 0).

    Attributes:
        exam_of_row: int (N,), each row's exam.
        first_row: int (E,), one row of each exam; exam-level columns are read there.
        exam_id, patient_id, split, fracture: (E,) str.
        region_status: int8 (E, R), codes into `reports.findings.STATUSES`.
        flags: int8 (E, 3), FLAGS as 1 yes, 0 no, -1 unknown.
        initial: bool (E,), an initial exam on which neither cast nor metal was seen.
        findings: E, None where the exam has none.
    """

    exam_of_row: np.ndarray
    first_row: np.ndarray
    exam_id: np.ndarray
    patient_id: np.ndarray
    split: np.ndarray
    fracture: np.ndarray
    region_status: np.ndarray
    flags: np.ndarray
    initial: np.ndarray
    findings: tuple[Findings | None, ...]

    def __len__(self) -> int:
        return len(self.first_row)

    @classmethod
    def of(cls, store: EmbeddingStore) -> "Exams":
        """Group the rows of a store by exam.

        Raises:
            UserError: an exam or a patient lies in two splits, or findings cannot be read.
        """
        ids = store.ids
        exam_id, first_row, exam_of_row = np.unique(
            _text(store, "exam_id"), return_index=True, return_inverse=True
        )
        split = _text(store, "split")
        if (split != split[first_row][exam_of_row]).any():
            raise UserError("an exam has views in two splits: prepare the data set again")
        splits_of = set(zip(_text(store, "patient_id").tolist(), split.tolist(), strict=True))
        patients = [patient for patient, _ in splits_of if patient]
        if len(set(patients)) < len(patients):
            raise UserError("a patient has exams in two splits: prepare the data set again")
        flags = np.stack([_flag(store, name)[first_row] for name in FLAGS], axis=1)
        untreated = (flags[:, FLAGS.index("cast")] != 1) & (flags[:, FLAGS.index("hardware")] != 1)
        findings = ids["findings"].take(first_row).to_pylist()
        return cls(
            exam_of_row=exam_of_row,
            first_row=first_row,
            exam_id=exam_id,
            patient_id=_text(store, "patient_id")[first_row],
            split=split[first_row],
            fracture=_text(store, "fracture")[first_row],
            region_status=store.region_status[first_row],
            flags=flags,
            initial=(_flag(store, "initial_exam")[first_row] == 1) & untreated,
            findings=tuple(_findings(text) for text in findings),
        )


def _text(store: EmbeddingStore, name: str) -> np.ndarray:
    return np.asarray(store.ids[name].to_pylist(), dtype=np.str_)


def _flag(store: EmbeddingStore, name: str) -> np.ndarray:
    """int8 (N,): 1 yes, 0 no, -1 unknown."""
    return np.array([-1 if value is None else int(value) for value in store.ids[name].to_pylist()])


def _findings(text: str) -> Findings | None:
    if not text:
        return None
    try:
        return Findings.model_validate_json(text)
    except ValueError:
        # The text of the error would repeat the findings themselves.
        raise UserError("findings of an exam cannot be read: run embed again") from None
