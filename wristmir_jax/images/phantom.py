"""Phantoms: synthetic pediatric wrist exams with images, region boxes, findings and reports.

Everything here is drawn and written by us; tables that rest on phantoms say so. What an exam is like
(age, sex, side, AO codes, follow-ups, cast, wires, osteopenia) follows `phantom_frequencies.json`,
counts over the public metadata of GRAZPEDWRI-DX that `tools/phantom_frequencies.py` makes.
"""

import functools
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import numpy as np

from wristmir_jax.images import phantom_reports
from wristmir_jax.images.phantom_anatomy import Anatomy, sample_anatomy
from wristmir_jax.images.phantom_fractures import (
    BoneInjury,
    Injury,
    follow_up,
    sample_injury,
)
from wristmir_jax.images.phantom_render import Scene, render
from wristmir_jax.images.phantom_scene import Extras, build, sample_pose
from wristmir_jax.reports.findings import Findings, RegionFindings

# Chunks of one compiled call; small enough that a chunk stays in the cache of a CPU.
_RENDER_BATCH = 16


@dataclass(frozen=True)
class PhantomView:
    """One film. `pixels` uint16 (S, S), bone bright; `boxes` float32 (R, 4) x0 y0 x1 y1, NaN = absent."""

    image_id: str
    view: str
    pixels: np.ndarray
    boxes: np.ndarray
    fracture_visible: bool
    pixel_spacing_mm: float


@dataclass(frozen=True)
class PhantomExam:
    """One study of one side. `codes` are the AO codes that it was drawn from (severity has no code)."""

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
    """An exam before its films are rendered."""

    exam: PhantomExam
    anatomy: Anatomy
    injury: Injury
    extras: Extras
    scenes: list[Scene]


@functools.cache
def frequencies() -> dict:
    """The table of counts that phantoms follow."""
    text = resources.files(__package__).joinpath("phantom_frequencies.json").read_text()
    return json.loads(text)


def exams(
    num_exams: int, seed: int, image_size: int = 256, batch_size: int = 64
) -> Iterator[PhantomExam]:
    """The first `num_exams` exams of an endless series that depends on `seed` alone.

    Patients follow each other; an exam is the same whatever `num_exams` and `batch_size` are.

    Args:
        num_exams: how many; a patient's series may be cut.
        seed: of the series.
        image_size: S, pixels a side (64 .. 512).
        batch_size: exams sampled ahead before their films are rendered together.
    """
    plans = itertools.islice(
        itertools.chain.from_iterable(
            _patient(seed, patient, image_size) for patient in itertools.count()
        ),
        num_exams,
    )
    while batch := list(itertools.islice(plans, batch_size)):
        scenes = [scene for plan in batch for scene in plan.scenes]
        films = iter(_render_all(scenes, image_size))
        for plan in batch:
            for view in plan.exam.views:
                object.__setattr__(view, "pixels", next(films))
            yield plan.exam


def _render_all(scenes: list[Scene], size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(scenes), _RENDER_BATCH):
        chunk = scenes[start : start + _RENDER_BATCH]
        filled = chunk + [chunk[-1]] * (_RENDER_BATCH - len(chunk))
        yield from render(Scene(*map(np.stack, zip(*filled, strict=True))), size)[: len(chunk)]


def _choose(counts: dict[str, int], rng: np.random.Generator) -> str:
    names = list(counts)
    weights = np.array([counts[name] for name in names], float)
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def _patient(seed: int, patient: int, size: int) -> Iterator[_Plan]:
    """All exams of one patient, in order of time."""
    table = frequencies()
    rng = np.random.default_rng([seed, patient])
    patterns = table["patterns"]
    weights = np.array([p["episodes"] for p in patterns], float)
    weights /= weights.sum()
    episodes = int(_choose(table["episodes_per_patient"], rng))
    side = "left" if rng.random() < table["left"][0] / table["left"][1] else "right"
    both = table["both_sides"][0] / table["both_sides"][1]
    other_side_share = both / (
        1 - table["episodes_per_patient"]["1"] / sum(table["episodes_per_patient"].values())
    )
    male: bool | None = None
    age: float | None = None
    number = 0
    for _ in range(episodes):
        pattern = patterns[int(rng.choice(len(patterns), p=weights))]
        codes = tuple(pattern["codes"])
        if male is None or age is None:
            male = bool(rng.random() < pattern["male"] / pattern["episodes"])
            age = _sample_age(pattern["ages"], table["age_edges"], rng)
        else:
            age = min(age + float(rng.exponential(1.0)), 18.9)
            if rng.random() < other_side_share:
                side = "right" if side == "left" else "left"
        anatomy = sample_anatomy(age, male, rng)
        if "23u-E/7" in codes and anatomy.styloid <= 0:
            codes = tuple(code for code in codes if code != "23u-E/7") or ("23r-M/2",)
        fresh = sample_injury(codes, anatomy, rng)
        sequence = _choose(table["sequences"][pattern["class"]], rng)
        key = f"{pattern['class']}/follow_up"
        flags = [_choose(table["cast_metal_osteopenia"][key], rng) for _ in range(len(sequence))]
        # Casts come first, wires stay in between, thin bone comes late.
        flags.sort(key=lambda f: (f[2] == "1", f[0] != "1"))
        weeks = 0.0
        for k, letter in enumerate(sequence):
            initial = letter == "I"
            weeks = 0.0 if initial else max(weeks + rng.uniform(0.8, 3.2), 0.5)
            flag = (
                _choose(table["cast_metal_osteopenia"][f"{pattern['class']}/initial"], rng)
                if initial
                else flags[k]
            )
            unsure = table["uncertain"].get(
                f"{pattern['class']}/{'initial' if initial else 'follow_up'}", (0, 1)
            )
            uncertain = initial and bool(rng.random() < unsure[0] / unsure[1])
            yield _plan(
                rng, f"P{seed}-{patient:06d}", number, side, male, age, initial, codes, anatomy, fresh,
                weeks, flag, uncertain, size,
            )  # fmt: skip
            number += 1


