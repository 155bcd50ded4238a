"""What is asked of an index: a film, an exam that it holds, or a text, and whose exam that is."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from etils import epath

from wristmir_jax import anatomy
from wristmir_jax.errors import UserError
from wristmir_jax.images.localizing import (
    NO_BOXES,
    NONE,
    PRIOR,
    FilmBoxes,
    FilmLocalizer,
    SmallFilm,
    locate,
    open_localizer,
    read_record,
    without_cartilage,
)
from wristmir_jax.images.prepare import tower_inputs
from wristmir_jax.images.reading import Radiograph
from wristmir_jax.retrieval.export import ImageTextEmbedder
from wristmir_jax.retrieval.queries import Queries
from wristmir_jax.retrieval.store import GLOBAL_LEVEL
from wristmir_jax.retrieval.two_stage import Index

_OTHER_LOCALIZER = (
    "another localiser places the query's regions than placed those of the index: "
    "scores of regions are less certain"
)
_WRISTS = tuple(side for side in anatomy.SIDES if side != "unknown")


@dataclass(frozen=True)
class TextVectors:
    """A text's unit vectors.

    Attributes:
        of_wrist: float32 (D,), level "global".
        of_region: float32 (D_local,), of the level of the region asked for; None without one.
    """

    of_wrist: np.ndarray
    of_region: np.ndarray | None


@dataclass(frozen=True)
class Question:
    """A query, ready to be put to an index.

    Attributes:
        name: file, exam or text, as the user gave it.
        vectors: of the images of one exam, or of a text.
        patient_id: whose exam is asked with; None where that is not known.
        exam_id: the query's own exam in the index; None where there is none.
        shown_as: how a film was taken, for people; "" for other questions.
        notes: what the user should know, a line each.
    """

    name: str
    vectors: Queries | TextVectors
    patient_id: str | None = None
    exam_id: str | None = None
    shown_as: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FilmFacts:
    """What is known of a query film beside its pixels; None = not told.

    Where it is not told, it is taken from the index if the index holds the film. Otherwise the film
    is read as a left and as a right wrist, that side is taken which brings it nearest to a film of
    the index, and view and age are those of that film: what is alike has the same bones. Where that
    film's age is not known either, every region counts as bone.

    Attributes:
        view, laterality: names from `anatomy`.
        age_years: decides whether the ulnar styloid can be on the film.
        pixel_spacing_mm: decides how large a square the crops show; where it is not told and the
            index does not hold the film, the film's own, if its file says it.

    Raises:
        UserError: an unknown name, or a spacing that is not above 0.
    """

    view: str | None = None
    laterality: str | None = None
    age_years: float | None = None
    pixel_spacing_mm: float | None = None

    def __post_init__(self) -> None:
        if self.view is not None:
            anatomy.code(anatomy.VIEWS, self.view, "view")
        if self.laterality is not None:
            anatomy.code(anatomy.SIDES, self.laterality, "laterality")
        spacing = self.pixel_spacing_mm
        if spacing is not None and not 0 < spacing < math.inf:
            raise UserError(f"pixel_spacing_mm={spacing}: give millimetres a pixel, above 0")

    def completed(self, row: dict[str, Any]) -> "FilmFacts":
        """With what is not told as in the film's row of the index."""
        return FilmFacts(
            self.view or row["view"],
            self.laterality or row["laterality"],
            row["age_years"] if self.age_years is None else self.age_years,
            row["pixel_spacing_mm"] if self.pixel_spacing_mm is None else self.pixel_spacing_mm,
        )


def ask_with_film(
    index: Index,
    embedder: ImageTextEmbedder,
    film: Radiograph,
    name: str = "",
    facts: FilmFacts | None = None,
    localizer: str | FilmLocalizer | None = None,
) -> Question:
    """A radiograph, cropped and mirrored as `prepare` and `embed` do with films without boxes.

    A film of the index is recognised by its file's bytes, else by the file's name without suffix;
    then its exam and its patient are known.

    Args:
        embedder: of the model that made the index.
        film: as `images.reading.read_radiograph` gives it.
        name: of its file; "" for none.
        localizer: what places the regions: "package", "prior", "none", a path or a localiser of
            one's own; None takes what the data set of the index was prepared with. One that differs
            from it is told in a note.

    Raises:
        UserError: the index was made by another model, or the localiser cannot be opened.
    """
    index.check_model(embedder.model_fingerprint, "the embedder")
    row, notes = _known_film(index, film, epath.Path(name).stem)
    facts = facts or FilmFacts()
    regions, note = _find_regions(index, embedder.regions, film, localizer)
    notes += note
    if row is not None:
        facts = facts.completed(row)
    elif None in (facts.view, facts.laterality, facts.age_years):
        facts = _as_nearest(index, embedder, film, regions, facts)
        notes = (
            *notes,
            f"the film is taken as {_shown_as(facts, with_age=True)}, as the film of the index "
            "nearest to it: tell view, laterality and age where they are known",
        )
    question = Question(
        name=name or "the film",
        vectors=_embed(embedder, film, regions, facts),
        shown_as=_shown_as(facts),
        notes=notes,
    )
    return question if row is None else _of_row(question, row)


def ask_with_exam(index: Index, exam_id: str) -> Question:
    """An exam of the index, with all its films.

    Raises:
        UserError: the exam is not in the index.
    """
    question = Question(exam_id, index.query_from_exam(exam_id))
    row = int(index.exams.rows(index.exams.exam(exam_id))[0])
    return _of_row(question, _cells(index, row))


