"""Bones of one view as tubes and blobs: long bones and how they break, epiphyses, the hand.

The frame is that of `phantom_parts`. What breaks off moves by a rigid `Motion`.
"""

from dataclasses import dataclass

import numpy as np

from wristmir_jax.images.phantom_anatomy import CARPALS, Anatomy
from wristmir_jax.images.phantom_fractures import PHYSEAL_KINDS, BoneInjury, Injury
from wristmir_jax.images.phantom_parts import MU_CALLUS, MU_CORTEX, Blob, Tube

_COMPLETE = ("complete", "shaft_complete")
# Fractures that hinge on the cortex that is whole; their line opens towards the broken one.
_HINGED = ("greenstick", "incomplete", "shaft_greenstick")
# How much an impacted fracture whitens the bone along its line.
_IMPACTION = {"buckle": 0.22, "incomplete": 0.10, "greenstick": 0.06}


@dataclass(frozen=True)
class Motion:
    """A turn by `angle` radians (counter-clockwise) about (px, py), then a shift by (tx, ty) mm."""

    angle: float = 0.0
    px: float = 0.0
    py: float = 0.0
    tx: float = 0.0
    ty: float = 0.0

    def point(self, x: float, y: float) -> tuple[float, float]:
        dx, dy = self.direction(x - self.px, y - self.py)
        return self.px + dx + self.tx, self.py + dy + self.ty

    def direction(self, x: float, y: float) -> tuple[float, float]:
        cos, sin = float(np.cos(self.angle)), float(np.sin(self.angle))
        return cos * x - sin * y, sin * x + cos * y

    def tube(self, tube: Tube) -> Tube:
        x, y = self.point(tube.origin_x, tube.origin_y)
        ax, ay = self.direction(tube.axis_x, tube.axis_y)
        return tube._replace(origin_x=x, origin_y=y, axis_x=ax, axis_y=ay)

    def blob(self, blob: Blob) -> Blob:
        x, y = self.point(blob.center_x, blob.center_y)
        ax, ay = self.direction(blob.axis_x, blob.axis_y)
        return blob._replace(center_x=x, center_y=y, axis_x=ax, axis_y=ay)


@dataclass(frozen=True)
class LongBone:
    """Radius or ulna in one view, before injury.

    Attributes:
        end_x, end_y: middle of the distal end of the metaphysis.
        tilt: of the axis, radians clockwise.
        half: half-width of the metaphysis; the shaft has `shaft_share` of it.
        flare_length: over which the metaphysis narrows to the shaft.
        depth: depth as a share of the width.
        bow: curvature, 1/mm.
        side: how much more the right edge flares than the left, -1..1.
    """

    end_x: float
    end_y: float
    tilt: float
    half: float
    shaft_share: float
    flare_length: float
    depth: float
    bow: float
    side: float

    def tube(self, anatomy: Anatomy, density: float) -> Tube:
        shaft = self.half * self.shaft_share
        flare = self.half - shaft
        return Tube(
            origin_x=self.end_x,
            origin_y=self.end_y,
            axis_x=float(np.sin(self.tilt)),
            axis_y=float(np.cos(self.tilt)),
            bow=self.bow,
            shaft=shaft,
            flare_left=flare * (1.0 - 0.25 * self.side),
            flare_right=flare * (1.0 + 0.25 * self.side),
            flare_length=self.flare_length,
            depth=self.depth,
            cortex_shaft=min(anatomy.cortex, 0.42 * shaft),
            cortex_end=0.024 * anatomy.width,
            marrow_shaft=0.12 * density,
            marrow_end=0.30 * density,
            end_line=0.26 * (1.0 - anatomy.closure),
            end_curve=-0.25,
            end_wave=0.3,
            callus_mu=MU_CALLUS,
        )

    def half_at(self, location: float) -> float:
        """Half-width `location` mm proximal of the end."""
        flare = 1.0 / (1.0 + (location / self.flare_length) ** 2)
        return self.half * (self.shaft_share + (1.0 - self.shaft_share) * flare)


