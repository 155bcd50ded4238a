"""From outlines of whole bones to the boxes of the regions.

Everything is measured in the frame of the upright forearm: `a` points to the right, `b` distally.
What the regions hold, and their margins, is what the phantoms have (`images.phantom_scene`), so
that boxes of both mean the same.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.box_formats.polygons import (
    Polygons,
    above,
    below,
    centroid,
    principal_direction,
    top_of,
)
from wristmir_jax.data.sources.fields import BadValue
from wristmir_jax.images.phantom_anatomy import typical_width

# In units of the width of the radial metaphysis: how far the box reaches below the growth plate,
# and its margin besides 1 mm.
_METAPHYSIS, _MARGIN = 1.12, 0.10
# How far the box reaches above the growth plate, without bone in the epiphysis and fully grown.
_EPIPHYSIS = {"radius": (0.12, 0.52), "ulna": (0.10, 0.34)}
# How far beyond an epiphysis that is not fused, on average over ages; how high a fused one stands.
_BEYOND = {"radius": 0.14, "ulna": 0.08}
_FUSED_HEIGHT = {"radius": 0.28, "ulna": 0.32}
# Half the length of the styloid process as a share of its rise above the head, and the least rise.
_STYLOID, _LEAST_RISE = 0.9, 0.04
# Around it, beyond the middle of the ulna, and below the ulna's growth plate.
_AROUND_MM, _BEYOND_MIDDLE_MM, _BELOW_PLATE_MM = 5.0, 2.0, 1.5
# On a lateral film the radius is this much narrower than on a PA one, and the ulna lies behind it.
_LATERAL_WIDTH, _LATERAL_DISTANCE = 0.76, 0.5
_ULNA_WIDTH = 0.58
# Between the ages at which epiphyses appear and fuse.
_FUSED_FROM_YEARS = 8.0
# In pixels: a box cut at the film's edge to less than this is missing, as on phantoms.
_MIN_SIDE = 4.0
# A distal end is wider than a shaft by this factor at least.
_WIDER = 1.15
# In distal widths: where the flare ends, and how long a bone must be to have a shaft beyond it.
_FLARE, _MIN_SHAFT = 0.8, 2.0
# The width settles after two or three.
_ROUNDS = 5


@dataclass(frozen=True)
class OutlinedRegions:
    """What the outlines of a film tell.

    Attributes:
        boxes_Rx4: float64 x0 y0 x1 y1 in pixels in the order of `REGION_NAMES`, NaN = absent.
        axis_degrees: by which the upright forearm was turned counter-clockwise, as seen, in
            (-180, 180].
    """

    boxes_Rx4: np.ndarray
    axis_degrees: float


def regions_of(
    bones: Mapping[str, Polygons],
    size: tuple[int, int] | None,
    age_years: float = math.nan,
    male: bool | None = None,
) -> OutlinedRegions:
    """The boxes of the regions and the direction of the forearm.

    Distal radius and ulna: from 1.12 widths of the radius below the growth plate to the top of the
    epiphysis, with the phantoms' margin. Where no epiphysis is outlined because it has fused, the
    plate is taken to lie where it lay before. Ulnar styloid: the tip and 5 mm distally and ulnarly
    of it, to the middle of the ulna; absent without an ulnar epiphysis, unless that has fused
    (known age only), and where radius and ulna lie behind one another, as on lateral films. The box
    is the hull of the box that is upright in the forearm's frame, cut at the film's edges.

    Args:
        bones: polygons, float64 (P, 2) in pixels, by the names of `labels.BONE_LABELS`; several
            polygons of a bone count as one.
        size: width and height of the film in pixels; None where unknown.
        age_years, male: for the length of a millimetre, through the usual width of the radius; NaN
            and None where unknown.

    Raises:
        BadValue: neither radius nor ulna is outlined; nothing tells distal from proximal; or
            several forearms are.
    """
    shafts = {name: bones[name] for name in ("radius", "ulna") if bones.get(name)}
    if not shafts:
        raise BadValue("neither radius nor ulna is outlined")
    distal = _forearm_direction(bones, shafts)
    frame_2x2 = _frame(distal)
    upright = {
        name: [polygon @ frame_2x2.T for polygon in polygons] for name, polygons in bones.items()
    }
    wrist = _Wrist.measured(upright, age_years, male)
    boxes = np.full((len(REGION_NAMES), 4), np.nan)
    for index, region in enumerate(REGION_NAMES):
        box = _REGION_BOXES[region](wrist) if region in _REGION_BOXES else None
        if box is None:
            continue
        corners = box[[0, 2, 2, 0]], box[[1, 1, 3, 3]]
        on_film = np.stack(corners, axis=1) @ frame_2x2
        hull = np.concatenate([on_film.min(axis=0), on_film.max(axis=0)])
        if size is not None:
            hull = np.clip(hull, 0.0, np.array([*size, *size], float))
        if min(hull[2] - hull[0], hull[3] - hull[1]) >= _MIN_SIDE:
            boxes[index] = hull
    degrees = math.degrees(math.atan2(-distal[0], -distal[1]))
    # -180 and 180 are one direction; (-180, 180] holds the latter.
    return OutlinedRegions(boxes, 180.0 if degrees <= -180.0 else degrees + 0.0)


@dataclass(frozen=True)
class _Wrist:
    """The bones in the upright frame, and what is measured on them; lengths in pixels.

    Attributes:
        width: of the radial metaphysis as a PA film would show it.
        millimetre: its length.
        lateral: whether radius and ulna lie behind one another.
        fused: whether the growth plates have closed.
        age_known: whether that rests on the age.
    """

    bones: Mapping[str, Polygons]
    width: float
    millimetre: float
    lateral: bool
    fused: bool
    age_known: bool

    @classmethod
    def measured(
        cls, bones: Mapping[str, Polygons], age_years: float, male: bool | None
    ) -> "_Wrist":
        radius, ulna = bones.get("radius"), bones.get("ulna")
        width = _distal_width(radius) if radius else _distal_width(ulna or ()) / _ULNA_WIDTH
        if radius and width >= 3 * max(_distal_width([piece]) for piece in radius):
            raise BadValue("several forearms on one film")
        lateral = False
        if radius and ulna:
            distance = _distal_middle(radius, width) - _distal_middle(ulna, width)
            lateral = abs(distance) < _LATERAL_DISTANCE * width
        if lateral:
            width /= _LATERAL_WIDTH
        return cls(
            bones,
            width,
            width / typical_width(age_years, male),
            lateral,
            not bones.get("radius_epiphysis") and not age_years < _FUSED_FROM_YEARS,
            not math.isnan(age_years),
        )

    @property
    def margin(self) -> float:
        return _MARGIN * self.width + self.millimetre


def _long_bone(bone: str) -> Callable[[_Wrist], np.ndarray | None]:
    """The box of the metaphysis and epiphysis of `bone`."""

    def box(wrist: _Wrist) -> np.ndarray | None:
        shaft, epiphysis = wrist.bones.get(bone), wrist.bones.get(f"{bone}_epiphysis") or ()
        if not shaft:
            return None
        cartilage, grown = _EPIPHYSIS[bone]
        end = top_of(shaft)
        fused = wrist.fused and not epiphysis
        if fused:
            end -= _FUSED_HEIGHT[bone] * wrist.width
        start = end - _METAPHYSIS * wrist.width
        held = [*above(shaft, start), *epiphysis]
        a = np.concatenate(held)[:, 0]
        beyond = _BEYOND[bone] * wrist.width if epiphysis else 0.0
        least = end + (grown if fused else cartilage) * wrist.width
        top = max(top_of(held), least)
        if bone == "ulna" and (epiphysis or fused):
            # The styloid process may reach into the margin; the rest of the head may not.
            ulnar = _ulnar_side(wrist)
            middle = _distal_middle(epiphysis or shaft, wrist.width)
            points = np.concatenate(held)
            head = points[ulnar * (points[:, 0] - middle) <= 0, 1]
            head_top = head.max() if ulnar and head.size else top
            top = max(top, max(head_top + beyond, least) + wrist.margin)
        else:
            top = max(top_of(held) + beyond, least) + wrist.margin
        return np.array([a.min() - wrist.margin, start - wrist.margin, a.max() + wrist.margin, top])

    return box


def _styloid(wrist: _Wrist) -> np.ndarray | None:
    """The box of the tip of the ulna's styloid process, to the middle of the ulna."""
    ulna, epiphysis = wrist.bones.get("ulna"), wrist.bones.get("ulna_epiphysis")
    grown_together = not epiphysis and wrist.fused and wrist.age_known
    if grown_together and ulna:
        epiphysis = above(ulna, top_of(ulna) - _FUSED_HEIGHT["ulna"] * wrist.width)
    ulnar = _ulnar_side(wrist)
    if not epiphysis or not ulna or not ulnar or wrist.lateral:
        return None
    points = np.concatenate(list(epiphysis)) * (ulnar, 1.0)
    tip = points[np.argmax(0.5 * points[:, 0] + points[:, 1])]
    head = points[points[:, 0] <= ulnar * _distal_middle(epiphysis, wrist.width), 1]
    rise = tip[1] - (head.max() if head.size else tip[1])
    reach = _STYLOID * max(rise, _LEAST_RISE * wrist.width)
    around = reach + _AROUND_MM * wrist.millimetre
    middle = ulnar * _distal_middle(ulna, wrist.width)
    inner = min(tip[0] - around, middle - _BEYOND_MIDDLE_MM * wrist.millimetre)
    low = tip[1] - reach - around
    if not grown_together:
        low = min(low, top_of(ulna) - _BELOW_PLATE_MM * wrist.millimetre)
    sides = np.sort(np.array([inner, tip[0] + around]) * ulnar)
    return np.array([sides[0], low, sides[1], tip[1] - reach + around])