def ask_with_text(
    index: Index, embedder: ImageTextEmbedder, text: str, region: str | None = None
) -> Question:
    """Words, as a caption would say them.

    Args:
        embedder: of the model that made the index.
        region: the bone that the words are about; None for the whole wrist.

    Raises:
        UserError: the text is empty, the region is unknown, or the index was made by another model.
    """
    index.check_model(embedder.model_fingerprint, "the embedder")
    if not text.strip():
        raise UserError("the text to search for is empty")
    if region is not None:
        index.region(region)
    of_region = None if region is None else embedder.embed_texts([text], region)[0]
    return Question(
        f'"{text}"', TextVectors(embedder.embed_texts([text], GLOBAL_LEVEL)[0], of_region)
    )


def _find_regions(
    index: Index,
    regions: tuple[str, ...],
    film: Radiograph,
    localizer: str | FilmLocalizer | None,
) -> tuple[FilmBoxes, tuple[str, ...]]:
    """Where the regions lie (boxes None: where the prior says), and what to tell of it."""
    made_with, fingerprint = read_record(index.metadata.localizer)
    choice = made_with if localizer is None else localizer
    if not regions or choice == PRIOR:
        found, used = NO_BOXES, ""
    elif choice == NONE:
        found, used = FilmBoxes(np.full((len(regions), 4), np.nan, np.float32)), ""
    else:
        opened = open_localizer(choice) if isinstance(choice, str) else choice
        found = locate(opened, [SmallFilm.of(film.pixels)], regions)[0]
        used = opened.fingerprint
    # A data set of films that all came with boxes has no fingerprint: any localiser does for it.
    differs = used != fingerprint if fingerprint else made_with in (PRIOR, NONE) and bool(used)
    return found, (_OTHER_LOCALIZER,) if regions and differs else ()


def _embed(
    embedder: ImageTextEmbedder, film: Radiograph, regions: FilmBoxes, facts: FilmFacts
) -> Queries:
    assert facts.view is not None and facts.laterality is not None
    age = math.nan if facts.age_years is None else facts.age_years
    boxes = regions.boxes
    if boxes is not None:
        boxes = without_cartilage(boxes, embedder.regions, age)
    if facts.pixel_spacing_mm is not None:
        film = replace(film, spacing=facts.pixel_spacing_mm)
    inputs = tower_inputs(
        film,
        facts.view,
        facts.laterality,
        boxes,
        embedder.regions,
        embedder.image_size,
        embedder.crop_size,
        age,
        regions.axis_degrees,
    )
    present_1xR = inputs.crop_present[None].astype(bool)
    vectors = embedder.embed_images(
        inputs.image[None],
        inputs.crops[None],
        present_1xR,
        np.array([facts.laterality == anatomy.MIRRORED_SIDE]),
    )
    return Queries.of_images(*vectors, present_1xR)


def _as_nearest(
    index: Index,
    embedder: ImageTextEmbedder,
    film: Radiograph,
    regions: FilmBoxes,
    facts: FilmFacts,
) -> FilmFacts:
    """With what is not told: the side that brings it nearest to the index, the rest as there."""
    nearest: tuple[float, FilmFacts] | None = None
    for side in _WRISTS if facts.laterality is None else (facts.laterality,):
        vectors = _embed(
            embedder, film, regions, replace(facts, view=facts.view or "unknown", laterality=side)
        )
        rows, scores = index.coarse.search(vectors.global_embedding[0], 1)
        if nearest is None or scores[0, 0] > nearest[0]:
            film_there = _cells(index, int(rows[0, 0]))
            view = facts.view or film_there["view"]
            age = film_there["age_years"] if facts.age_years is None else facts.age_years
            nearest = float(scores[0, 0]), replace(facts, view=view, laterality=side, age_years=age)
    assert nearest is not None
    return nearest[1]


def _known_film(
    index: Index, film: Radiograph, stem: str
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The film's row of the index, None where it is not there, and what to tell of it."""
    rows = []
    if film.source_hash:
        rows = _rows_where(index, "source_hash", lambda value: value == film.source_hash)
    if rows:
        return _cells(index, rows[0]), ()
    if stem:
        # An image_id may be a path without suffix.
        rows = _rows_where(index, "image_id", lambda value: value.rsplit("/", 1)[-1] == stem)
    if len(rows) != 1:
        return None, ()
    return _cells(index, rows[0]), (
        "the index holds a film of this name with other content: this one is taken for a copy of "
        "it, of the same patient",
    )


def _rows_where(index: Index, column: str, meets: Callable[[str], bool]) -> list[int]:
    return [row for row, value in enumerate(index.ids[column].to_pylist()) if meets(value)]


def _cells(index: Index, row: int) -> dict[str, Any]:
    return index.ids.slice(row, 1).to_pylist()[0]


def _of_row(question: Question, row: dict[str, Any]) -> Question:
    return replace(question, patient_id=row["patient_id"] or None, exam_id=row["exam_id"])


def _shown_as(facts: FilmFacts, with_age: bool = False) -> str:
    view = {"pa": "PA"}.get(str(facts.view), facts.view)
    side = "unknown side" if facts.laterality == "unknown" else facts.laterality
    age = facts.age_years
    years = "" if not with_age or age is None or math.isnan(age) else f", {age:.0f} years old"
    return f"{view} view, {side}{years}"
