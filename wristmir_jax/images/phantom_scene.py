"""From a wrist, its injury and a view to the arrays that are drawn, and to the region boxes.

x points radially on a PA film and volarly on a lateral one, y distally, mm; the origin is the middle
of the distal end of the radial metaphysis. What breaks off moves by a rigid `Motion`, and everything
distal of it moves along.
"""

from dataclasses import dataclass, replace

import numpy as np

from wristmir_jax import anatomy as regions_table
from wristmir_jax.images.phantom_anatomy import CARPALS, Anatomy
from wristmir_jax.images.phantom_fractures import BoneInjury, Injury
from wristmir_jax.images.phantom_render import (
    BLOB_FIELDS,
    FIELD_FIELDS,
    MU_CALLUS,
    MU_CORTEX,
    SEGMENT_FIELDS,
    TUBE_FIELDS,
    Scene,
    max_texture_offset,
)

NUM_TUBES, NUM_BLOBS, NUM_SEGMENTS = 9, 15, 9


@dataclass(frozen=True)
class Motion:
    """A turn by `angle` radians (counter-clockwise) about (px, py), then a shift by (tx, ty) mm."""

    angle: float = 0.0
    px: float = 0.0
    py: float = 0.0
    tx: float = 0.0
    ty: float = 0.0

    def point(self, x: float, y: float) -> tuple[float, float]:
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        dx, dy = x - self.px, y - self.py
        return self.px + cos * dx - sin * dy + self.tx, self.py + sin * dx + cos * dy + self.ty


@dataclass(frozen=True)
class Extras:
    """What lies on the film besides the wrist."""

    cast: bool = False
    wires: int = 0
    osteopenia: bool = False


@dataclass(frozen=True)
class Pose:
    """Where the wrist lies on the film and how it was exposed; lengths mm, angles radians."""

    rotation: float
    shift_x: float
    shift_y: float
    film_half_width: float
    film_half_height: float
    film_rotation: float
    frame: float
    frame_width: float
    gamma: float
    exposure: float
    floor: float
    noise: float
    marker_x: float
    marker_y: float
    marker_size: float
    offsets: tuple[int, int, int, int]


def sample_pose(anatomy: Anatomy, size: int, rng: np.random.Generator) -> Pose:
    """Draw pose, collimation and exposure: up to 20 degrees of rotation, most films within 8."""
    turn = float(np.clip(rng.normal(0.0, 6.0), -20.0, 20.0))
    half_height = 0.5 * (52.0 + 2.0 * anatomy.width) * rng.uniform(0.86, 1.16)
    half_width = half_height * rng.uniform(0.64, 0.84)
    most = max_texture_offset(size)
    return Pose(
        rotation=np.deg2rad(turn),
        shift_x=0.42 * anatomy.width + rng.normal(0.0, 2.5),
        shift_y=rng.normal(-2.0, 5.0),
        film_half_width=half_width,
        film_half_height=half_height,
        film_rotation=np.deg2rad(rng.normal(0.0, 2.0)),
        frame=float(rng.random() < 0.6) * rng.uniform(0.5, 1.0),
        frame_width=rng.uniform(1.0, 3.0),
        gamma=rng.uniform(0.85, 1.25),
        exposure=rng.uniform(0.40, 0.52),
        floor=rng.uniform(0.02, 0.14),
        noise=rng.uniform(0.006, 0.028),
        marker_x=-half_width * rng.uniform(0.74, 0.86),
        marker_y=half_height * rng.uniform(-0.75, 0.75),
        marker_size=rng.uniform(4.0, 6.5),
        offsets=tuple(int(v) for v in rng.integers(0, most, 4)),  # type: ignore[arg-type]
    )


def _row(fields: list[str], values: dict[str, float]) -> np.ndarray:
    return np.array([values[name] for name in fields], np.float32)


