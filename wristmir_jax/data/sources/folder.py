"""A team's own radiographs: a manifest, and the files that it names."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from etils import epath
from pydantic import ValidationError

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.labels import CaptionLabels, FindingsLabels, Labels
from wristmir_jax.data.record import NO, UNKNOWN, YES
from wristmir_jax.data.sources import fields
from wristmir_jax.data.sources.base import ExamImage, Rejection, SourceInfo
from wristmir_jax.data.sources.boxes import read_boxes
from wristmir_jax.data.sources.fields import BadValue
from wristmir_jax.errors import UserError
from wristmir_jax.images.localizing import NO_BOXES
from wristmir_jax.json_lines import json_lines
from wristmir_jax.reports.captions import Captions
from wristmir_jax.reports.findings import SCHEMA_VERSION, Findings
from wristmir_jax.reports.union import union

MANIFESTS = ("manifest.csv", "manifest.jsonl")
COLUMNS = ("exam_id", "patient_id", "image_path", "view", "laterality", "age_years", "sex")
_CAPTION_PREFIX = "caption_"


class FolderSource:
    """Films named by `manifest.csv` or `manifest.jsonl`, a row an image.

    Needed columns: `COLUMNS` (cells of view, laterality, age_years, sex may be empty). Others that
    are read: `findings` (JSON) or ready captions `caption` and `caption_<region>`; `initial_exam`,
    `fracture_visible`, `cast`, `hardware`, `osteopenia` (yes, no or empty); `pixel_spacing_mm`;
    `image_id` (else the path without its suffix). Paths are relative to the manifest. Report text
    is not read: `mine` turns it into findings.

    An exam is one study of one side: where a study's rows are of both sides, it becomes two exams,
    `<exam_id>_left` and `<exam_id>_right`. The findings of an exam are the union over its rows, or
    over the lines of `findings_file` that name its exam_id and side.

    Args:
        path: the manifest, or its folder.
        findings_file: JSONL of `mine`; it replaces the column.
        boxes_file: JSONL of `localize`: image_id or image_path, and boxes by region in pixels
            (x0 y0 x1 y1), see `boxes.read_boxes`; a region that a line leaves out is absent. For
            images without a line a localiser is asked.

    Raises:
        UserError: a file is missing or cannot be read, or a column is missing.
    """

    def __init__(
        self,
        path: epath.PathLike,
        findings_file: epath.PathLike | None = None,
        boxes_file: epath.PathLike | None = None,
    ):
        self._manifest = _find_manifest(epath.Path(path))
        self._mined = _read_findings(epath.Path(findings_file)) if findings_file else None
        self._boxes = read_boxes(epath.Path(boxes_file)) if boxes_file else {}
        self._sides: dict[str, set[str]] = defaultdict(set)
        self._stated: dict[tuple[str, str], list[str]] = defaultdict(list)
        num_rows = self._survey()
        title = f"Radiographs of {self._manifest.parent.name or self._manifest.name}"
        self.info = SourceInfo("folder", title, False, REGION_NAMES, num_rows)

    def rows(self, num_workers: int, progress: bool) -> Iterator[ExamImage | Rejection]:
        without_labels = 0
        for number, row in enumerate(fields.read_table(self._manifest, COLUMNS), 1):
            try:
                if isinstance(row, BadValue):
                    raise row
                image = self._image(row)
            except BadValue as error:
                name = "" if isinstance(row, BadValue) else fields.text(row.get("image_path"))
                yield Rejection(error.reason, name, number, error.detail)
                continue
            empty = CaptionLabels(Captions("", {}))
            without_labels += image.labels == empty
            yield image
        self.info.notes = []
        if without_labels:
            self.info.notes.append(
                f"{without_labels} radiographs have neither findings nor captions: "
                "`mine` makes findings of reports, --findings joins them"
            )

    def _survey(self) -> int:
        """One pass over the manifest: the sides and stated findings of every exam."""
        count = 0
        for row in fields.read_table(self._manifest, COLUMNS):
            count += 1
            if isinstance(row, BadValue):
                continue
            if count == 1:
                _check_caption_columns(row, self._manifest)
            try:
                exam, side = self._exam_and_side(row)
                findings = _findings_json(row)
            except BadValue:
                continue
            self._sides[exam].add(side)
            if findings and self._mined is None and findings not in self._stated[exam, side]:
                self._stated[exam, side].append(findings)
        if not count:
            raise UserError(f"{self._manifest} holds no row: it needs a row an image")
        return count

    @staticmethod
    def _exam_and_side(row: dict[str, Any]) -> tuple[str, str]:
        return (
            fields.required(row["exam_id"], "exam_id"),
            fields.name(row["laterality"], "laterality"),
        )

    def _image(self, row: dict[str, Any]) -> ExamImage:
        study, side = self._exam_and_side(row)
        both = {"left", "right"} <= self._sides[study]
        exam_id = f"{study}_{side}" if both else study
        _findings_json(row)
        image_path = fields.required(row["image_path"], "image_path")
        image_id = fields.text(row.get("image_id")) or str(epath.Path(image_path).with_suffix(""))
        findings = self._findings(study, side, exam_id)
        labels: Labels
        labels = FindingsLabels(findings) if findings else _ready_captions(row)
        located = self._boxes.get(image_id, self._boxes.get(image_path, NO_BOXES))
        return ExamImage(
            image_id=image_id,
            exam_id=exam_id,
            patient_id=fields.required(row["patient_id"], "patient_id"),
            film=self._manifest.parent / image_path,
            labels=labels,
            view=fields.name(row["view"], "view"),
            laterality=side,
            sex=fields.name(row["sex"], "sex"),
            age_years=fields.age(row["age_years"]),
            initial_exam=fields.flag(row.get("initial_exam"), "initial_exam"),
            fracture_visible=fields.flag(row.get("fracture_visible"), "fracture_visible"),
            cast=_flag(row, "cast", findings.cast if findings else None),
            hardware=_flag(row, "hardware", findings.hardware if findings else None),
            osteopenia=_flag(row, "osteopenia", findings.osteopenia if findings else None),
            pixel_spacing_mm=fields.spacing(row.get("pixel_spacing_mm")),
            boxes=located.boxes,
            axis_degrees=located.axis_degrees,
        )

    def _findings(self, study: str, side: str, exam_id: str) -> Findings | None:
        if self._mined is None:
            stated = self._stated.get((study, side), [])
        else:
            stated = _of_side(self._mined.get(study, []), side, self._sides[study])
        parsed = [Findings.model_validate_json(item) for item in stated]
        if not parsed:
            return None
        known = side if side != "unknown" else parsed[0].laterality
        parsed = [
            item.model_copy(update={"exam_id": exam_id, "laterality": known}) for item in parsed
        ]
        return parsed[0] if len(parsed) == 1 else union(parsed)


def _read_findings(path: epath.Path) -> dict[str, list[str]]:
    """Findings as JSON, by exam_id as it stands in the file."""
    found: dict[str, list[str]] = defaultdict(list)
    for number, line in json_lines(path, "findings"):
        version = line.get("schema_version")
        if version != SCHEMA_VERSION:
            raise UserError(
                f"{path}, line {number}: schema_version {version}, this version reads "
                f"{SCHEMA_VERSION}: mine the reports again"
            )
        exam = line.get("exam_id")
        try:
            values = {"exam_id": exam} | dict(line["findings"])
            findings = Findings.model_validate(values)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}, line {number}: {_why(error)}: mine the reports again"
            ) from None
        found[findings.exam_id if exam is None else str(exam)].append(findings.model_dump_json())
    return found


def _of_side(mined: list[str], side: str, sides_of_study: set[str]) -> list[str]:
    """Of the findings of a study, those that are of films of `side`."""
    by_side: dict[str, list[str]] = defaultdict(list)
    for item in mined:
        by_side[json.loads(item)["laterality"]].append(item)
    if side in by_side:
        return by_side[side]
    # What names no side, or films that name none, match only where there is one side.
    one_side = len(sides_of_study - {"unknown"}) <= 1 and len(by_side) == 1
    if one_side and (side == "unknown" or "unknown" in by_side):
        return next(iter(by_side.values()))
    return []


def _find_manifest(path: epath.Path) -> epath.Path:
    if path.suffix in (".csv", ".jsonl") and not path.is_dir():
        if not path.exists():
            raise UserError(f"{path} does not exist: check --input")
        return path
    found = [path / name for name in MANIFESTS if (path / name).exists()]
    if not found:
        problem = "holds neither" if path.exists() else "does not exist; it needs"
        raise UserError(f"{path} {problem} {' nor '.join(MANIFESTS)}: check --input")
    if len(found) > 1:
        raise UserError(f"{path} holds {' and '.join(MANIFESTS)}: name one with --input")
    return found[0]


def _check_caption_columns(row: dict[str, Any], path: epath.Path) -> None:
    for column in row:
        region = column.removeprefix(_CAPTION_PREFIX)
        if column.startswith(_CAPTION_PREFIX) and region not in REGION_NAMES:
            raise UserError(
                f"{path}: column {column!r}: unknown region {region!r}: "
                f"choose of {', '.join(REGION_NAMES)}"
            )


def _findings_json(row: dict[str, Any]) -> str:
    """The row's findings, validated, as JSON; "" for none."""
    value = row.get("findings")
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    try:
        values = json.loads(value) if isinstance(value, str) else value
        return Findings.model_validate(
            {"exam_id": fields.text(row["exam_id"])} | values
        ).model_dump_json()
    except (TypeError, ValueError) as error:
        raise BadValue("findings are not valid", _why(error)) from None


def _ready_captions(row: dict[str, Any]) -> CaptionLabels:
    regions = {name: fields.text(row.get(_CAPTION_PREFIX + name)) for name in REGION_NAMES}
    regions = {name: caption for name, caption in regions.items() if caption}
    return CaptionLabels(Captions(fields.text(row.get("caption")), regions))


def _flag(row: dict[str, Any], column: str, found: bool | None) -> int:
    stated = fields.flag(row.get(column), column)
    if stated != UNKNOWN or found is None:
        return stated
    return YES if found else NO


def _why(error: Exception) -> str:
    """Which field is wrong, without the value: that may be report text."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"findings.{'.'.join(str(part) for part in first['loc'])}: {first['type']}"
    return "findings are missing or no JSON object"
