"""The report's gallery: test exams with what both searches found, as a person would see them.

Films are shown as acquired, never mirrored, and no name of a patient or exam is shown.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from wristmir_jax import anatomy
from wristmir_jax.benchmark import relevance
from wristmir_jax.benchmark.exams import Exams
from wristmir_jax.benchmark.ranking import TrainGallery
from wristmir_jax.benchmark.region_retrieval import Setting
from wristmir_jax.data.dataset import Dataset
from wristmir_jax.data.record import SPLITS
from wristmir_jax.errors import UserError
from wristmir_jax.reports.findings import STATUSES
from wristmir_jax.retrieval.store import EmbeddingStore

NUM_QUERIES = 8
NUM_HITS = 4
_SEED = 0

# Wider pictures only make the page heavy.
_FILM_PIXELS, _CROP_PIXELS = 256, 128

_STATUS_WORDS = {
    "fracture": "fractured",
    "no_fracture": "not fractured",
    "uncertain": "uncertain",
    "not_mentioned": "not mentioned",
}
_FRACTURE_STATUS = {"yes": "fracture", "no": "no_fracture", "uncertain": "uncertain"}


@dataclass(frozen=True)
class Picture:
    """One exam of the gallery.

    Attributes:
        film, crop: data URIs of PNGs; crop is "" where there is none.
        box: left, top, width, height of the region on the film in percent, None where unknown.
        facts: view, side, age and sex.
        caption: of the region in question, or of the wrist where there is none.
        status: of the region in words.
        agreement: "same", "other" or "unknown" against the query's status; "" for the query.
        grade: graded relevance 0 to 4, None where the query's bone is not fractured.
        score: of the search, None for the query.
    """

    film: str
    crop: str
    box: tuple[float, float, float, float] | None
    facts: str
    caption: str
    status: str
    agreement: str
    grade: int | None
    score: float | None


@dataclass(frozen=True)
class Example:
    """A query and what each search found for it.

    Attributes:
        region: the bone in question in words; "" where the data set has no regions.
        query: the query exam.
        found: (name of the search, its first hits).
    """

    region: str
    query: Picture
    found: tuple[tuple[str, tuple[Picture, ...]], ...]


def examples(
    store: EmbeddingStore,
    exams: Exams,
    gallery: TrainGallery,
    setting: Setting | None,
    dataset: epath.PathLike,
) -> tuple[Example, ...]:
    """Queries drawn at random with a fixed seed: fractured and sound bones of every region.

    Args:
        setting: of the second stage; None shows the global search only.
        dataset: the data set that was embedded.

    Raises:
        UserError: the data set cannot be read, or is not the one that was embedded.
    """
    painter = _Painter(store, exams, Dataset(dataset))
    shown = []
    for query, region in _draw(exams, store):
        searches = [("Global only", gallery.rank(np.array([query]), None))]
        if region is not None and setting is not None:
            searches.append(
                (
                    "Two-stage",
                    gallery.rank(
                        np.array([query]), region, setting.region_weight, setting.num_candidates
                    ),
                )
            )
        found = tuple(
            (
                name,
                tuple(
                    painter.hit(query, int(exam), region, float(score))
                    for exam, score in zip(
                        ranking.exams[0, :NUM_HITS], ranking.scores[0, :NUM_HITS], strict=True
                    )
                    if exam >= 0
                ),
            )
            for name, ranking in searches
        )
        label = anatomy.region(region).label if region else ""
        shown.append(Example(label, painter.query(query, region), found))
    return tuple(shown)


def _draw(exams: Exams, store: EmbeddingStore) -> list[tuple[int, str | None]]:
    """Test exams and the region asked for: each region fractured, then sound, then again."""
    order = np.random.default_rng(_SEED).permutation(np.flatnonzero(exams.split == "test"))
    regions: Sequence[str | None] = store.metadata.regions or (None,)
    wanted = [
        (region, status)
        for status in ("fracture", "no_fracture") * NUM_QUERIES
        for region in regions
    ]
    drawn: dict[int, str | None] = {}
    for region, status in wanted:
        if len(drawn) == NUM_QUERIES:
            break
        for exam in order:
            if (
                exam not in drawn
                and _status(store, exams, exam, region) == status
                and _row_with(store, exams, exam, region) is not None
            ):
                drawn[int(exam)] = region
                break
    return list(drawn.items())


def _status(store: EmbeddingStore, exams: Exams, exam: int, region: str | None) -> str:
    if region is None:
        return _FRACTURE_STATUS.get(str(exams.fracture[exam]), "not_mentioned")
    return STATUSES[exams.region_status[exam, store.metadata.regions.index(region)]]


def _row_with(
    store: EmbeddingStore, exams: Exams, exam: int, region: str | None, view: str = ""
) -> int | None:
    """A row of the exam that shows the region, of that view if there is one."""
    rows = np.flatnonzero(exams.exam_of_row == exam)
    if region is not None:
        rows = rows[store.region_present[rows, store.metadata.regions.index(region)]]
    if not len(rows):
        return None
    views = store.ids["view"].take(rows).to_pylist()
    return int(rows[views.index(view)] if view in views else rows[0])


class _Painter:
    def __init__(self, store: EmbeddingStore, exams: Exams, dataset: Dataset):
        self._store, self._exams = store, exams
        counts = {name: dataset.info.num_records.get(name, 0) for name in SPLITS}
        if dataset.info.regions != store.metadata.regions or any(
            counts[name] != store.metadata.splits.get(name, 0) for name in SPLITS
        ):
            raise UserError(f"{dataset.directory} is not the data set that was embedded")
        self._sources = {name: dataset.source(name) for name in ("train", "test")}
        self._codes: dict[str, relevance.RegionCodes] = {}

    def query(self, exam: int, region: str | None) -> Picture:
        return self._picture(exam, region, "", "", None, None)

    def hit(self, query: int, exam: int, region: str | None, score: float) -> Picture:
        asked = _status(self._store, self._exams, query, region)
        found = _status(self._store, self._exams, exam, region)
        definite = ("fracture", "no_fracture")
        agreement = "unknown"
        if asked in definite and found in definite:
            agreement = "same" if asked == found else "other"
        grade = None
        if region is not None and asked == "fracture" and self._exams.findings[query] is not None:
            if region not in self._codes:
                self._codes[region] = relevance.RegionCodes.of(self._exams.findings, region)
            codes = self._codes[region]
            grade = int(
                relevance.grade(codes.take(np.array([query])), codes.take(np.array([exam])))[0, 0]
            )
        row = _row_with(self._store, self._exams, query, region)
        view = "" if row is None else self._store.ids["view"][row].as_py()
        return self._picture(exam, region, view, agreement, grade, score)

    def _picture(
        self,
        exam: int,
        region: str | None,
        view: str,
        agreement: str,
        grade: int | None,
        score: float | None,
    ) -> Picture:
        store = self._store
        with_crop = _row_with(store, self._exams, exam, region, view)
        row = with_crop if with_crop is not None else int(self._exams.first_row[exam])
        cell = {name: store.ids[name][row].as_py() for name in store.ids.column_names}
        record = self._sources[cell["split"]][cell["record_index"]]
        if record["image_id"] != cell["image_id"]:
            raise UserError("the data set holds other films than those that were embedded")
        crop, box = "", None
        if region is not None and with_crop is not None:
            r = store.metadata.regions.index(region)
            crop = _png(record["crops"][r], _CROP_PIXELS)
            box = box_on_letterbox(record["boxes"][r], record["original_size"])
        return Picture(
            film=_png(record["image"], _FILM_PIXELS),
            crop=crop,
            box=box,
            facts=facts_of(cell),
            caption=cell[f"{region}_caption" if region else "caption"],
            status=_STATUS_WORDS[_status(store, self._exams, exam, region)],
            agreement=agreement,
            grade=grade,
            score=score,
        )


def facts_of(cell: dict[str, Any]) -> str:
    """View, side, age, sex and treatment, as far as they are known, of a row of the store."""
    view = {"pa": "PA", "unknown": ""}.get(cell["view"], cell["view"])
    side = "" if cell["laterality"] == "unknown" else cell["laterality"]
    age = "" if cell["age_years"] is None else f"{cell['age_years']:.0f} y"
    sex = "" if cell["sex"] == "unknown" else cell["sex"]
    treated = [name for name in ("cast", "hardware") if cell[name]]
    return " · ".join(fact for fact in (view, side, age, sex, *treated) if fact)


def box_on_letterbox(
    box: np.ndarray, original_size: np.ndarray
) -> tuple[float, float, float, float] | None:
    """A box in pixels of the film, in percent of the square that the film is letterboxed to."""
    height, width = (float(side) for side in original_size)
    if not np.isfinite(box).all() or not height or not width:
        return None
    side = max(height, width)
    left, right = (np.clip(box[[0, 2]], 0, width) + (side - width) / 2) / side * 100
    top, bottom = (np.clip(box[[1, 3]], 0, height) + (side - height) / 2) / side * 100
    return float(left), float(top), float(right - left), float(bottom - top)


def _png(pixels: np.ndarray, largest: int) -> str:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