def _sample_age(counts: list[int], edges: list[int], rng: np.random.Generator) -> float:
    weights = np.array(counts, float)
    i = int(rng.choice(len(counts), p=weights / weights.sum()))
    return float(np.clip(rng.uniform(edges[i], edges[i + 1]), 0.5, 18.9))


def _plan(
    rng: np.random.Generator,
    patient_id: str,
    number: int,
    side: str,
    male: bool,
    age: float,
    initial: bool,
    codes: tuple[str, ...],
    anatomy: Anatomy,
    fresh: Injury,
    weeks: float,
    flag: str,
    uncertain: bool,
    size: int,
) -> _Plan:
    cast, metal, osteopenia = (letter == "1" for letter in flag)
    extras = Extras(cast, int(rng.integers(2, 4)) if metal else 0, osteopenia)
    injury = fresh
    if uncertain:
        # Hardly anything to see, or nothing: the reader hesitates.
        shown = ("23r-M/2",) if rng.random() < 0.6 else ()
        injury = sample_injury(shown, anatomy, rng, severity=rng.uniform(0.0, 0.08))
    if not initial:
        injury = follow_up(injury, weeks, metal, rng)
    names = _choose(frequencies()["views"], rng)
    views = [{"1": "pa", "2": "lateral", "3": "oblique"}[letter] for letter in names]
    exam_id = f"{patient_id}-{number:02d}"
    findings = _findings(exam_id, side, views, initial, anatomy, injury, extras, uncertain, rng)
    context = phantom_reports.Context(age, male, initial, weeks)
    report = phantom_reports.write(findings, context, rng)
    films, scenes = [], []
    for k, view in enumerate(views):
        pose = sample_pose(anatomy, size, rng)
        scene, boxes = build(anatomy, injury, extras, view, side, pose, size)
        scenes.append(scene)
        films.append(
            PhantomView(
                image_id=f"{exam_id}-{k}-{view}",
                view=view,
                pixels=np.zeros((0, 0), np.uint16),
                boxes=boxes,
                fracture_visible=visible(injury, view),
                pixel_spacing_mm=float(scene.field[0]),
            )
        )
    exam = PhantomExam(
        exam_id=exam_id,
        patient_id=patient_id,
        laterality=side,
        sex="male" if male else "female",
        age_years=round(age, 1),
        initial_exam=initial,
        codes=codes,
        severity=max(
            injury.radius.severity, injury.ulna.severity, min(1.0, injury.styloid_gap / 5.0)
        ),
        findings=findings,
        report=report,
        views=films,
    )
    return _Plan(exam, anatomy, injury, extras, scenes)


def visible(injury: Injury, view: str) -> bool:
    """Whether a careful reader could see the fracture on this view: some sign is over about half a mm."""
    lateral = view == "lateral"

    def bone(b: BoneInjury) -> bool:
        if b.kind == "none":
            return False
        shift = b.dorsal if lateral else b.radial
        tilt = b.tilt_dorsal if lateral else b.tilt_radial
        line = b.gap if b.kind in ("complete", "shaft_complete", "incomplete") else 0.6 * b.gap
        signs = (abs(shift) > 0.8, abs(tilt) > 4.0, b.bulge > 0.5, line > 0.7, b.callus > 0.6)
        return any(signs) or b.sclerosis > 0.3

    styloid = injury.styloid_gap > 0.8 and not lateral
    scaphoid = injury.scaphoid > 0.7 and not lateral
    return bone(injury.radius) or bone(injury.ulna) or styloid or scaphoid