_REGION_BOXES: dict[str, Callable[[_Wrist], np.ndarray | None]] = {
    "distal_radius": _long_bone("radius"),
    "distal_ulna": _long_bone("ulna"),
    "ulnar_styloid": _styloid,
}


def _ulnar_side(wrist: _Wrist) -> float:
    """1.0 where the ulna lies right of the radius in the upright frame, -1.0 left, 0.0 unknown."""
    radius, ulna = wrist.bones.get("radius"), wrist.bones.get("ulna")
    if not radius or not ulna:
        return 0.0
    return float(np.sign(_distal_middle(ulna, wrist.width) - _distal_middle(radius, wrist.width)))


def _forearm_direction(bones: Mapping[str, Polygons], shafts: Mapping[str, Polygons]) -> np.ndarray:
    """Unit vector (2,) on the film from proximal to distal: the shafts' principal direction."""
    direction = principal_direction(list(shafts.values()))
    beyond = [p for name, polygons in bones.items() if name not in shafts for p in polygons]
    if beyond:
        shaft = centroid([p for polygons in shafts.values() for p in polygons])
        forward = (centroid(beyond) - shaft) @ direction >= 0
    else:
        forward = _flares(shafts.get("radius") or shafts["ulna"], direction)
    if not forward:
        direction = -direction
    # The metaphysis flares to one side more than to the other, which would tilt the direction.
    frame_2x2 = _frame(direction)
    straight = []
    for polygons in shafts.values():
        upright = [p @ frame_2x2.T for p in polygons]
        width = _distal_width(upright)
        length = top_of(upright) - min(p[:, 1].min() for p in upright)
        long_enough = length >= _MIN_SHAFT * width
        straight.append(
            below(upright, top_of(upright) - _FLARE * width) if long_enough else upright
        )
    refined = principal_direction(straight)
    return (refined if refined[1] > 0 else -refined) @ frame_2x2


