"""Bones of one view as tubes and blobs: long bones and how they break, epiphyses.

The frame is that of `phantom_parts`. What breaks off moves by a rigid `Motion`.
"""

from dataclasses import dataclass

import numpy as np

from wristmir_jax.images.phantom_anatomy import Anatomy
from wristmir_jax.images.phantom_fractures import PHYSEAL_KINDS, BoneInjury, Injury
from wristmir_jax.images.phantom_joints import wave_radius
from wristmir_jax.images.phantom_parts import MU_CALLUS, MU_CORTEX, WAVES, Blob, Tube
from wristmir_jax.images.phantom_variation import (
    RING,
    draw_of,
    early,
    made_uneven,
    scale_of,
    waves_of,
)

_COMPLETE = ("complete", "shaft_complete")
# Fractures that hinge on the cortex that is whole: how far beyond the middle their line ends, as a
# share of the half-width.
_HINGE = {"greenstick": 0.5, "incomplete": 0.0, "shaft_greenstick": 0.4}
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
class Physis:
    """Undulation of a growth plate: height in mm, waves a mm across, phase in waves.

    `corners` is how far the metaphysis is rounded off beside it, mm.
    """

    wave: float
    frequency: float
    phase: float
    corners: float

    def base(self, off: float) -> dict[str, float]:
        """Fields of a `Blob` whose lower edge follows it, centred `off` mm beside the end."""
        phase = self.phase + self.frequency * off
        return dict(base_wave=self.wave, base_frequency=self.frequency, base_phase=phase)


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
        dome: by how much the middle of the end lies distal of its edges, mm.
        physis: how its growth plate undulates.
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
    dome: float
    physis: Physis

    def tube(self, anatomy: Anatomy, density: float) -> Tube:
        shaft = self.half * self.shaft_share
        flare = self.half - shaft
        # The shaft, not the end, moves where one edge flares more than the other.
        shift = 0.25 * self.side * flare
        # `dome` is measured 0.38 widths off the middle; the end's mean height is to be 0.
        rise = 0.21 * self.dome
        return Tube(
            origin_x=self.end_x - shift * float(np.cos(self.tilt)),
            origin_y=self.end_y + rise + shift * float(np.sin(self.tilt)),
            axis_x=float(np.sin(self.tilt)),
            axis_y=float(np.cos(self.tilt)),
            bow=self.bow,
            shaft=shaft,
            flare_left=flare * (1.0 - 0.25 * self.side),
            flare_right=flare * (1.0 + 0.25 * self.side),
            flare_length=self.flare_length,
            depth=self.depth,
            cortex_shaft=min(1.4 * anatomy.cortex, 0.45 * shaft),
            cortex_end=0.014 * anatomy.width,
            marrow_shaft=0.09 * density,
            marrow_end=0.27 * density,
            end_line=0.34 * (1.0 - 0.6 * anatomy.closure) * density,
            end_zone=0.10 * density,
            end_zone_length=0.45 * anatomy.width,
            end_curve=-0.05 - self.dome * (shaft / (0.76 * self.half)) ** 2,
            end_round=self.physis.corners * (1.0 - anatomy.closure),
            end_wave=self.physis.wave,
            end_frequency=self.physis.frequency,
            end_phase=self.physis.phase - self.physis.frequency * shift,
            callus_mu=MU_CALLUS,
        )

    def half_at(self, location: float) -> float:
        """Half-width `location` mm proximal of the end."""
        flare = 1.0 / (1.0 + (location / self.flare_length) ** 2)
        return self.half * (self.shaft_share + (1.0 - self.shaft_share) * flare)