def _tube(**values: float) -> dict[str, float]:
    default = dict.fromkeys(TUBE_FIELDS, 0.0)
    default.update(
        axis_y=1.0, length=400.0, flare_length=1.0, base_length=1.0, depth=0.85, cortex_end=0.6,
        marrow_shaft=0.10, marrow_end=0.34, bump_length=1.0, band_width=1.0, callus_length=1.0,
        callus_mu=MU_CALLUS, opacity=1.0,
    )  # fmt: skip
    default.update(values)
    return default


def _blob(**values: float) -> dict[str, float]:
    default = dict.fromkeys(BLOB_FIELDS, 0.0)
    default.update(
        axis_x=1.0, half_length=1.0, half_height=1.0, depth=0.0, rim=0.1, mu_rim=0.75 * MU_CORTEX,
        mu_inside=0.40 * MU_CORTEX, line_width=1.0,
    )  # fmt: skip
    default.update(values)
    return default


@dataclass(frozen=True)
class _LongBone:
    """Radius or ulna in one view, before injury."""

    end_x: float
    end_y: float
    tilt: float
    half: float
    flare_length: float
    shaft_share: float
    depth: float
    bow: float
    side: float

    def tube(self, anatomy: Anatomy, density: float) -> dict[str, float]:
        shaft = self.half * self.shaft_share
        flare = self.half - shaft
        return _tube(
            origin_x=self.end_x,
            origin_y=self.end_y,
            axis_x=np.sin(self.tilt),
            axis_y=np.cos(self.tilt),
            shaft=shaft,
            flare_left=flare * (1.0 - 0.25 * self.side),
            flare_right=flare * (1.0 + 0.25 * self.side),
            flare_length=self.flare_length,
            bow=self.bow,
            depth=self.depth,
            cortex_shaft=min(anatomy.cortex, 0.45 * shaft),
            cortex_end=0.028 * anatomy.width,
            marrow_shaft=0.13 * density,
            marrow_end=0.34 * density,
            end_line=0.22 * (1.0 - anatomy.closure),
            end_curve=-0.25,
            end_wave=0.25,
        )