def _flares(polygons: Polygons, direction: np.ndarray) -> bool:
    """Whether the end of a long bone that `direction` points to is the wider one, the distal one.

    Raises:
        BadValue: the ends are alike.
    """
    there, back = (
        _distal_width([p @ _frame(sign * direction).T for p in polygons]) for sign in (1.0, -1.0)
    )
    if max(there, back) < _WIDER * min(there, back):
        raise BadValue("nothing tells distal from proximal")
    return there > back


def _frame(distal: np.ndarray) -> np.ndarray:
    """(2, 2), rows: the directions of `a` and `b` on the film."""
    return np.array([[-distal[1], distal[0]], [distal[0], distal[1]]])


def _distal_width(polygons: Polygons) -> float:
    """Width of the distal end of an upright bone: the part half as long as it is wide."""
    width = np.ptp(np.concatenate(polygons)[:, 0])
    for _ in range(_ROUNDS):
        width = np.ptp(np.concatenate(above(polygons, top_of(polygons) - 0.5 * width))[:, 0])
    return float(width)


def _distal_middle(polygons: Polygons, width: float) -> float:
    """Where the distal end of an upright bone has its middle, on `a`."""
    a = np.concatenate(above(polygons, top_of(polygons) - 0.5 * width))[:, 0]
    return float(a.min() + a.max()) / 2