def long_bones(anatomy: Anatomy, view: str) -> tuple[LongBone, LongBone]:
    """Radius and ulna as `view` shows them; the ulna lies dorsally on a lateral film."""
    scaled, width = scale_of(anatomy, view == "lateral")
    narrowed = 0.92 if view == "oblique" else 1.0
    # Once the physis has closed the metaphysis is as wide as the epiphysis.
    closed = float(np.clip(3.3 * anatomy.closure - 2.3, 0.0, 1.0))
    joins = 1.0 + 0.08 * closed
    lateral = view == "lateral"
    draw = draw_of(anatomy, "plates")
    # Plates grow uneven as they near their end.
    uneven = float(np.clip((anatomy.skeletal - 4.0) / 8.0, 0.15, 1.0))
    radial_physis, ulnar_physis = (
        Physis(
            wave=uneven * draw.uniform(0.2, 1.0) * most * width,
            frequency=draw.uniform(1.0, 1.9) / (share * width),
            phase=draw.uniform(0.0, 1.0),
            corners=0.021 * uneven * width,
        )
        for most, share in ((0.016, 1.0), (0.020, 0.6))
    )
    flare_length = 0.52 if lateral else 0.63 + 0.03 * anatomy.variation[0]
    share = 0.0
    for place, weight in ((1.6, 0.35), (2.2, 0.65)):
        beyond = 1.0 / (1.0 + (place / flare_length) ** 2)
        seen = anatomy.value(scaled, f"radius_width_at_{place}", 0.7)
        share += weight * (seen - beyond) / (1.0 - beyond)
    radius = LongBone(
        end_x=0.0,
        end_y=0.0,
        tilt=-0.012 if lateral else -0.019,
        # The dome takes the corners off, where the bone would be widest.
        half=(0.5 if lateral else 0.506) * width * narrowed * joins,
        shaft_share=float(np.clip(share, 0.3, 0.55)) / joins,
        flare_length=flare_length * (1.0 + 0.25 * closed) * width,
        depth=1.05 if lateral else 0.86,
        bow=0.0 if lateral else 3e-4,
        side=float(
            np.clip(
                (-30.0 if lateral else -18.0) * anatomy.value(scaled, "radius_shaft_x", 0.6),
                -2.5,
                2.5,
            )
        ),
        dome=(anatomy.value(scaled, "radius_end_dome", 0.5) - (0.014 if lateral else 0.005))
        * (1.0 - closed)
        * width,
        physis=radial_physis,
    )
    ulna = LongBone(
        end_x=anatomy.value(scaled, "ulna_x") * width * (0.72 if view == "oblique" else 1.0),
        end_y=anatomy.value(scaled, "ulna_y") * width,
        tilt=-float(np.deg2rad(anatomy.value(scaled, "ulna_lean", 0.7))),
        half=1.02 * anatomy.value(scaled, "ulna_width") * width / 2,
        shaft_share=0.56,
        flare_length=(0.34 if lateral else 0.36) * width,
        depth=1.0 if lateral else 0.9,
        bow=0.0,
        side=0.0 if lateral else 0.15,
        dome=0.0,
        physis=ulnar_physis,
    )
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
    # Broken bone opens about a hinge beyond its middle; a buckled cortex gives way to the other.
    hinge = _HINGE.get(injury.kind, 0.2)
    holds = -np.sign(angle) * half * (hinge if injury.kind != "buckle" else -0.95)
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
        # Fracture planes are oblique to the beam.
        cut_soft=0.3 + 0.7 * injury.sclerosis,
        jag_phase=injury.jag_phase,
        # Healing rounds the teeth of the line off.
        jag=(1.0 - injury.sclerosis)
        * (0.02 * half + 0.25 if kind in _COMPLETE else (0.25 if kind in _HINGE else 0.0)),
        band=_IMPACTION.get(kind, 0.0) * (0.2 + injury.severity) + 0.30 * injury.sclerosis,
        band_width=2.2 + 2.4 * injury.sclerosis,
        **_swollen(injury, half, lateral),
    )
    if kind in PHYSEAL_KINDS:
        both = _corner(both, injury, half, lateral)
    near, far = both._replace(keep=-1.0), both._replace(keep=1.0)
    if kind in _COMPLETE:
        # Teeth broke off: the two edges do not fit.
        near = near._replace(cut_at=near.cut_at - 0.5 * injury.gap, jag_phase=near.jag_phase + 0.08)
        far = far._replace(cut_at=far.cut_at + 0.5 * injury.gap)
    if kind in _HINGE:
        # The line is as wide as the gap at the broken cortex and ends at the hinge.
        side = 1.0 if motion.angle >= 0 else -1.0
        near = near._replace(
            cut_hinge=side * injury.gap / (half * (1.0 + _HINGE[kind])),
            cut_hinge_at=-side * _HINGE[kind] * half,
        )
    return near, motion.tube(far)


