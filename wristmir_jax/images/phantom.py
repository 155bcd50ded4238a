"""Phantoms: synthetic pediatric wrist exams with films, region boxes, findings and reports.

Everything here is drawn and written by this package; tables that rest on phantoms say so.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wristmir_jax.errors import UserError
from wristmir_jax.images import phantom_reports
from wristmir_jax.images.phantom_episodes import Exam, patient_exams
from wristmir_jax.images.phantom_findings import findings_of, visible
from wristmir_jax.images.phantom_parts import Field, Scene
from wristmir_jax.images.phantom_render import render
from wristmir_jax.images.phantom_scene import build, sample_pose
from wristmir_jax.reports.findings import Findings

SIZES = (64, 512)
# Films of one compiled call; few enough that they stay in the cache of a CPU.
_RENDER_BATCH = 16


@dataclass(frozen=True)
class PhantomView:
    """One film.

    Attributes:
        image_id: unique; starts with the exam's id.
        view: a name of `anatomy.VIEWS`.
        pixels: uint16 (S, S), bone bright, as acquired (a right wrist is not mirrored).
        boxes: float32 (R, 4), x0 y0 x1 y1 in pixels in the order of `anatomy.REGIONS`; NaN where
            the region is absent (not ossified, off the film) or not scored in this view.
        fracture_visible: whether a careful reader could see the injury on this film.
        pixel_spacing_mm: of both axes.
    """

    image_id: str
    view: str
    pixels: np.ndarray
    boxes: np.ndarray
    fracture_visible: bool
    pixel_spacing_mm: float


@dataclass(frozen=True)
class PhantomExam:
    """One study of one side.

    Attributes:
        exam_id, patient_id: unique names.
        laterality, sex: names of `anatomy.SIDES` and `anatomy.SEXES`.
        age_years: to a tenth.
        initial_exam: first exam of the injury, or a follow-up.
        codes: AO codes that the injury was drawn from.
        severity: 0..1 of its worst part, 0 where nothing is broken.
        findings: what the report says.
        report: free text.
        views: one or two films.
    """

    exam_id: str
    patient_id: str
    laterality: str
    sex: str
    age_years: float
    initial_exam: bool
    codes: tuple[str, ...]
    severity: float
    findings: Findings
    report: str
    views: list[PhantomView]


@dataclass(frozen=True)
class _Plan:
    """An exam and the scenes of its films."""

    seed: int
    patient: int
    exam: Exam
    scenes: list[Scene]
    boxes: list[np.ndarray]


def exams(
    num_exams: int, seed: int, image_size: int = 256, batch_size: int = 64
) -> Iterator[PhantomExam]:
    """The first `num_exams` exams of an endless series that depends on `seed` alone.

    Patients follow each other, each with all exams in order of time (the last patient's may be
    cut). An exam is the same whatever `num_exams` and `batch_size` are.

    Args:
        num_exams: how many.
        seed: of the series, >= 0.
        image_size: S, pixels a side, 64 to 512.
        batch_size: exams whose films are rendered before the first of them is returned.

    Raises:
        UserError: `image_size` is out of range.
    """
    if not SIZES[0] <= image_size <= SIZES[1]:
        raise UserError(
            f"image_size {image_size}: phantoms are drawn at {SIZES[0]} to {SIZES[1]} pixels"
        )
    plans = itertools.islice(_plans(seed, image_size), num_exams)
    while batch := list(itertools.islice(plans, batch_size)):
        films = _films([scene for plan in batch for scene in plan.scenes], image_size)
        for plan in batch:
            yield _finish(plan, list(itertools.islice(films, len(plan.scenes))))


def _plans(seed: int, image_size: int) -> Iterator[_Plan]:
    for patient in itertools.count():
        for exam in patient_exams(np.random.default_rng([seed, patient])):
            # Films have a generator of their own, so that sizes change no exam.
            rng = np.random.default_rng([seed, patient, exam.number, 1])
            built = [
                build(
                    exam.anatomy,
                    exam.injury,
                    exam.extras,
                    view,
                    exam.laterality,
                    sample_pose(exam.anatomy, image_size, rng),
                    image_size,
                )
                for view in exam.views
            ]
            scenes, boxes = zip(*built, strict=True)
            yield _Plan(seed, patient, exam, list(scenes), list(boxes))


def _films(scenes: list[Scene], size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(scenes), _RENDER_BATCH):
        chunk = scenes[start : start + _RENDER_BATCH]
        # One shape, one compilation.
        filled = chunk + [chunk[-1]] * (_RENDER_BATCH - len(chunk))
        yield from render(Scene(*map(np.stack, zip(*filled, strict=True))), size)[: len(chunk)]


def _finish(plan: _Plan, films: list[np.ndarray]) -> PhantomExam:
    exam, injury = plan.exam, plan.exam.injury
    patient_id = f"phantom-{plan.seed}-{plan.patient:06d}"
    exam_id = f"{patient_id}-{exam.number:02d}"
    rng = np.random.default_rng([plan.seed, plan.patient, exam.number, 2])
    findings = findings_of(exam, exam_id, rng)
    context = phantom_reports.Context(
        exam.anatomy.age_years, exam.anatomy.male, exam.initial, exam.weeks
    )
    views = [
        PhantomView(
            image_id=f"{exam_id}-{k}-{view}",
            view=view,
            pixels=film,
            boxes=boxes,
            fracture_visible=visible(injury, view),
            pixel_spacing_mm=float(scene.field[Field._fields.index("spacing")]),
        )
        for k, (view, film, boxes, scene) in enumerate(
            zip(exam.views, films, plan.boxes, plan.scenes, strict=True)
        )
    ]
    return PhantomExam(
        exam_id=exam_id,
        patient_id=patient_id,
        laterality=exam.laterality,
        sex="male" if exam.anatomy.male else "female",
        age_years=round(exam.anatomy.age_years, 1),
        initial_exam=exam.initial,
        codes=exam.codes,
        severity=injury.severity,
        findings=findings,
        report=phantom_reports.write(findings, context, rng),
        views=views,
    )