def long_bones(anatomy: Anatomy, view: str) -> tuple[LongBone, LongBone]:
    """Radius and ulna as `view` shows them; the ulna lies dorsally on a lateral film."""
    width = anatomy.width
    if view == "lateral":
        radius = LongBone(
            0.0, 0.0, 0.02, anatomy.width_lateral / 2, 0.44, 0.60 * width, 1.05, 0.0, -0.2
        )
        ulna = LongBone(
            -0.20 * width, -anatomy.ulnar_offset, 0.03, 0.46 * anatomy.ulna_width, 0.55,
            0.42 * width, 1.0, 0.0, 0.0,
        )  # fmt: skip
        return radius, ulna
    oblique = view == "oblique"
    radius = LongBone(
        0.0, 0.0, 0.0, width / 2 * (0.92 if oblique else 1.0), 0.40, 0.70 * width, 0.80, 3e-4, -0.35
    )
    ulna = LongBone(
        -anatomy.spacing * (0.72 if oblique else 1.0), -anatomy.ulnar_offset, -0.015,
        anatomy.ulna_width / 2, 0.55, 0.42 * width, 0.9, 0.0, 0.15,
    )  # fmt: skip
    return radius, ulna


def motion_of(bone: LongBone, injury: BoneInjury, lateral: bool) -> Motion:
    """How the distal fragment, and what hangs on it, moves in the plane of this view."""
    if injury.kind in ("none", "bowing"):
        return Motion()
    # Dorsal is left on a lateral film, so a dorsal tilt turns counter-clockwise; a radial tilt on a
    # PA film turns clockwise.
    shift = -injury.dorsal if lateral else injury.radial
    angle = float(np.deg2rad(injury.tilt_dorsal if lateral else -injury.tilt_radial))
    half = bone.half_at(injury.location)
    along = np.array([np.sin(bone.tilt), np.cos(bone.tilt)])
    across = np.array([along[1], -along[0]])
    holds = -np.sign(angle) * half * (0.9 if injury.kind in _HINGED else 0.2)
    pivot = np.array([bone.end_x, bone.end_y]) - injury.location * along + holds * across
    offset = shift * across - injury.shortening * along
    if injury.kind in PHYSEAL_KINDS:
        offset = offset + 0.55 * injury.gap * along
    return Motion(angle, float(pivot[0]), float(pivot[1]), float(offset[0]), float(offset[1]))


def broken(
    bone: LongBone, whole: Tube, injury: BoneInjury, lateral: bool, motion: Motion
) -> tuple[Tube, Tube]:
    """The proximal and distal pieces of a long bone; without a fracture they add up to `whole`."""
    kind = injury.kind
    half = bone.half_at(injury.location)
    both = whole._replace(
        cut_at=-injury.location,
        cut_slope=injury.slope,
        cut_soft=0.15 + 0.8 * injury.sclerosis,
        jag_phase=injury.jag_phase,
        jag=0.05 * half + 0.3 if kind in _COMPLETE else (0.3 if kind in _HINGED else 0.0),
        band=_IMPACTION.get(kind, 0.0) * (0.2 + injury.severity) + 0.30 * injury.sclerosis,
        band_width=1.6 + 2.6 * injury.sclerosis,
        **_swollen(injury, half, lateral),
    )
    if kind == "bowing":
        both = both._replace(bow=both.bow + 2e-3 * np.deg2rad(injury.tilt_dorsal) * lateral)
    if kind in PHYSEAL_KINDS:
        both = _corner(both, injury, half, lateral)
    near, far = both._replace(keep=-1.0), both._replace(keep=1.0)
    if kind in _COMPLETE:
        near = near._replace(cut_at=near.cut_at - 0.5 * injury.gap)
        far = far._replace(cut_at=far.cut_at + 0.5 * injury.gap)
    if kind in _HINGED:
        opens = 0.5 * injury.gap / half
        side = 1.0 if motion.angle >= 0 else -1.0
        near = near._replace(
            cut_at=near.cut_at - 0.35 * opens * half, cut_slope=near.cut_slope - opens * side
        )
        far = far._replace(
            cut_at=far.cut_at + 0.35 * opens * half, cut_slope=far.cut_slope + opens * side
        )
    return near, motion.tube(far)


def _swollen(injury: BoneInjury, half: float, lateral: bool) -> dict[str, float]:
    """Buckled cortex and callus; on a lateral film the pressed, dorsal cortex buckles more."""
    left, right = 0.75, 1.0
    if lateral:
        left, right = (1.0, 0.35) if injury.dorsal >= 0 else (0.35, 1.0)
    return dict(
        bump_at=-injury.location,
        bump_length=2.0 + 0.22 * half,
        bump_left=left * injury.bulge,
        bump_right=right * injury.bulge,
        callus_left=injury.callus * (1.2 if lateral else 0.8),
        callus_right=injury.callus,
        callus_length=6.0 + 0.9 * half,
    )