def _swollen(injury: BoneInjury, half: float, lateral: bool) -> dict[str, float]:
    """Buckled cortex, bowed shaft and callus.

    On a lateral film the pressed cortex, the one that the bone tilts to, buckles more.
    """
    left, right = 0.75, 1.0
    if lateral:
        left, right = (1.0, 0.35) if injury.tilt_dorsal >= 0 else (0.35, 1.0)
    bump_length = 1.8 + 0.18 * half
    left, right = left * injury.bulge, right * injury.bulge
    if injury.kind == "bowing":
        # Both edges go the same way; 3.08 is by how much the bell's slope changes in all.
        bump_length = injury.location
        tilt = injury.tilt_dorsal if lateral else -injury.tilt_radial
        right = float(np.deg2rad(tilt)) * bump_length / 3.08
        left = -right
    return dict(
        bump_at=-injury.location,
        bump_length=bump_length,
        bump_left=left,
        bump_right=right,
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
    side = -1.0 if (injury.dorsal >= 0 if lateral else injury.radial < 0) else 1.0
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
    draw = draw_of(anatomy, "epiphyses")
    radial = made_uneven(_radial_epiphysis(anatomy, lateral, density, radius), draw, share=0.35)
    hidden = radial._replace(mu_rim=0.0, mu_inside=0.0)
    first, second = radial, hidden
    if injury.radius.kind in ("sh3", "sh4") and not lateral:
        gap = 0.5 * injury.radius.gap
        # In type IV the split runs on into the metaphysis.
        place = 0.12 * radial.half_length
        if injury.radius.kind == "sh4":
            place = radius.end_x + radius.half - injury.radius.corner - radial.center_x
        first = radial._replace(keep=-1.0, split_at=place - 0.5 * gap, split_slope=0.15)
        second = radial._replace(keep=1.0, split_at=place + 0.5 * gap, split_slope=0.15)

    grown = anatomy.ulnar_epiphysis
    view, scale = scale_of(anatomy, lateral)
    young = early(grown)
    joins = 1.0 - 0.10 * anatomy.closure
    half = 0.5 * young * joins * scale * anatomy.value(view, "ulnar_epiphysis_width", 0.7)
    height = young * scale * anatomy.value(view, "ulnar_epiphysis_height", 0.7)
    gap = scale * anatomy.value(view, "ulnar_epiphysis_gap", 0.5) * (1.0 - anatomy.closure)
    overlap = anatomy.closure * 0.3 * height
    seen = float(grown > 0)
    off = scale * anatomy.value(view, "ulnar_epiphysis_x", 0.7)
    if not lateral and ulna.end_x + ulna.half < radius.end_x - radius.half:
        # The joint between bones that lie side by side is never bridged.
        across = np.cos(RING) * wave_radius(RING, [getattr(radial, name) for name in WAVES])
        edge = radial.center_x + radial.half_length * float(across.min())
        reach = edge - 0.005 * scale - ulna.end_x
        beyond = max(off + half - reach, 0.0)
        off, half = off - 0.75 * beyond, half - 0.15 * beyond
    head = _head(0.5 * (height + overlap), half, grown, lateral)
    ulnar = Blob(
        center_x=ulna.end_x + off,
        center_y=ulna.end_y + gap - overlap + head["half_height"],
        axis_x=float(np.cos(ulna.tilt)),
        axis_y=-float(np.sin(ulna.tilt)),
        half_length=half,
        depth=0.80 * ulna.half * (0.3 + 0.7 * grown),
        **head,
        square=0.6,
        **ulna.physis.base(off),
        rim=0.026 * anatomy.width,
        mu_rim=0.78 * MU_CORTEX * density * seen,
        mu_inside=0.33 * MU_CORTEX * density * seen,
        clip=anatomy.closure,
        clip_at=overlap - head["half_height"],
    )
    ulnar = made_uneven(ulnar, draw, share=0.35)
    top = ulnar.center_y + ulnar.half_height
    return (
        first,
        second,
        ulnar,
        _styloid(anatomy, injury, lateral, density, ulna.end_x + off, half, top),
    )


# Where along an epiphysis its height and base are measured.
SHARES = (0.2, 0.5, 0.8)


def epiphysis_form(length: float, heights: list[float], bases: list[float]) -> dict[str, float]:
    """Fields of the `Blob` with these heights and this base at `SHARES` of its length.

    `center` is how far its centre lies above the line that the bases are measured from.
    """
    left, middle, right = heights
    low, centre, high = (base + height / 2 for base, height in zip(bases, heights, strict=True))
    reach = 2.0 * SHARES[2] - 1.0
    return {
        "half_length": length / 2,
        "half_height": middle / 2,
        "taper": (right - left) / (2.0 * reach * middle),
        "pinch": ((right + left) / (2.0 * middle) - 1.0) / reach**2,
        "shear": (high - low) / (reach * length),
        "bend": ((high + low) / 2 - centre) / reach**2,
        "center": centre,
    }


def _radial_epiphysis(anatomy: Anatomy, lateral: bool, density: float, radius: LongBone) -> Blob:
    """A wedge with a flat base along the physis, taller radially (PA) or dorsally (lateral)."""
    grown = anatomy.radial_epiphysis
    view, width = scale_of(anatomy, lateral)
    young = early(grown)
    heights, bases = [], []
    for share in SHARES:
        height = anatomy.value(view, f"radial_epiphysis_height_at_{share}", 0.5)
        heights.append(young * width * max(0.08, height))
        base = anatomy.value(view, f"radial_epiphysis_base_at_{share}", 0.0)
        base += 0.5 * anatomy.closure * max(0.0, -base)
        bases.append(width * base)
    # The plate between epiphysis and metaphysis varies as a whole and vanishes.
    usual = anatomy.value(view, "physis_gap", 0.0)
    gap = (1.0 - anatomy.closure) * (0.006 + max(0.008, anatomy.value(view, "physis_gap", 0.5)))
    overlap = 0.1 * anatomy.closure * width
    form = epiphysis_form(
        young * width * anatomy.value(view, "radial_epiphysis_width", 0.6),
        [height + overlap for height in heights],
        [base - overlap + (gap - usual) * width for base in bases],
    )
    up = form.pop("center")
    waves = waves_of(anatomy, view, "radial_epiphysis", 0.45)
    # Waves go around a circle of this radius; the form is that of the unit circle.
    radius_share = anatomy.value(view, "radial_epiphysis_radius", 0.0)
    across = np.cos(RING) * wave_radius(RING, list(waves.values()))
    long = 2.0 / float(np.ptp(across))
    off = -form["half_length"] * long * float(across.max() + across.min()) / 2
    beside = off + width * anatomy.value(view, "radial_epiphysis_x", 0.6)
    form |= {
        "half_length": form["half_length"] * long,
        "half_height": form["half_height"] * radius_share,
        "taper": form["taper"] * long,
        "pinch": form["pinch"] * long**2,
        "bend": form["bend"] * long**2,
    }
    seen = float(grown > 0)
    return Blob(
        center_x=radius.end_x + beside,
        center_y=radius.end_y + up,
        depth=0.85 * radius.half * radius.depth * (0.3 + 0.7 * grown),
        **form,
        **waves,
        **radius.physis.base(beside),
        # The dorsal rim of the joint surface, behind the epiphysis on a PA film.
        surface=0.0 if lateral else 0.5 * grown,
        surface_at=0.40 + 0.12 * anatomy.variation[1],
        rim=0.024 * width,
        mu_rim=0.78 * MU_CORTEX * density * seen,
        mu_inside=0.30 * MU_CORTEX * density * seen,
        clip=anatomy.closure,
        clip_at=-up - 0.04 * width,
    )


def _head(half_height: float, half: float, grown: float, lateral: bool) -> dict[str, float]:
    """Fields of the `Blob` of the ulnar epiphysis: hollow beside the styloid, its base flat."""
    hollow, taper = (0.12, 0.0) if lateral else (0.12 + 0.5 * grown, -0.05 + 0.15 * grown)
    # The middle of the height is to stay.
    half_height /= 1.0 + 0.4 * (hollow - 0.12)
    return dict(
        half_height=half_height,
        pinch=hollow,
        taper=taper,
        bend=0.8 * hollow * half_height,
        shear=taper * half_height / half,
    )


def _styloid(
    anatomy: Anatomy,
    injury: Injury,
    lateral: bool,
    density: float,
    middle: float,
    half: float,
    top: float,
) -> Blob:
    """The ulnar styloid process, or what is above its base drawn off distally and ulnarly.

    `middle`, `half` and `top` are those of the epiphysis, mm.
    """
    view, width = scale_of(anatomy, lateral)
    # 0.85 of it rises above the epiphysis.
    length = width * max(0.04, anatomy.value(view, "ulnar_styloid_rise")) / 0.85
    lift = injury.styloid_gap
    lean = 0.1 - 0.06 * lift
    thick = 0.32 * length + 0.030 * width * anatomy.styloid + 0.3
    seen = float(anatomy.styloid > 0)
    beside = 0.25 * half if lateral else 0.97 * half - 1.2 * thick
    return Blob(
        # Its ulnar side goes on that of the epiphysis.
        center_x=middle - beside - 0.45 * lift,
        center_y=top + 0.10 * length + 0.9 * lift,
        axis_x=float(np.sin(lean)),
        axis_y=float(np.cos(lean)),
        half_length=0.85 * length + 0.3,
        half_height=thick,
        depth=0.50 * length + 1.6,
        taper=-0.5,
        square=0.2,
        rim=0.022 * anatomy.width,
        mu_rim=0.85 * MU_CORTEX * density * seen,
        mu_inside=0.75 * MU_CORTEX * density * seen,
        # What is whole rises from the epiphysis, of which it is a part.
        keep=1.0,
        split_at=-0.3 * length if lift > 0 else -0.10 * length - 0.3,
        split_slope=0.3,
    )
