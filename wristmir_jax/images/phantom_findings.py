"""What a report of a phantom says: from millimetres and degrees to `Findings`.

What can be seen is said and little is left to chance, so that equal findings look alike.
"""

import numpy as np

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.images.phantom_episodes import Exam
from wristmir_jax.images.phantom_fractures import (
    COMPLETE_KINDS,
    PHYSEAL_KINDS,
    SHAFT_KINDS,
    ULNA_SHARE,
    BoneInjury,
    Injury,
)
from wristmir_jax.reports.findings import Findings, RegionFindings

_TYPES = {
    "buckle": "buckle", "greenstick": "greenstick", "incomplete": "incomplete",
    "complete": "complete", "sh1": "salter_harris_1", "sh2": "salter_harris_2",
    "sh3": "salter_harris_3", "sh4": "salter_harris_4",
}  # fmt: skip


def displacement_class(millimetres: float, shaft_width: float) -> str:
    """The guideline's word: up to 2 mm, up to a quarter, up to half of the shaft's width, more."""
    if millimetres < 0.3:
        return "none"
    if millimetres <= 2.0:
        return "minimal"
    share = millimetres / shaft_width
    if share <= 0.25:
        return "mild"
    return "moderate" if share <= 0.5 else "severe"


def angulation(bone: BoneInjury) -> tuple[float, str] | None:
    """Degrees (to the nearest 5) and direction in the plane of the larger; None below 2.5."""
    if max(abs(bone.tilt_dorsal), abs(bone.tilt_radial)) < 2.5:
        return None
    if abs(bone.tilt_dorsal) >= abs(bone.tilt_radial):
        angle, names = bone.tilt_dorsal, ("dorsal", "volar")
    else:
        angle, names = bone.tilt_radial, ("radial", "ulnar")
    return 5.0 * round(abs(angle) / 5.0), names[0] if angle > 0 else names[1]


def visible(injury: Injury, view: str) -> bool:
    """Whether a careful reader sees the injury on this view: some sign exceeds about half a mm."""
    lateral = view == "lateral"

    def bone(b: BoneInjury) -> bool:
        if b.kind == "none":
            return False
        shift = b.dorsal if lateral else b.radial
        tilt = b.tilt_dorsal if lateral else b.tilt_radial
        # A wider physis is harder to tell than a line through bone.
        line = 0.35 * b.gap if b.kind in PHYSEAL_KINDS else b.gap
        return bool(
            abs(shift) > 0.8
            or abs(tilt) > 4.0
            or max(b.bulge, b.callus) > 0.5
            or line > 0.4
            or b.sclerosis > 0.3
        )

    front = not lateral and (injury.styloid_gap > 0.8 or injury.scaphoid > 0.5)
    return bone(injury.radius) or bone(injury.ulna) or front


def findings_of(exam: Exam, exam_id: str, rng: np.random.Generator) -> Findings:
    """What the report of `exam` will say; `rng` decides what it is silent on."""
    injury, extras = exam.injury, exam.extras
    regions = dict(zip(REGION_NAMES, _regions(exam, rng), strict=True))
    injured = injury.fractured or exam.uncertain
    # Reports of injured wrists do not always name what is whole, those of follow-ups seldom do.
    if injured and rng.random() < (0.06 if exam.initial else 0.7):
        regions = {
            name: RegionFindings() if region.status == "no_fracture" else region
            for name, region in regions.items()
        }
    swelling = None
    if exam.initial and injury.swelling > 2.2:
        swelling = True
    elif exam.initial and rng.random() < 0.06:
        swelling = False
    out_of_cast = not exam.initial and not extras.cast and exam.weeks > 4 and rng.random() < 0.15
    physis = exam.anatomy.physis
    named = rng.random() < {"open": 0.02, "closing": 0.5, "closed": 0.9}[physis]
    return Findings.model_validate(
        dict(
            exam_id=exam_id,
            laterality=exam.laterality,
            views=exam.views,
            regions=regions,
            other_fractures=_others(injury),
            cast=True if extras.cast else (False if out_of_cast else None),
            hardware=True if extras.hardware else None,
            osteopenia=True if extras.osteopenia else None,
            soft_tissue_swelling=swelling,
            physis=physis if named else None,
        )
    )


def _regions(exam: Exam, rng: np.random.Generator) -> tuple[RegionFindings, ...]:
    """Radius, ulna and styloid, in the order of `anatomy.REGIONS`."""
    injury, shaft = exam.injury, exam.anatomy.shaft_width
    healing = None
    if exam.initial:
        healing = "acute" if rng.random() < 0.12 else None
    elif exam.weeks >= 2.5:
        healing = "healing" if exam.weeks < 9.0 else "healed"
    radius = _bone(injury.radius, shaft, exam.uncertain, healing, rng)
    ulna = _bone(injury.ulna, ULNA_SHARE * shaft, exam.uncertain, healing, rng)
    styloid = RegionFindings(status="no_fracture")
    if injury.styloid_gap > 0:
        styloid = _details(
            "avulsion" if rng.random() < 0.85 else None,
            displacement_class(injury.styloid_gap, ULNA_SHARE * shaft),
            None,
            healing,
            exam.uncertain,
        )
    if exam.uncertain and not injury.fractured:
        radius = RegionFindings(status="uncertain", fracture_type="buckle")
    return radius, ulna, styloid


def _bone(
    bone: BoneInjury,
    shaft_width: float,
    uncertain: bool,
    healing: str | None,
    rng: np.random.Generator,
) -> RegionFindings:
    if bone.kind == "none" or bone.kind in SHAFT_KINDS:
        return RegionFindings(status="no_fracture")
    kind = None if rng.random() < 0.04 else _TYPES[bone.kind]
    shift = displacement_class(bone.displacement, shaft_width)
    slips = bone.kind in (*COMPLETE_KINDS, *PHYSEAL_KINDS)
    return _details(
        kind, shift if slips or shift != "none" else None, angulation(bone), healing, uncertain
    )


def _details(
    kind: str | None,
    displacement: str | None,
    angle: tuple[float, str] | None,
    healing: str | None,
    uncertain: bool,
) -> RegionFindings:
    if uncertain:
        return RegionFindings.model_validate(dict(status="uncertain", fracture_type=kind))
    degrees, direction = angle or (None, None)
    return RegionFindings.model_validate(
        dict(
            status="fracture",
            fracture_type=kind,
            displacement=displacement,
            angulation_degrees=degrees,
            angulation_direction=direction,
            healing=healing,
        )
    )


def _others(injury: Injury) -> list[str]:
    shafts = ((injury.radius, "radial shaft"), (injury.ulna, "ulnar shaft"))
    names = [name for bone, name in shafts if bone.kind in SHAFT_KINDS]
    return [*names, "scaphoid"] if injury.scaphoid > 0 else names
