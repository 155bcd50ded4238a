"""Phantoms: synthetic pediatric wrist exams with films, region boxes, findings and reports.

Everything here is drawn and written by this package; tables that rest on phantoms say so.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from wristmir_jax.errors import UserError
from wristmir_jax.images import phantom_others, phantom_reports
from wristmir_jax.images.phantom_anatomy import sample_anatomy
from wristmir_jax.images.phantom_episodes import Exam, patient_exams
from wristmir_jax.images.phantom_findings import findings_of, visible
from wristmir_jax.images.phantom_fractures import Injury
from wristmir_jax.images.phantom_parts import Field, Scene
from wristmir_jax.images.phantom_render import render
from wristmir_jax.images.phantom_scene import (
    Extras,
    Pose,
    axis_degrees,
    build,
    build_other,
    sample_disturbed_pose,
    sample_extras,
    sample_pose,
)
from wristmir_jax.reports.findings import Findings

SIZES = (64, 512)
# Films of one compiled call; few enough that they stay in the cache of a CPU.
_RENDER_BATCH = 16
# Of the patients that stand for a film without a wrist, which has no second film: about a tenth of
# all films where a patient with a wrist has three.
_OTHER_PATIENTS = 0.26
_MOST_DISTURBANCE = 3.0


@dataclass(frozen=True)
class PhantomView:
    """One film.

    Attributes:
        image_id: unique; starts with the exam's id.
        view: a name of `anatomy.VIEWS`; "unknown" where no wrist is shown.
        pixels: uint16 (S, S), bone bright, as acquired (a right wrist is not mirrored).
        boxes: float32 (R, 4), x0 y0 x1 y1 in pixels in the order of `anatomy.REGIONS`; NaN where
            the region is absent (not ossified, off the film or the collimated field) or not scored
            in this view. Each is the axis-aligned hull, cut at the film's edge, of the region's
            box on the upright wrist, turned by `axis_degrees`.
        fracture_visible: whether a careful reader could see the injury on this film.
        pixel_spacing_mm: of both axes.
        axis_degrees: in (-180, 180], by which the forearm is turned counter-clockwise as one looks
            at the film; 0 = fingers up; NaN where no wrist is shown. It is given, too, where the
            field cuts the wrist so that no region is left.
    """

    image_id: str
    view: str
    pixels: np.ndarray
    boxes: np.ndarray
    fracture_visible: bool
    pixel_spacing_mm: float
    axis_degrees: float


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
        views: one to three films.
        shows_wrist: False for a single film of another part of the body; nothing else is known.
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
    shows_wrist: bool = True


@dataclass(frozen=True)
class _Plan:
    """An exam and the scenes of its films; `subject` is what they show."""

    seed: int
    patient: int
    exam: Exam
    scenes: list[Scene]
    boxes: list[np.ndarray]
    axes: list[float]
    subject: str = "wrist"


def exams(
    num_exams: int,
    seed: int,
    image_size: int = 256,
    batch_size: int = 64,
    disturbance: float = 0.0,
    even_ages: float = 0.0,
) -> Iterator[PhantomExam]:
    """The first `num_exams` exams of an endless series that depends on `seed` alone.

    Patients follow each other, each with all exams in order of time (the last patient's may be
    cut). An exam is the same whatever `num_exams` and `batch_size` are.

    Args:
        num_exams: how many.
        seed: of the series, >= 0.
        image_size: S, pixels a side, 64 to 512.
        batch_size: exams whose films are rendered before the first of them is returned.
        disturbance: how far films are from tidy, 0 to 3. 0: upright, well collimated and exposed.
            1: any pose, field of view, collimation, exposure and processing, casts and metal, and
            about a tenth of the films show no wrist at all. Above: more and stronger.
        even_ages: 0 to 1, part of the patients whose age is any of 0.5 to 18.9 years alike; the
            others are as old as those of the real metadata, few of whom are below 6.

    Raises:
        UserError: `image_size`, `disturbance` or `even_ages` is out of range.
    """
    if not SIZES[0] <= image_size <= SIZES[1]:
        raise UserError(
            f"image_size {image_size}: phantoms are drawn at {SIZES[0]} to {SIZES[1]} pixels"
        )
    if not 0.0 <= disturbance <= _MOST_DISTURBANCE:
        raise UserError(f"disturbance {disturbance}: choose 0 (tidy) to {_MOST_DISTURBANCE:g}")
    if not 0.0 <= even_ages <= 1.0:
        raise UserError(f"even_ages {even_ages}: it is a part of all patients, 0 to 1")
    plans = itertools.islice(_plans(seed, image_size, disturbance, even_ages), num_exams)
    while batch := list(itertools.islice(plans, batch_size)):
        films = _films([scene for plan in batch for scene in plan.scenes], image_size)
        for plan in batch:
            yield _finish(plan, list(itertools.islice(films, len(plan.scenes))))


def _plans(seed: int, image_size: int, disturbance: float, even_ages: float) -> Iterator[_Plan]:
    for patient in itertools.count():
        if disturbance > 0:
            rng = np.random.default_rng([seed, patient, 3])
            if rng.random() < _OTHER_PATIENTS * min(disturbance, 1.0):
                yield _other(seed, patient, image_size, disturbance, rng)
                continue
        for exam in patient_exams(np.random.default_rng([seed, patient]), even_ages):
            # Films have a generator of their own, so that sizes change no exam.
            rng = np.random.default_rng([seed, patient, exam.number, 1])
            if disturbance > 0:
                extras = sample_extras(exam.extras, disturbance, rng)
                yield _plan(
                    seed, patient, replace(exam, extras=extras), image_size, disturbance, rng
                )
            else:
                yield _plan(seed, patient, exam, image_size, disturbance, rng)


def _plan(
    seed: int,
    patient: int,
    exam: Exam,
    image_size: int,
    disturbance: float,
    rng: np.random.Generator,
) -> _Plan:
    scenes, boxes, axes = [], [], []
    for view in exam.views:
        if disturbance > 0:
            pose = sample_disturbed_pose(exam.anatomy, image_size, disturbance, rng)
        else:
            pose = sample_pose(exam.anatomy, image_size, rng)
        scene, found = _built(exam, view, pose, image_size)
        scenes.append(scene)
        boxes.append(found)
        axes.append(axis_degrees(pose, exam.laterality))
    return _Plan(seed, patient, exam, scenes, boxes, axes)


def _built(exam: Exam, view: str, pose: Pose, size: int) -> tuple[Scene, np.ndarray]:
    return build(exam.anatomy, exam.injury, exam.extras, view, exam.laterality, pose, size)


def _other(
    seed: int, patient: int, image_size: int, disturbance: float, rng: np.random.Generator
) -> _Plan:
    """One film without a wrist."""
    subject = str(rng.choice(phantom_others.SUBJECTS))
    anatomy = sample_anatomy(rng.uniform(2.0, 18.9), bool(rng.random() < 0.5), rng)
    exam = Exam(
        number=0,
        laterality=str(rng.choice(("left", "right"))),
        anatomy=anatomy,
        initial=True,
        weeks=0.0,
        codes=(),
        injury=Injury(),
        extras=Extras(),
        uncertain=False,
        views=(str(rng.choice(("pa", "lateral"))),),
    )
    drawn_here = subject in phantom_others.DRAWN_HERE
    pose = sample_disturbed_pose(
        anatomy, image_size, disturbance, rng, "other" if drawn_here else subject
    )
    scene, boxes = _built(exam, exam.views[0], pose, image_size)
    if drawn_here:
        scene = build_other(subject, scene, pose, image_size, rng)
    return _Plan(
        seed, patient, exam, [scene], [boxes], [axis_degrees(pose, exam.laterality)], subject
    )


def _films(scenes: list[Scene], size: int) -> Iterator[np.ndarray]:
    """Films in the order of `scenes`; scenes of the same shapes are drawn together."""
    groups: dict[tuple, list[int]] = {}
    for index, scene in enumerate(scenes):
        groups.setdefault(tuple(array.shape for array in scene), []).append(index)
    films: list[np.ndarray | None] = [None] * len(scenes)
    for indices in groups.values():
        for start in range(0, len(indices), _RENDER_BATCH):
            chunk = indices[start : start + _RENDER_BATCH]
            # One shape, one compilation.
            filled = chunk + [chunk[-1]] * (_RENDER_BATCH - len(chunk))
            arrays = zip(*(scenes[index] for index in filled), strict=True)
            drawn = render(Scene(*map(np.stack, arrays)), size)
            for index, film in zip(chunk, drawn, strict=False):
                films[index] = film
    return (film for film in films if film is not None)


def _finish(plan: _Plan, films: list[np.ndarray]) -> PhantomExam:
    exam, injury = plan.exam, plan.exam.injury
    patient_id = f"phantom-{plan.seed}-{plan.patient:06d}"
    exam_id = f"{patient_id}-{exam.number:02d}"
    views = [
        PhantomView(
            image_id=f"{exam_id}-{k}-{view}",
            view=view,
            pixels=film,
            boxes=boxes,
            fracture_visible=visible(injury, view),
            pixel_spacing_mm=float(scene.field[Field._fields.index("spacing")]),
            axis_degrees=axis,
        )
        for k, (view, film, boxes, scene, axis) in enumerate(
            zip(exam.views, films, plan.boxes, plan.scenes, plan.axes, strict=True)
        )
    ]
    if plan.subject != "wrist":
        return _without_wrist(plan, exam_id, patient_id, views)
    rng = np.random.default_rng([plan.seed, plan.patient, exam.number, 2])
    findings = findings_of(exam, exam_id, rng)
    context = phantom_reports.Context(
        exam.anatomy.age_years, exam.anatomy.male, exam.initial, exam.weeks
    )
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


def _without_wrist(
    plan: _Plan, exam_id: str, patient_id: str, views: list[PhantomView]
) -> PhantomExam:
    return PhantomExam(
        exam_id=exam_id,
        patient_id=patient_id,
        laterality="unknown",
        sex="unknown",
        age_years=round(plan.exam.anatomy.age_years, 1),
        initial_exam=True,
        codes=(),
        severity=0.0,
        findings=Findings(exam_id=exam_id),
        report="The wrist is not shown on this film.",
        views=[replace(view, view="unknown", image_id=f"{exam_id}-0-other") for view in views],
        shows_wrist=False,
    )
