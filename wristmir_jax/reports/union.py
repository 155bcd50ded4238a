"""One `Findings` of an exam from those of its same-side views or reports.

The union is commutative, associative and idempotent: the order of the films does not matter. Where
two sources disagree, the value further right in these tables wins.
"""

from collections.abc import Sequence
from functools import reduce
from typing import TypeVar

from wristmir_jax.errors import UserError
from wristmir_jax.reports.findings import STATUSES, Findings, RegionFindings

_T = TypeVar("_T")

# From the least to the most severe; within a family the more specific comes later. A physeal
# fracture outweighs a metaphyseal one, since it decides about growth and follow-up.
FRACTURE_TYPE_ORDER = (
    None,
    "other",
    "avulsion",
    "plastic_deformation",
    "incomplete",
    "buckle",
    "greenstick",
    "complete",
    "salter_harris_unspecified",
    "salter_harris_1",
    "salter_harris_2",
    "salter_harris_3",
    "salter_harris_4",
    "salter_harris_5",
)
# "Displaced" of unknown amount contradicts "none" and says less than any amount.
DISPLACEMENT_ORDER = (None, "none", "unspecified", "minimal", "mild", "moderate", "severe")
DIRECTION_ORDER = (None, "dorsal", "volar", "radial", "ulnar")
HEALING_ORDER = (None, "acute", "healing", "healed")
PHYSIS_ORDER = (None, "open", "closing", "closed")
FLAG_ORDER = (None, False, True)


def union(findings: Sequence[Findings]) -> Findings:
    """Everything that at least one of `findings` says; all of one exam.

    A fracture beats uncertain beats no_fracture beats not_mentioned; details come from the sources
    that hold the winning status. A flag is true if any source says so, else false if any says so.
    Views and other fractures are pooled.

    Raises:
        UserError: there are none, or they belong to different exams or sides.
    """
    if not findings:
        raise UserError("union of no findings: give at least one")
    return reduce(_join, findings)


def join_regions(a: RegionFindings, b: RegionFindings) -> RegionFindings:
    """The union for one region."""
    if a.status != b.status:
        return max(a, b, key=lambda region: STATUSES.index(region.status))
    # Degrees and direction stay together: "of two planes the larger with its direction".
    angle = max(a, b, key=_angulation_key)
    return RegionFindings(
        status=a.status,
        fracture_type=_later(FRACTURE_TYPE_ORDER, a.fracture_type, b.fracture_type),
        displacement=_later(DISPLACEMENT_ORDER, a.displacement, b.displacement),
        angulation_degrees=angle.angulation_degrees,
        angulation_direction=angle.angulation_direction,
        healing=_later(HEALING_ORDER, a.healing, b.healing),
    )


def _join(a: Findings, b: Findings) -> Findings:
    if a.exam_id != b.exam_id:
        raise UserError(
            f"exams {a.exam_id!r} and {b.exam_id!r}: a union is taken over one exam only"
        )
    if "unknown" not in (a.laterality, b.laterality) and a.laterality != b.laterality:
        raise UserError(
            f"exam {a.exam_id!r} is called left and right: an exam is one side, make two of it"
        )
    return Findings(
        exam_id=a.exam_id,
        laterality=b.laterality if a.laterality == "unknown" else a.laterality,
        views=a.views + b.views,
        regions={name: join_regions(a.regions[name], b.regions[name]) for name in a.regions},
        other_fractures=a.other_fractures + b.other_fractures,
        cast=_later(FLAG_ORDER, a.cast, b.cast),
        hardware=_later(FLAG_ORDER, a.hardware, b.hardware),
        osteopenia=_later(FLAG_ORDER, a.osteopenia, b.osteopenia),
        soft_tissue_swelling=_later(FLAG_ORDER, a.soft_tissue_swelling, b.soft_tissue_swelling),
        physis=_later(PHYSIS_ORDER, a.physis, b.physis),
    )


def _later(order: Sequence[_T], a: _T, b: _T) -> _T:
    return max(a, b, key=order.index)


def _angulation_key(region: RegionFindings) -> tuple[float, int]:
    degrees = -1.0 if region.angulation_degrees is None else region.angulation_degrees
    return degrees, DIRECTION_ORDER.index(region.angulation_direction)