def _corner(tube: Tube, injury: BoneInjury, half: float, lateral: bool) -> Tube:
    """The physeal cut: past the end of the bone but for the metaphyseal corner that breaks off."""
    tube = tube._replace(
        cut_at=30.0, cut_slope=0.0, end_line=tube.end_line * (1.0 - 0.5 * injury.severity)
    )
    if injury.corner == 0.0:
        return tube
    side = 1.0 if not lateral or injury.dorsal < 0 else -1.0
    return tube._replace(
        cut_at=0.6, cut_hinge=1.15 * side, cut_hinge_at=side * (half - injury.corner)
    )


def epiphyses(
    anatomy: Anatomy,
    injury: Injury,
    lateral: bool,
    density: float,
    radius: LongBone,
    ulna: LongBone,
) -> tuple[Blob, Blob, Blob, Blob]:
    """Two halves of the radial epiphysis, the ulnar one, and the styloid.

    Salter-Harris III and IV split the radial one; where it is whole, the first half is all of it
    and the second is hidden.
    """
    radial = _radial_epiphysis(anatomy, lateral, density, radius)
    hidden = radial._replace(mu_rim=0.0, mu_inside=0.0)
    first, second = radial, hidden
    if injury.radius.kind in ("sh3", "sh4") and not lateral:
        gap = 0.4 * injury.radius.gap
        place = 0.12 * radial.half_length
        first = radial._replace(keep=-1.0, split_at=place - 0.5 * gap, split_slope=0.15)
        second = radial._replace(keep=1.0, split_at=place + 0.5 * gap, split_slope=0.15)

    grown = anatomy.ulnar_epiphysis
    half = ulna.half * (0.3 + 0.72 * grown)
    height = anatomy.width * (0.05 + 0.19 * grown)
    gap = 0.8 * anatomy.physis_gap + 0.04 * anatomy.width * (1.0 - grown)
    overlap = anatomy.closure * 0.3 * height
    seen = float(grown > 0)
    ulnar = Blob(
        center_x=ulna.end_x,
        center_y=ulna.end_y + gap - overlap + 0.5 * (height + overlap),
        axis_x=float(np.cos(ulna.tilt)),
        axis_y=-float(np.sin(ulna.tilt)),
        half_length=half,
        half_height=0.5 * (height + overlap),
        depth=0.80 * ulna.half * (0.3 + 0.7 * grown),
        pinch=0.12,
        taper=0.0 if lateral else -0.15,
        square=0.6,
        rim=0.026 * anatomy.width,
        mu_rim=0.7 * MU_CORTEX * density * seen,
        mu_inside=0.33 * MU_CORTEX * density * seen,
        clip=anatomy.closure,
        clip_at=-0.5 * (height + overlap) + overlap,
    )
    top = ulna.end_y + gap + height
    return first, second, ulnar, _styloid(anatomy, injury, lateral, density, ulna, half, top)


def _radial_epiphysis(anatomy: Anatomy, lateral: bool, density: float, radius: LongBone) -> Blob:
    """A wedge with a flat base along the physis, taller radially (PA) or dorsally (lateral)."""
    grown = anatomy.radial_epiphysis
    width = anatomy.width
    half = radius.half * (0.25 + 0.84 * grown)
    height = width * (0.10 + 0.32 * grown)
    gap = anatomy.physis_gap + 0.06 * width * (1.0 - grown)
    overlap = anatomy.closure * 0.3 * height
    slope = (-anatomy.tilt if lateral else anatomy.inclination) * grown
    half_height = 0.5 * (height + overlap)
    taper = 0.5 * slope * half / half_height
    pinch = 0.10 * grown
    seen = float(grown > 0)
    return Blob(
        center_x=radius.end_x + (0.02 if lateral else 0.05) * width * (2.0 - grown),
        center_y=radius.end_y + gap - overlap + half_height,
        axis_x=float(np.cos(radius.tilt)),
        axis_y=-float(np.sin(radius.tilt)),
        half_length=half,
        half_height=half_height,
        depth=0.85 * radius.half * radius.depth * (0.3 + 0.7 * grown),
        taper=taper,
        pinch=pinch,
        # The base is flat: what the height gains the mid-line gains too.
        shear=taper * half_height / half,
        bend=pinch * half_height,
        square=0.55,
        rim=0.030 * width,
        mu_rim=0.7 * MU_CORTEX * density * seen,
        mu_inside=0.30 * MU_CORTEX * density * seen,
        clip=anatomy.closure,
        clip_at=-half_height + overlap,
    )