def _break(
    tube: dict[str, float],
    injury: BoneInjury,
    lateral: bool,
    half_at: float,
    pixel_soft: float,
) -> tuple[dict[str, float], dict[str, float], Motion]:
    """The proximal and distal pieces of a long bone, and the motion of what is distal."""
    # Dorsal is to the left on a lateral film, where the dorsal tilt is counter-clockwise; a radial tilt on a
    # PA film is clockwise.
    sign = -1.0 if lateral else 1.0
    shift = sign * (injury.dorsal if lateral else injury.radial)
    tilt = np.deg2rad(injury.tilt_dorsal) if lateral else -np.deg2rad(injury.tilt_radial)
    kind = injury.kind
    at = -injury.location
    axis = np.array([tube["axis_x"], tube["axis_y"]])
    across = np.array([axis[1], -axis[0]])
    origin = np.array([tube["origin_x"], tube["origin_y"]])
    # Tilted about the cortex that holds: the concave side.
    holds = (
        np.sign(-tilt) * half_at * (0.9 if "greenstick" in kind or kind == "incomplete" else 0.2)
    )
    pivot = origin + at * axis + holds * across
    offset = shift * across - injury.shortening * axis
    physeal = kind.startswith("sh") and not kind.startswith("shaft")
    if physeal:
        offset = offset + 0.55 * injury.gap * axis
    motion = Motion(tilt, pivot[0], pivot[1], offset[0], offset[1])
    if kind == "none":
        motion = Motion()

    near, far = dict(tube), dict(tube)
    near["keep"], far["keep"] = -1.0, 1.0
    far["origin_x"], far["origin_y"] = motion.point(*origin)
    cos, sin = np.cos(motion.angle), np.sin(motion.angle)
    far["axis_x"], far["axis_y"] = cos * axis[0] - sin * axis[1], sin * axis[0] + cos * axis[1]

    gap = injury.gap if kind in ("complete", "shaft_complete") else 0.0
    for piece, direction in ((near, -1.0), (far, 1.0)):
        piece["cut_at"] = at + direction * 0.5 * gap
        piece["cut_slope"] = injury.slope
        piece["cut_soft"] = 0.15 + 0.8 * injury.sclerosis + pixel_soft
        piece["jag_phase"] = injury.jag_phase
        piece["bump_at"] = at
        piece["jag"] = 0.05 * half_at + 0.35 if kind in ("complete", "shaft_complete") else 0.0
    if kind in ("greenstick", "incomplete", "shaft_greenstick"):
        # A line that opens from the intact cortex towards the broken one.
        opens = 0.5 * injury.gap / max(half_at, 1.0)
        side = 1.0 if tilt >= 0 else -1.0
        for piece, direction in ((near, -1.0), (far, 1.0)):
            piece["cut_slope"] += direction * opens * side
            piece["cut_at"] += direction * opens * half_at * 0.35
            piece["jag"] = 0.3
    if physeal:
        # No cut through the metaphysis, except for the corner that stays with the epiphysis.
        corner = injury.corner if kind in ("sh2", "sh4") else 0.0
        side = sign * (1.0 if injury.dorsal >= 0 else -1.0) if lateral else 1.0
        for piece, direction in ((near, -1.0), (far, 1.0)):
            piece["cut_at"] = 30.0 if corner == 0 else 0.4 + 0.15 * direction
            piece["cut_slope"] = 0.0
            piece["cut_hinge"] = 1.15 * side if corner else 0.0
            piece["cut_hinge_at"] = side * (half_at - corner)
            piece["jag"] = 0.0
            piece["end_line"] = tube["end_line"] * (1.0 - 0.5 * injury.severity)
        if not corner:
            far["opacity"] = 0.0
    bulge_left, bulge_right = injury.bulge, injury.bulge
    if lateral:
        bulge_left, bulge_right = (
            (bulge_left, 0.35 * bulge_right)
            if injury.dorsal >= 0
            else (0.35 * bulge_left, bulge_right)
        )
    else:
        bulge_left, bulge_right = 0.75 * bulge_left, bulge_right
    impacted = {"buckle": 0.22, "incomplete": 0.10, "greenstick": 0.06}.get(kind, 0.0)
    for piece in (near, far):
        piece["bump_length"] = 2.0 + 0.22 * half_at
        piece["bump_left"], piece["bump_right"] = bulge_left, bulge_right
        piece["band"] = impacted * (0.25 + injury.severity) + 0.30 * injury.sclerosis
        piece["band_width"] = 1.6 + 2.6 * injury.sclerosis
        piece["callus_left"] = injury.callus * (1.2 if lateral else 0.8)
        piece["callus_right"] = injury.callus
        piece["callus_length"] = 6.0 + 0.9 * half_at
        if kind == "bowing":
            piece["bow"] = tube["bow"] + (0.004 * tilt if lateral else 0.0)
    if kind == "bowing":
        far["origin_x"], far["origin_y"] = tube["origin_x"], tube["origin_y"]
        far["axis_x"], far["axis_y"] = tube["axis_x"], tube["axis_y"]
        motion = Motion()
    return near, far, motion


def _half_at(tube: dict[str, float], location: float) -> float:
    flare = 1.0 / (1.0 + (location / tube["flare_length"]) ** 2)
    return tube["shaft"] + 0.5 * (tube["flare_left"] + tube["flare_right"]) * flare


def _move(blob: dict[str, float], motion: Motion) -> dict[str, float]:
    moved = dict(blob)
    moved["center_x"], moved["center_y"] = motion.point(blob["center_x"], blob["center_y"])
    cos, sin = np.cos(motion.angle), np.sin(motion.angle)
    moved["axis_x"] = cos * blob["axis_x"] - sin * blob["axis_y"]
    moved["axis_y"] = sin * blob["axis_x"] + cos * blob["axis_y"]
    return moved


