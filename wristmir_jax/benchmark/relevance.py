"""Graded relevance of a retrieved exam for the bone in question, from the two findings.

What a radiologist who looks at a fractured bone wants of an earlier case, as points from 0 to 4:

  0  The bone is not fractured there, or the report does not say. Nothing else can make up for it.
     *Uncertain* counts as not fractured: a case that settles nothing does not help.
  1  The bone is fractured there too.
 +1  Pattern: the same type, since type decides what the injury is. A type that only names the
     family (incomplete; Salter-Harris without a grade) matches every member of it; two reports
     that name no type match.
 +1  Displacement within one step of none, minimal, mild, moderate, severe: neighbouring words are
     within what two readers differ by. Not stated is taken as none, for reports leave out what is
     not there; "displaced" without an amount matches anything from minimal on.
 +1  Angulation within 10 degrees, the usual tolerance of a measurement on film, as vectors, so that
     8 degrees dorsal and 8 volar are 16 apart. Not stated is 0. A direction without degrees matches
     the same direction; degrees without a direction are compared by size.
 -1  but never below 1: one is a healing or healed fracture and the other, or their stages, is not
     (not stated is taken as acute). A callus makes it another question.

The rule is ours. It stands in for the readers' 1 to 5 of the WristMIR paper, and is no replacement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import get_args

import numpy as np

from wristmir_jax.reports.findings import (
    STATUSES,
    Findings,
    FractureType,
    RegionFindings,
)

MAX_GRADE = 4
DEPTH = 5
ANGULATION_TOLERANCE_DEGREES = 10.0

_FRACTURE = STATUSES.index("fracture")
_TYPES: tuple[str | None, ...] = (None, *get_args(FractureType))
_FAMILY_OF = {
    **dict.fromkeys(("buckle", "greenstick", "plastic_deformation", "incomplete"), "incomplete"),
    **dict.fromkeys(
        (name for name in _TYPES if name and name.startswith("salter_harris")),
        "salter_harris_unspecified",
    ),
}
_STEPS = {None: 0, "none": 0, "minimal": 1, "mild": 2, "moderate": 3, "severe": 4}
_ANY_STEP = -1
_HEALING = {None: 0, "acute": 0, "healing": 1, "healed": 2}
_DIRECTIONS = {"dorsal": (1, 0), "volar": (-1, 0), "radial": (0, 1), "ulnar": (0, -1)}


@dataclass(frozen=True)
class RegionCodes:
    """Findings of one region of M exams as arrays, so that pairs are compared all at once.

    Attributes:
        fractured: bool (M,).
        fracture_type: int (M,), position in the list of types, 0 where none is named.
        family: int (M,), the type that names the family, -1 where there is none.
        step: int (M,) of displacement, -1 for displaced by an unknown amount.
        degrees: float (M,), 0 where not stated, NaN where only a direction is.
        direction: float (M, 2), unit vector dorsal, radial; 0 where not stated.
        healing: int (M,).
    """

    fractured: np.ndarray
    fracture_type: np.ndarray
    family: np.ndarray
    step: np.ndarray
    degrees: np.ndarray
    direction: np.ndarray
    healing: np.ndarray

    @classmethod
    def of(cls, findings: Sequence[Findings | None], region: str) -> "RegionCodes":
        """The codes of one region; an exam without findings has a bone that is not mentioned."""
        regions = [RegionFindings() if f is None else f.regions[region] for f in findings]
        families = [_FAMILY_OF.get(f.fracture_type or "") for f in regions]
        return cls(
            fractured=np.array([f.status == STATUSES[_FRACTURE] for f in regions], bool),
            fracture_type=np.array([_TYPES.index(f.fracture_type) for f in regions], int),
            family=np.array([_TYPES.index(name) if name else -1 for name in families], int),
            step=np.array([_STEPS.get(f.displacement, _ANY_STEP) for f in regions], int),
            degrees=np.array([_degrees(f) for f in regions], float),
            direction=np.array(
                [_DIRECTIONS.get(f.angulation_direction or "", (0, 0)) for f in regions], float
            ).reshape(-1, 2),
            healing=np.array([_HEALING[f.healing] for f in regions], int),
        )

    def take(self, rows: np.ndarray) -> "RegionCodes":
        return RegionCodes(*(getattr(self, field.name)[rows] for field in fields(self)))


def grade(query: RegionCodes, retrieved: RegionCodes) -> np.ndarray:
    """The grade of every pair by the rule above.

    Args:
        query: Q exams.
        retrieved: G exams.

    Returns:
        int8 (Q, G), 0 to 4; 0 also where the query's bone is not fractured.
    """

    def pairs(name: str) -> tuple[np.ndarray, np.ndarray]:
        return getattr(query, name)[:, None], getattr(retrieved, name)[None, :]

    q_type, r_type = pairs("fracture_type")
    q_family, r_family = pairs("family")
    pattern = (
        (q_type == r_type)
        | ((q_family == r_family) & (q_family == q_type))
        | ((q_family == r_family) & (r_family == r_type))
    )
    q_step, r_step = pairs("step")
    displacement = np.where(
        (q_step == _ANY_STEP) | (r_step == _ANY_STEP),
        (q_step != 0) & (r_step != 0),
        np.abs(q_step - r_step) <= 1,
    )
    q_healing, r_healing = pairs("healing")
    points = 1 + pattern + displacement + _angulation_matches(query, retrieved)
    points = np.maximum(1, points - (q_healing != r_healing))
    q_fractured, r_fractured = pairs("fractured")
    return np.where(q_fractured & r_fractured, points, 0).astype(np.int8)


def dcg(grades: np.ndarray, depth: int = DEPTH) -> np.ndarray:
    """Discounted cumulative gain, (2^grade - 1) / log2(rank + 1), of the first `depth` ranks.

    Args:
        grades: int (..., K) by rank; fewer than `depth` count as followed by nothing.

    Returns:
        float64 (...).
    """
    gains = np.exp2(grades[..., :depth].astype(np.float64)) - 1
    return (gains / np.log2(np.arange(2, gains.shape[-1] + 2))).sum(-1)


def ideal_and_chance(
    gallery_grades: np.ndarray, allowed: np.ndarray, depth: int = DEPTH
) -> tuple[np.ndarray, np.ndarray]:
    """The best DCG that the gallery can give, and the expected one of a random order.

    Args:
        gallery_grades: int (Q, G) of the whole gallery.
        allowed: bool (Q, G), exams that may be returned.

    Returns:
        float64 (Q,) and float64 (Q,).
    """
    grades = np.where(allowed, gallery_grades, 0)
    depth = min(depth, grades.shape[1])
    best = -np.partition(-grades, depth - 1, axis=1)[:, :depth]
    gains = np.exp2(grades.astype(np.float64)) - 1
    mean_gain = gains.sum(1) / np.maximum(1, allowed.sum(1))
    discounts = (1 / np.log2(np.arange(2, depth + 2))).sum()
    return dcg(-np.sort(-best, axis=1), depth), mean_gain * discounts


def _degrees(findings: RegionFindings) -> float:
    if findings.angulation_degrees is not None:
        return findings.angulation_degrees
    return 0.0 if findings.angulation_direction is None else np.nan


def _angulation_matches(query: RegionCodes, retrieved: RegionCodes) -> np.ndarray:
    """bool (Q, G)."""
    q_degrees, r_degrees = query.degrees[:, None], retrieved.degrees[None, :]
    q_direction, r_direction = query.direction[:, None], retrieved.direction[None, :]
    same_direction = (q_direction == r_direction).all(-1) & q_direction.any(-1)
    both_directed = q_direction.any(-1) & r_direction.any(-1)
    apart = np.where(
        both_directed,
        np.linalg.norm(
            np.nan_to_num(q_degrees)[..., None] * q_direction
            - np.nan_to_num(r_degrees)[..., None] * r_direction,
            axis=-1,
        ),
        np.abs(q_degrees - r_degrees),
    )
    amount_unknown = np.isnan(q_degrees) | np.isnan(r_degrees)
    return np.where(amount_unknown, same_direction, apart <= ANGULATION_TOLERANCE_DEGREES)