def _styloid(
    anatomy: Anatomy,
    injury: Injury,
    lateral: bool,
    density: float,
    ulna: LongBone,
    half: float,
    top: float,
) -> Blob:
    """The ulnar styloid process, or its fragment drawn off distally and ulnarly."""
    length = anatomy.styloid_length * anatomy.styloid
    lift = injury.styloid_gap
    lean = 0.12 + 0.05 * lift
    seen = float(length > 0)
    return Blob(
        center_x=ulna.end_x - (0.25 if lateral else 0.74) * half - 0.45 * lift,
        center_y=top + (0.10 if lift == 0 else 0.30) * length + 0.9 * lift,
        axis_x=float(np.sin(-lean if lift else 0.1)),
        axis_y=float(np.cos(lean)),
        half_length=(0.85 if lift == 0 else 0.60) * length + 0.3,
        half_height=0.33 * length + 0.5,
        depth=0.40 * length + 1.0,
        taper=-0.35,
        square=0.2,
        rim=0.022 * anatomy.width,
        mu_rim=0.85 * MU_CORTEX * density * seen,
        mu_inside=0.50 * MU_CORTEX * density * seen,
    )


def carpals(anatomy: Anatomy, injury: Injury, lateral: bool, density: float) -> list[Blob]:
    """The carpal bones; what has not ossified is hidden, a broken scaphoid has its line."""
    width = anatomy.width
    blobs = []
    for bone, grown in zip(CARPALS, anatomy.carpals, strict=True):
        x, y, a, b, degrees = bone.lateral if lateral else bone.pa
        # A young ossification centre is a small round dot.
        size = 0.14 + 0.84 * grown
        b = b * width * size
        a = b + (a * width * size - b) * (0.3 + 0.7 * grown)
        seen = float(grown > 0)
        blobs.append(
            Blob(
                center_x=x * width,
                center_y=y * width + _lift(anatomy),
                axis_x=float(np.cos(np.deg2rad(degrees))),
                axis_y=float(np.sin(np.deg2rad(degrees))),
                half_length=a,
                half_height=b,
                depth=0.25 * width * size,
                bend=bone.bend * width * grown * 2.0,
                taper=bone.taper * grown,
                square=bone.square,
                rim=0.024 * width * (0.6 + 0.4 * grown),
                mu_rim=0.62 * MU_CORTEX * density * seen,
                mu_inside=0.27 * MU_CORTEX * density * seen,
                line=0.8 if bone.name == "scaphoid" and injury.scaphoid > 0 else 0.0,
                line_width=0.5 * injury.scaphoid + 0.3,
                line_slope=0.2,
            )
        )
    return blobs


def _lift(anatomy: Anatomy) -> float:
    """Cartilage holds the small bones of a young child further from the radius, mm."""
    return (0.02 + 0.28 * (1.0 - anatomy.radial_epiphysis)) * anatomy.width


# Base (x, y) in units of W, direction in degrees, thickness.
_METACARPALS = {
    False: ((-0.76, 1.26, 109, 0.9), (-0.45, 1.31, 100, 0.95), (-0.10, 1.36, 92, 1.0),
            (0.30, 1.36, 80, 1.05), (0.78, 1.20, 62, 1.05)),
    True: ((-0.12, 1.34, 95, 0.9), (-0.05, 1.38, 91, 0.95), (0.02, 1.38, 87, 1.0),
           (0.08, 1.38, 82, 1.0), (0.42, 1.24, 55, 1.0)),
}  # fmt: skip


def metacarpals(anatomy: Anatomy, lateral: bool, density: float) -> list[Tube]:
    """The five metacarpals."""
    width = anatomy.width
    tubes = []
    for x, y, degrees, thick in _METACARPALS[lateral]:
        length = 2.0 * width * (0.75 if degrees < 70 else 1.0)
        along_x, along_y = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        tubes.append(
            Tube(
                origin_x=float(x * width + length * along_x),
                origin_y=float(y * width + _lift(anatomy) + length * along_y),
                axis_x=float(along_x),
                axis_y=float(along_y),
                length=length,
                shaft=0.125 * width * thick,
                flare_left=0.11 * width,
                flare_right=0.11 * width,
                flare_length=0.30 * width,
                base_flare=0.08 * width * thick,
                base_length=0.22 * width,
                cortex_shaft=0.050 * width,
                cortex_end=0.022 * width,
                marrow_shaft=0.16 * density,
                marrow_end=0.28 * density,
                end_line=0.08,
            )
        )
    return tubes