def _epiphyses(
    anatomy: Anatomy,
    injury: Injury,
    lateral: bool,
    density: float,
    radius: _LongBone,
    ulna: _LongBone,
) -> tuple[list[dict[str, float]], dict[str, float], dict[str, float]]:
    """Both halves of the radial epiphysis (split by Salter-Harris III and IV), the ulnar one, the styloid."""
    grown = anatomy.radial_epiphysis
    half = radius.half * (0.25 + 0.82 * grown)
    height = anatomy.width * (0.10 + 0.36 * grown)
    slope = (-anatomy.tilt if lateral else anatomy.inclination) * grown
    axis_x, axis_y = np.cos(radius.tilt), -np.sin(radius.tilt)
    gap = anatomy.physis_gap + (0.55 * anatomy.width * 0.10 * (1 - grown))
    overlap = anatomy.closure * 0.3 * height
    mid_y = radius.end_y + gap - overlap + 0.5 * (height + overlap)
    common = dict(
        center_x=radius.end_x + (0.05 if not lateral else 0.02) * anatomy.width * (1 + (1 - grown)),
        center_y=mid_y,
        axis_x=axis_x,
        axis_y=axis_y,
        half_length=half,
        half_height=0.5 * (height + overlap),
        taper=slope * half / (height + overlap) * 0.9,
        shear=0.5 * slope * 0.9,
        bend=-0.03 * height,
        square=0.75,
        depth=0.72 * radius.half * radius.depth / 0.85 * (0.3 + 0.7 * grown),
        rim=0.035 * anatomy.width,
        mu_inside=0.42 * MU_CORTEX * density,
        mu_rim=0.8 * MU_CORTEX * density,
        clip=anatomy.closure,
        clip_at=-0.5 * (height + overlap) + overlap,
    )
    blobs = [_blob(**common), _blob(**common)]
    split = injury.radius.kind in ("sh3", "sh4")
    place = 0.15 * half
    for blob, side in zip(blobs, (-1.0, 1.0), strict=True):
        blob["keep"] = side if split else 0.0
        blob["split_at"] = place + side * 0.5 * injury.radius.gap * 0.6 if split else 0.0
        blob["split_slope"] = 0.15
    if not split:
        blobs[1]["mu_inside"] = blobs[1]["mu_rim"] = 0.0
    if grown == 0:
        for blob in blobs:
            blob["mu_inside"] = blob["mu_rim"] = 0.0

    grown = anatomy.ulnar_epiphysis
    half = ulna.half * (0.3 + 0.75 * grown)
    height = anatomy.width * (0.05 + 0.21 * grown)
    gap = 0.8 * anatomy.physis_gap + 0.04 * anatomy.width * (1 - grown)
    overlap = anatomy.closure * 0.3 * height
    ulnar = _blob(
        center_x=ulna.end_x,
        center_y=ulna.end_y + gap - overlap + 0.5 * (height + overlap),
        axis_x=np.cos(ulna.tilt),
        axis_y=-np.sin(ulna.tilt),
        half_length=half,
        half_height=0.5 * (height + overlap),
        pinch=0.15,
        taper=-0.1 if not lateral else 0.0,
        square=0.7,
        depth=0.75 * ulna.half * (0.3 + 0.7 * grown),
        rim=0.03 * anatomy.width,
        mu_inside=0.42 * MU_CORTEX * density if grown > 0 else 0.0,
        mu_rim=0.8 * MU_CORTEX * density if grown > 0 else 0.0,
        clip=anatomy.closure,
        clip_at=-0.5 * (height + overlap) + overlap,
    )
    length = anatomy.styloid_length * anatomy.styloid
    x = ulna.end_x - (0.72 if not lateral else 0.3) * half
    y = ulna.end_y + gap + height + 0.25 * length
    lift = injury.styloid_gap
    styloid = _blob(
        center_x=x - 0.45 * lift,
        center_y=y + 0.9 * lift,
        axis_x=0.10 if lift == 0 else np.sin(0.1 + 0.08 * lift),
        axis_y=0.99 if lift == 0 else np.cos(0.1 + 0.08 * lift),
        half_length=0.75 * length + 0.2,
        half_height=0.36 * length + 0.5,
        square=0.15,
        taper=-0.25,
        depth=0.32 * length + 0.9,
        rim=0.03 * anatomy.width,
        mu_inside=0.55 * MU_CORTEX * density if length > 0 else 0.0,
        mu_rim=1.0 * MU_CORTEX * density if length > 0 else 0.0,
    )
    return blobs, ulnar, styloid


