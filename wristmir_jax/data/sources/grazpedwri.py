"""GRAZPEDWRI-DX (Nagy et al., Scientific Data 2022): pediatric wrist films with AO codes.

There are no reports: findings come from the AO codes, and titles say so. A code belongs to the
study, and same-side films of a study can carry different ones, so an exam's findings are the union
over its films'.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from etils import epath

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.labels import FindingsLabels
from wristmir_jax.data.record import NO, YES
from wristmir_jax.data.sources import fields
from wristmir_jax.data.sources.base import ExamImage, Rejection, SourceInfo
from wristmir_jax.data.sources.boxes import read_boxes
from wristmir_jax.data.sources.fields import BadValue
from wristmir_jax.errors import UserError
from wristmir_jax.images.localizing import NO_BOXES
from wristmir_jax.reports.ao_codes import findings_from_ao, normalise
from wristmir_jax.reports.findings import Findings
from wristmir_jax.reports.union import union

TABLE = "dataset.csv"
COLUMNS = (
    "filestem",
    "patient_id",
    "study_number",
    "gender",
    "age",
    "laterality",
    "projection",
    "initial_exam",
    "ao_classification",
    "cast",
    "diagnosis_uncertain",
    "osteopenia",
    "fracture_visible",
    "metal",
    "pixel_spacing",
)
_VIEWS = {"1": "pa", "2": "lateral", "3": "oblique"}
_IMAGE_PATTERNS = ("*.png", "*/*.png", "*/*/*.png")


@dataclass
class _Exam:
    """What the rows of one study and side say together."""

    codes: set[tuple[str, bool]] = field(default_factory=set)
    views: set[str] = field(default_factory=set)
    cast: bool = False
    metal: bool = False
    osteopenia: bool = False


class GrazpedwriSource:
    """The public set: `dataset.csv`, and PNGs up to two folders below it, found by file stem.

    An empty flag means no. Rows without a file are set aside in one summary.

    Args:
        path: folder with `dataset.csv`; the films lie in `images/`, `images_part1/` ...
        boxes_file: JSONL of `localize`, see `boxes.read_boxes`; image_id is the file stem.

    Raises:
        UserError: the table is missing or lacks a column.
    """

    def __init__(self, path: epath.PathLike, boxes_file: epath.PathLike | None = None):
        folder = epath.Path(path)
        self._rows = list(fields.read_table(folder / TABLE, COLUMNS))
        self._files = _films(folder)
        self._boxes = read_boxes(epath.Path(boxes_file)) if boxes_file else {}
        self._exams: dict[str, _Exam] = defaultdict(_Exam)
        slips: Counter[str] = Counter()
        for row in self._rows:
            if isinstance(row, dict):
                self._survey(row, slips)
        self.info = SourceInfo(
            "grazpedwri",
            "GRAZPEDWRI-DX (real wrists, captions rendered from AO codes)",
            False,
            REGION_NAMES,
            len(self._rows),
            [f"spelling slip in {count} rows: {slip}" for slip, count in sorted(slips.items())],
        )

    def rows(self, num_workers: int, progress: bool) -> Iterator[ExamImage | Rejection]:
        missing = 0
        for number, row in enumerate(self._rows, 1):
            if isinstance(row, BadValue):
                yield Rejection(row.reason, row=number)
                continue
            stem = fields.text(row["filestem"])
            if stem not in self._files:
                missing += 1
                continue
            try:
                yield self._image(stem, row)
            except BadValue as error:
                yield Rejection(error.reason, stem, number, error.detail)
        if missing:
            yield Rejection("no image file", count=missing)

    def _survey(self, row: dict[str, Any], slips: Counter[str]) -> None:
        try:
            exam = self._exams[_exam_id(row)]
            view = _view(row)
        except BadValue:
            return
        value = fields.text(row["ao_classification"])
        exam.codes.add((value, _flag(row, "diagnosis_uncertain")))
        exam.views.add(view)
        exam.cast |= _flag(row, "cast")
        exam.metal |= _flag(row, "metal")
        exam.osteopenia |= _flag(row, "osteopenia")
        try:
            slips.update(normalise(value)[1])
        except UserError:
            return  # Its films are set aside.

    def _findings(self, exam_id: str, laterality: str) -> Findings:
        exam = self._exams[exam_id]
        try:
            return union(
                [
                    findings_from_ao(
                        value,
                        exam_id,
                        laterality,  # pyright: ignore[reportArgumentType]
                        exam.cast,
                        exam.metal,
                        exam.osteopenia,
                        uncertain,
                        sorted(exam.views),  # pyright: ignore[reportArgumentType]
                    )
                    for value, uncertain in sorted(exam.codes)
                ]
            )
        except UserError as error:
            raise BadValue("unknown AO code", str(error)) from None

    def _image(self, stem: str, row: dict[str, Any]) -> ExamImage:
        exam_id = _exam_id(row)
        laterality = fields.name(row["laterality"], "laterality")
        located = self._boxes.get(stem, NO_BOXES)
        return ExamImage(
            image_id=stem,
            exam_id=exam_id,
            patient_id=fields.required(row["patient_id"], "patient_id"),
            film=self._files[stem],
            labels=FindingsLabels(self._findings(exam_id, laterality)),
            view=_view(row),
            laterality=laterality,
            sex=fields.name(row["gender"], "sex"),
            age_years=fields.age(row["age"]),
            initial_exam=_code(row, "initial_exam"),
            fracture_visible=_code(row, "fracture_visible"),
            cast=_code(row, "cast"),
            hardware=_code(row, "metal"),
            osteopenia=_code(row, "osteopenia"),
            pixel_spacing_mm=fields.spacing(row["pixel_spacing"]),
            boxes=located.boxes,
            axis_degrees=located.axis_degrees,
        )


def _films(folder: epath.Path) -> dict[str, str]:
    """PNGs by stem; where several folders hold one, the first in order of name counts."""
    films: dict[str, str] = {}
    for pattern in _IMAGE_PATTERNS:
        for file in sorted(folder.glob(pattern)):
            films.setdefault(file.stem, str(file))
    return films


def _exam_id(row: dict[str, Any]) -> str:
    """Study + side."""
    patient = fields.required(row["patient_id"], "patient_id")
    study = fields.required(row["study_number"], "study_number")
    return f"{patient}_{study}_{fields.name(row['laterality'], 'laterality')}"


def _view(row: dict[str, Any]) -> str:
    cell = fields.text(row["projection"])
    if cell not in _VIEWS:
        raise BadValue("unknown projection", cell)
    return _VIEWS[cell]


def _flag(row: dict[str, Any], column: str) -> bool:
    return fields.flag(row[column], column) == YES


def _code(row: dict[str, Any], column: str) -> int:
    return YES if _flag(row, column) else NO
