"""The record of a data set: one radiograph of one exam, ready for training.

A prepared data set is a TFDS data set in ArrayRecord; this file settles its features, and the two
small files beside it: `wristmir.json` (`DatasetInfo`) and `<split>.index.parquet` (labels of every
record in record order, so that samplers need not read the pixels).
"""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

RECORD_VERSION = 2
SPLITS = ("train", "validation", "test")
INFO_FILE = "wristmir.json"

# Exam-level fracture label and three-valued flags.
UNKNOWN, NO, YES, UNCERTAIN = -1, 0, 1, 2


@dataclass
class Record:
    """One radiograph. R regions (may be 0), P phrasings a caption.

    Pixels are as acquired: right wrists are NOT mirrored here (what a person sees never is); the
    training step and the embedder mirror them when `laterality` is right.

    Attributes:
        image_id: unique name of the radiograph.
        exam_id: unique name of the exam (study + side); equal for the views of an exam.
        patient_id: splits are made by it, and hits of the same patient never count.
        view, laterality, sex: codes into anatomy.VIEWS, SIDES, SEXES.
        age_years: NaN where unknown.
        initial_exam, fracture_visible, cast, hardware, osteopenia: YES, NO or UNKNOWN.
        fracture: of the exam: YES, NO, UNCERTAIN or UNKNOWN.
        image: uint8 (S, S), the film letterboxed on black.
        crops: uint8 (R, C, C); zeros where absent.
        crop_present: uint8 (R,), 1 where the region has a crop.
        boxes: float32 (R, 4), x0 y0 x1 y1 in pixels of the original film; NaN where absent,
            infinite where nobody can say whether it is there.
        axis_degrees: how far the upright forearm is turned on the film, counter-clockwise as seen;
            crops are turned back by it, the film is not. NaN where unknown.
        original_size: int32 (2,), height and width of the original film in pixels.
        pixel_spacing_mm: NaN where unknown.
        region_status: uint8 (R,), codes into reports.findings.STATUSES, the exam's.
        caption: canonical caption of the exam; "" where there is none.
        caption_phrasings: P wordings of it for training (P >= 1; only the caption itself where it
            came ready-made).
        region_captions: R canonical captions, "" where not mentioned or absent.
        region_caption_phrasings: R x P wordings, region-major, "" where there is no caption.
        findings_json: `Findings` of the exam as JSON, "" where there are none.
        source_hash: 16 hex digits of the BLAKE2b of the source file's bytes, "" for rendered films.
    """

    image_id: str
    exam_id: str
    patient_id: str
    view: int
    laterality: int
    sex: int
    age_years: float
    initial_exam: int
    fracture_visible: int
    fracture: int
    cast: int
    hardware: int
    osteopenia: int
    image: np.ndarray
    crops: np.ndarray
    crop_present: np.ndarray
    boxes: np.ndarray
    axis_degrees: float
    original_size: np.ndarray
    pixel_spacing_mm: float
    region_status: np.ndarray
    caption: str
    caption_phrasings: list[str]
    region_captions: list[str]
    region_caption_phrasings: list[str]
    findings_json: str
    source_hash: str


class DatasetInfo(BaseModel):
    """`wristmir.json`: what a reader must know of the whole data set.

    Attributes:
        source: phantom, grazpedwri, fracatlas, folder, ...
        title: for tables and plots; says so where the wrists are synthetic or the captions were
            rendered from codes or a table.
        synthetic: whether the films are rendered.
        regions: names of the R regions, in the order of the arrays.
        image_size, crop_size: S and C in pixels.
        num_phrasings: P.
        localizer: what placed the regions of films that came without boxes: "prior", "none", or the
            name of a localiser ("package", or a path), followed by ":" and its fingerprint where it
            was used.
        num_records: records of each split.
        num_exams, num_patients: of each split.
        rejected: how many input rows were set aside, by reason.
    """

    model_config = ConfigDict(extra="forbid")

    record_version: int = RECORD_VERSION
    source: str
    title: str
    synthetic: bool
    regions: tuple[str, ...]
    image_size: int
    crop_size: int
    num_phrasings: int
    localizer: str = "prior"
    num_records: dict[str, int]
    num_exams: dict[str, int]
    num_patients: dict[str, int]
    rejected: dict[str, int]
