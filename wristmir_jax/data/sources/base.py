"""What a source of radiographs gives: one `ExamImage` an input row, or a `Rejection`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from etils import epath

from wristmir_jax.data.labels import Labels
from wristmir_jax.data.record import UNKNOWN


@dataclass(frozen=True)
class ExamImage:
    """One radiograph before its pixels are read; small, and sent to worker processes.

    Attributes:
        film: path or URL of the file, or (H, W) pixels, bone bright.
        boxes: float32 (R, 4) in pixels of the film, NaN = absent, infinite = nobody can say;
            None: a localiser is asked.
        labels: what is known of the exam.
        axis_degrees: in (-180, 180], by which the forearm is turned counter-clockwise as one looks
            at the film; 0 = fingers up; NaN = not known, or no wrist.
        view, laterality, sex: names in `anatomy`.
        The others: as in `data.record.Record`.
    """

    image_id: str
    exam_id: str
    patient_id: str
    film: epath.PathLike | np.ndarray
    labels: Labels
    view: str = "unknown"
    laterality: str = "unknown"
    sex: str = "unknown"
    age_years: float = float("nan")
    initial_exam: int = UNKNOWN
    fracture_visible: int = UNKNOWN
    cast: int = UNKNOWN
    hardware: int = UNKNOWN
    osteopenia: int = UNKNOWN
    pixel_spacing_mm: float = float("nan")
    boxes: np.ndarray | None = None
    axis_degrees: float = float("nan")


@dataclass(frozen=True)
class Rejection:
    """Input rows that are set aside.

    Attributes:
        reason: a fixed phrase, by which rejections are counted.
        image: the image concerned, "" for none.
        row: the row of the input table (the first after the header is 1), None for none.
        detail: what exactly is wrong; never report text.
        count: how many rows; above 1 for a summary.
    """

    reason: str
    image: str = ""
    row: int | None = None
    detail: str = ""
    count: int = 1

    def to_json(self) -> str:
        """A line of `rejected.jsonl`, without the fields that are not known."""
        values: dict[str, object] = {"reason": self.reason}
        if self.image:
            values["image"] = self.image
        if self.row is not None:
            values["row"] = self.row
        if self.detail:
            values["detail"] = self.detail
        if self.count != 1:
            values["count"] = self.count
        return json.dumps(values)


@dataclass
class SourceInfo:
    """What is known of a source before it is read.

    Attributes:
        name, title, synthetic, regions: as in `data.record.DatasetInfo`.
        num_rows: how many rows `rows` will give, for the progress bar; None = not known.
        notes: lines for the account; complete once `rows` is exhausted.
    """

    name: str
    title: str
    synthetic: bool
    regions: tuple[str, ...]
    num_rows: int | None = None
    notes: list[str] = field(default_factory=list)


class Source(Protocol):
    """An input of `prepare`. A new one is a class like this and an entry in the command."""

    info: SourceInfo

    def rows(self, num_workers: int, progress: bool) -> Iterator[ExamImage | Rejection]:
        """Every input row once, in an order that depends on the input alone.

        Args:
            num_workers: processes that a source may use for work of its own.
            progress: whether to show the progress of that work on stderr.
        """
        ...