def _hand(
    anatomy: Anatomy, injury: Injury, lateral: bool, density: float
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Carpals (with a scaphoid line where it is broken) and metacarpals, before they move."""
    width = anatomy.width
    lift = (0.22 * (1.0 - anatomy.radial_epiphysis)) * width
    blobs = []
    for bone, grown in zip(CARPALS, anatomy.carpals, strict=True):
        x, y, a, b, degrees = bone.lateral if lateral else bone.pa
        # A young ossification centre is a small round dot.
        size = 0.12 + 0.88 * grown
        a, b = a * width * size, b * width * size
        a = b + (a - b) * (0.3 + 0.7 * grown)
        visible = 1.0 if grown > 0 else 0.0
        blobs.append(
            _blob(
                center_x=x * width,
                center_y=y * width + lift,
                axis_x=np.cos(np.deg2rad(degrees)),
                axis_y=np.sin(np.deg2rad(degrees)),
                half_length=a,
                half_height=b,
                bend=bone.bend * width * grown * 2.0,
                taper=bone.taper * grown,
                square=bone.square,
                depth=0.24 * width * size,
                rim=0.030 * width * (0.6 + 0.4 * grown),
                mu_inside=0.36 * MU_CORTEX * density * visible,
                mu_rim=0.9 * MU_CORTEX * density * visible,
                line=0.75 if bone.name == "scaphoid" and injury.scaphoid > 0 else 0.0,
                line_width=0.5 * injury.scaphoid + 0.3,
                line_slope=0.2,
            )
        )
    if lateral:
        shapes = (
            (-0.10, 1.34, 92, 0.9),
            (-0.04, 1.36, 90, 0.95),
            (0.02, 1.36, 86, 1.0),
            (0.06, 1.38, 83, 1.0),
            (0.40, 1.22, 55, 1.0),
        )
    else:
        shapes = (
            (-0.76, 1.26, 109, 0.9),
            (-0.45, 1.31, 100, 0.95),
            (-0.10, 1.34, 92, 1.0),
            (0.30, 1.34, 80, 1.05),
            (0.74, 1.10, 66, 1.05),
        )
    tubes = []
    for x, y, degrees, thick in shapes:
        length = 1.95 * width * (0.75 if degrees < 70 else 1.0)
        axis_x, axis_y = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        tubes.append(
            _tube(
                origin_x=x * width + length * axis_x,
                origin_y=y * width + lift + length * axis_y,
                axis_x=axis_x,
                axis_y=axis_y,
                length=length,
                shaft=0.115 * width * thick,
                flare_left=0.10 * width,
                flare_right=0.10 * width,
                flare_length=0.35 * width,
                base_flare=0.115 * width * thick,
                base_length=0.30 * width,
                cortex_shaft=0.055 * width,
                cortex_end=0.025 * width,
                marrow_shaft=0.20 * density,
                marrow_end=0.34 * density,
                end_line=0.08,
                depth=0.85,
            )
        )
    return blobs, tubes


def _marker(pose: Pose, laterality: str) -> list[dict[str, float]]:
    """Strokes of an L or R, in film coordinates; never mirrored. On the left of the film as viewed."""
    s, x, y = pose.marker_size, pose.marker_x, pose.marker_y
    if laterality == "left":
        strokes = [((0, 0), (0, 1.2)), ((0, 0), (0.7, 0)), ((0, 0), (0, 1.2)), ((0, 0), (0.7, 0))]
    else:
        strokes = [
            ((0, 0), (0, 1.2)),
            ((0, 1.2), (0.62, 0.95)),
            ((0.62, 0.95), (0, 0.6)),
            ((0.2, 0.6), (0.7, 0)),
        ]
    return [
        dict(
            x0=x + a[0] * s,
            y0=y + a[1] * s,
            x1=x + b[0] * s,
            y1=y + b[1] * s,
            radius=0.11 * s,
            mu=2.0,
            film=1.0,
        )
        for a, b in strokes
    ]


def build(
    anatomy: Anatomy,
    injury: Injury,
    extras: Extras,
    view: str,
    laterality: str,
    pose: Pose,
    size: int,
) -> tuple[Scene, np.ndarray]:
    """The scene of one film and the boxes of its regions.

    Args:
        anatomy, injury, extras: of the exam; equal for its views.
        view: "pa", "lateral" or "oblique".
        laterality: "left" or "right"; a right wrist is the mirrored left one.
        pose: of this film.
        size: S, pixels a side.

    Returns:
        The scene (no batch axis) and float32 (R, 4) boxes x0 y0 x1 y1 in pixels in the order of
        `anatomy.REGIONS`, NaN where the region is absent or not scored in this view.
    """
    lateral = view == "lateral"
    width = anatomy.width
    density = anatomy.density * (0.62 if extras.osteopenia else 1.0)
    thin = 0.65 if extras.osteopenia else 1.0
    anatomy_drawn = replace(anatomy, cortex=anatomy.cortex * thin)
    oblique = view == "oblique"
    if lateral:
        radius = _LongBone(
            0.0, 0.0, 0.02, anatomy.width_lateral / 2, 0.62 * width, 0.42, 1.05, 0.0, -0.2
        )
        ulna = _LongBone(
            -0.20 * width,
            -anatomy.ulnar_offset,
            0.03,
            anatomy.ulna_width * 0.46,
            0.42 * width,
            0.55,
            1.0,
            0.0,
            0.0,
        )
    else:
        squeeze = 0.75 if oblique else 1.0
        radius = _LongBone(
            0.0,
            0.0,
            0.0,
            width / 2 * (0.92 if oblique else 1.0),
            0.70 * width,
            0.40,
            0.80,
            0.0003,
            -0.35,
        )
        ulna = _LongBone(
            -anatomy.spacing * squeeze,
            -anatomy.ulnar_offset,
            -0.015,
            anatomy.ulna_width / 2,
            0.40 * width,
            0.55,
            0.9,
            0.0,
            0.15,
        )
    spacing = 2.0 * pose.film_half_height / size * 1.01
    radius_tube = radius.tube(anatomy_drawn, density)
    ulna_tube = ulna.tube(anatomy_drawn, density)
    radius_near, radius_far, radius_motion = _break(
        radius_tube, injury.radius, lateral, _half_at(radius_tube, injury.radius.location), 0.0
    )
    ulna_near, ulna_far, ulna_motion = _break(
        ulna_tube, injury.ulna, lateral, _half_at(ulna_tube, injury.ulna.location), 0.0
    )
    halves, ulnar_epiphysis, styloid = _epiphyses(anatomy, injury, lateral, density, radius, ulna)
    whole = radius_motion
    stays = Motion(tx=0.0, ty=0.0) if injury.radius.kind == "sh3" else whole
    halves = [_move(halves[0], stays), _move(halves[1], whole)]
    ulnar_epiphysis, styloid = _move(ulnar_epiphysis, ulna_motion), _move(styloid, ulna_motion)
    carpals, metacarpals = _hand(anatomy, injury, lateral, density)
    # The wrist gives way a little: the hand turns less than the fragment it sits on.
    hand_x, hand_y = 0.0, 0.3 * width
    to_x, to_y = whole.point(hand_x, hand_y)
    hand = Motion(0.55 * whole.angle, hand_x, hand_y, to_x - hand_x, to_y - hand_y)
    carpals = [_move(blob, hand) for blob in carpals]
    moved = []
    for tube in metacarpals:
        ox, oy = hand.point(tube["origin_x"], tube["origin_y"])
        cos, sin = np.cos(hand.angle), np.sin(hand.angle)
        ax, ay = tube["axis_x"], tube["axis_y"]
        moved.append(
            {
                **tube,
                "origin_x": ox,
                "origin_y": oy,
                "axis_x": cos * ax - sin * ay,
                "axis_y": sin * ax + cos * ay,
            }
        )

    # The ossified base of the thumb's metacarpal, until it fuses.
    base = _blob()
    tubes = [radius_near, radius_far, ulna_near, ulna_far, *moved]
    blobs = [*halves, ulnar_epiphysis, styloid, *carpals]
    blobs += [base] * (NUM_BLOBS - len(blobs))

    segments = _marker(pose, laterality)
    wires = []
    if extras.wires:
        tip_x, tip_y = 0.42 * width, 0.40 * width
        if lateral:
            tip_x = 0.10 * width
        tip_x, tip_y = whole.point(tip_x, tip_y)
        ends = (
            ((-0.32, -1.25), (-0.05, -1.45), (0.12, -1.15))
            if not lateral
            else ((-0.16, -1.3), (0.12, -1.4), (0.0, -1.2))
        )
        for k in range(min(extras.wires, 3)):
            dx = (0.0, -0.10, 0.06)[k] * width
            wires.append(
                dict(
                    x0=tip_x + dx + 0.06 * width,
                    y0=tip_y + 0.12 * width,
                    x1=ends[k][0] * width,
                    y1=ends[k][1] * width,
                    radius=0.75,
                    mu=1.1,
                    film=0.0,
                )
            )
    segments += wires
    nothing = dict(x0=0.0, y0=0.0, x1=1.0, y1=1.0, radius=0.1, mu=0.0, film=1.0)
    segments += [nothing] * (NUM_SEGMENTS - len(segments))

    thumb_axis = 66.0 if not lateral else 55.0
    thumb = (0.70, 1.0) if not lateral else (0.36, 1.1)
    thumb_end = (
        thumb[0] + 2.2 * np.cos(np.deg2rad(thumb_axis)),
        thumb[1] + 2.2 * np.sin(np.deg2rad(thumb_axis)),
    )
    t0, t1 = (
        hand.point(thumb[0] * width, thumb[1] * width),
        hand.point(thumb_end[0] * width, thumb_end[1] * width),
    )
    soft_half = width * (0.62 if lateral else 1.08) + 1.5
    follows = whole.point(0.0, 0.0)[0]
    field = dict(
        spacing=spacing,
        rotation=pose.rotation,
        shift_x=pose.shift_x if not lateral else 0.25 * (pose.shift_x - 0.42 * width),
        shift_y=pose.shift_y,
        mirror=-1.0 if laterality == regions_table.MIRRORED_SIDE else 1.0,
        soft_x=(-0.36 * width if not lateral else -0.02 * width) + 0.4 * follows,
        soft_slope=0.02 if not lateral else 0.01,
        soft_half=soft_half,
        soft_forearm=0.0055 if not lateral else 0.0075,
        soft_hand=0.42 if not lateral else 0.30,
        soft_depth=0.66 if not lateral else 1.25,
        swell_at=-0.25 * width,
        swell_left=injury.swelling * (1.2 if lateral else 0.5),
        swell_right=injury.swelling * (0.5 if lateral else 0.8),
        swell_length=1.5 * width,
        thumb_x0=t0[0],
        thumb_y0=t0[1],
        thumb_x1=t1[0],
        thumb_y1=t1[1],
        thumb_radius=0.40 * width,
        mu_soft=0.020,
        cast_mu=0.030 if extras.cast else 0.0,
        cast_gap=1.5,
        cast_thickness=5.5,
        cast_texture=0.22,
        cast_end=2.3 * width,
        bone_texture=0.16,
        film_half_width=pose.film_half_width,
        film_half_height=pose.film_half_height,
        film_rotation=pose.film_rotation,
        frame_width=pose.frame_width,
        frame=pose.frame,
        gamma=pose.gamma,
        exposure=pose.exposure * (0.85 if extras.cast else 1.0),
        floor=pose.floor,
        noise=pose.noise,
        texture_row=pose.offsets[0],
        texture_column=pose.offsets[1],
        noise_row=pose.offsets[2],
        noise_column=pose.offsets[3],
    )
    scene = Scene(
        np.stack([_row(TUBE_FIELDS, tube) for tube in tubes]),
        np.stack([_row(BLOB_FIELDS, blob) for blob in blobs]),
        np.stack([_row(SEGMENT_FIELDS, segment) for segment in segments]),
        _row(FIELD_FIELDS, field),
    )
    boxes = _boxes(anatomy, view, radius, ulna, radius_motion, ulna_motion, styloid, field, size)
    return scene, boxes


def _boxes(
    anatomy: Anatomy,
    view: str,
    radius: _LongBone,
    ulna: _LongBone,
    radius_motion: Motion,
    ulna_motion: Motion,
    styloid: dict[str, float],
    field: dict[str, float],
    size: int,
) -> np.ndarray:
    """Boxes around landmarks where they lie after the injury.

    Radius and ulna: metaphysis (one metaphyseal width of the radius, and a margin) to the top of the
    epiphysis; styloid: the tip and 5 mm distally and ulnarly of it.
    """
    width = anatomy.width
    down, side = 1.12 * width, 0.10 * width + 1.0

    def corners(bone: _LongBone, motion: Motion, top: float) -> list[tuple[float, float]]:
        x, y = bone.end_x, bone.end_y
        fixed = [(x - bone.half, y - down), (x + bone.half, y - down)]
        moved = [
            motion.point(x + sign * bone.half, y + dy) for sign in (-1.0, 1.0) for dy in (0.0, top)
        ]
        return fixed + moved

    tip = (styloid["center_x"], styloid["center_y"])
    reach = styloid["half_length"]
    shapes = {
        "distal_radius": (corners(radius, radius_motion, 0.12 * width + 0.40 * width * anatomy.radial_epiphysis), side),
        "distal_ulna": (corners(ulna, ulna_motion, 0.10 * width + 0.24 * width * anatomy.ulnar_epiphysis), side),
        "ulnar_styloid": (
            [
                (tip[0] - reach - 2.5, tip[1] - reach - 3.0),
                (tip[0] + reach + 3.0, tip[1] + reach + 3.0),
                ulna_motion.point(ulna.end_x, ulna.end_y + 0.5),
            ],
            2.0,
        ),
    }  # fmt: skip
    boxes = np.full((len(regions_table.REGIONS), 4), np.nan, np.float32)
    for index, region in enumerate(regions_table.REGIONS):
        if region.name not in shapes or view not in region.scored_views:
            continue
        if region.ossifies and anatomy.styloid <= 0:
            continue
        points, margin = shapes[region.name]
        x, y = np.array(points).T
        xs = np.array([x.min(), x.max(), x.max(), x.min()]) + margin * np.array([-1, 1, 1, -1])
        ys = np.array([y.min(), y.min(), y.max(), y.max()]) + margin * np.array([-1, -1, 1, 1])
        px, py = _to_pixels(xs, ys, field, size)
        box = np.array([px.min(), py.min(), px.max(), py.max()])
        boxes[index] = np.clip(box, 0.0, size)
        if min(boxes[index, 2] - boxes[index, 0], boxes[index, 3] - boxes[index, 1]) < 2.0:
            boxes[index] = np.nan
    return boxes


def _to_pixels(x, y, field: dict[str, float], size: int):
    cos, sin = np.cos(field["rotation"]), np.sin(field["rotation"])
    film_x = field["mirror"] * (cos * x - sin * y + field["shift_x"])
    film_y = sin * x + cos * y + field["shift_y"]
    return film_x / field["spacing"] + size / 2, size / 2 - film_y / field["spacing"]