_TYPES = {
    "buckle": "buckle", "greenstick": "greenstick", "incomplete": "incomplete",
    "complete": "complete", "sh1": "salter_harris_1", "sh2": "salter_harris_2",
    "sh3": "salter_harris_3", "sh4": "salter_harris_4",
}  # fmt: skip
_SHAFT_KINDS = ("bowing", "shaft_greenstick", "shaft_complete")


def displacement_class(millimetres: float, shaft_width: float) -> str:
    """The guideline's word for a displacement (none, minimal, mild, moderate, severe)."""
    if millimetres < 0.3:
        return "none"
    if millimetres <= 2.0:
        return "minimal"
    share = millimetres / shaft_width
    if share <= 0.25:
        return "mild"
    return "moderate" if share <= 0.5 else "severe"


def _bone_findings(
    bone: BoneInjury,
    shaft_width: float,
    uncertain: bool,
    healing: str | None,
    rng: np.random.Generator,
) -> RegionFindings:
    if bone.kind == "none" or bone.kind in _SHAFT_KINDS:
        return RegionFindings(status="no_fracture")
    kind = None if rng.random() < 0.05 else _TYPES[bone.kind]
    slipped = bone.kind == "complete" or bone.kind.startswith("sh")
    shift = displacement_class(bone.displacement, shaft_width)
    displacement = shift if slipped or shift != "none" else None
    angle, direction = 0.0, None
    if abs(bone.tilt_dorsal) >= 2.5 or abs(bone.tilt_radial) >= 2.5:
        if abs(bone.tilt_dorsal) >= abs(bone.tilt_radial):
            angle, direction = abs(bone.tilt_dorsal), "dorsal" if bone.tilt_dorsal > 0 else "volar"
        else:
            angle, direction = abs(bone.tilt_radial), "radial" if bone.tilt_radial > 0 else "ulnar"
    degrees = 5.0 * round(angle / 5.0)
    return RegionFindings.model_validate(
        dict(
            status="uncertain" if uncertain else "fracture",
            fracture_type=kind,
            displacement=None if uncertain else displacement,
            angulation_degrees=degrees if degrees and not uncertain else None,
            angulation_direction=direction if degrees and not uncertain else None,
            healing=None if uncertain else healing,
        )
    )


def _findings(
    exam_id: str,
    side: str,
    views: list[str],
    initial: bool,
    anatomy: Anatomy,
    injury: Injury,
    extras: Extras,
    uncertain: bool,
    rng: np.random.Generator,
) -> Findings:
    """What the report will say. What can be seen is said; little is left to chance."""
    healing = None
    if initial:
        healing = "acute" if rng.random() < 0.12 else None
    elif injury.weeks >= 2.5:
        healing = "healing" if injury.weeks < 9.0 else "healed"
    shaft = anatomy.shaft_width
    regions = {
        "distal_radius": _bone_findings(injury.radius, shaft, uncertain, healing, rng),
        "distal_ulna": _bone_findings(injury.ulna, 0.62 * shaft, uncertain, healing, rng),
        "ulnar_styloid": RegionFindings(status="no_fracture"),
    }
    if injury.styloid_gap > 0:
        regions["ulnar_styloid"] = RegionFindings.model_validate(
            dict(
                status="fracture",
                fracture_type="avulsion" if rng.random() < 0.7 else None,
                displacement=displacement_class(injury.styloid_gap, 0.5 * shaft),
                healing=healing,
            )
        )
    if uncertain and injury.radius.kind == "none":
        regions["distal_radius"] = RegionFindings(status="uncertain", fracture_type="buckle")
    others = []
    for bone, name in ((injury.radius, "radial shaft"), (injury.ulna, "ulnar shaft")):
        if bone.kind in _SHAFT_KINDS:
            others.append(name)
    if injury.scaphoid > 0:
        others.append("scaphoid")
    injured = injury.fractured or uncertain
    # A report of an injured wrist does not always name what is whole, one of a follow-up seldom does.
    silent = injured and rng.random() < (0.12 if initial else 0.7)
    if silent:
        regions = {
            name: RegionFindings() if region.status == "no_fracture" else region
            for name, region in regions.items()
        }
    swelling = None
    if initial and injury.swelling > 2.2:
        swelling = True
    elif initial and rng.random() < 0.08:
        swelling = False
    removed = not initial and injury.weeks > 4 and not extras.cast and rng.random() < 0.3
    physis = None
    if anatomy.physis != "open" or rng.random() < 0.05:
        physis = anatomy.physis if rng.random() < 0.6 else None
    return Findings.model_validate(
        dict(
            exam_id=exam_id,
            laterality=side,
            views=views,
            regions=regions,
            other_fractures=others,
            cast=True if extras.cast else (False if removed else None),
            hardware=True if extras.wires else None,
            osteopenia=True if extras.osteopenia else None,
            soft_tissue_swelling=swelling,
            physis=physis,
        )
    )
