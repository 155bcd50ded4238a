"""From a wrist, its injury and a view to the arrays that are drawn, and to the region boxes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wristmir_jax import anatomy as regions_table
from wristmir_jax.images import phantom_bones as bones
from wristmir_jax.images import phantom_carpals
from wristmir_jax.images import phantom_films as films
from wristmir_jax.images import phantom_hand as fingers
from wristmir_jax.images import phantom_objects as objects
from wristmir_jax.images import phantom_others as others
from wristmir_jax.images.phantom_anatomy import CARPALS, Anatomy
from wristmir_jax.images.phantom_bones import LongBone, Motion
from wristmir_jax.images.phantom_films import Film
from wristmir_jax.images.phantom_fractures import Injury
from wristmir_jax.images.phantom_parts import (
    MU_SOFT,
    NUM_BREAKABLE,
    Blob,
    Field,
    Finish,
    Scene,
    Segment,
    Stroke,
    Tube,
)
from wristmir_jax.images.phantom_render import max_texture_offset

NUM_SEGMENTS = 9
# Of films that show more than the wrist: carpals, epiphyses, metacarpals and long bones first.
_NUM_TUBES = NUM_BREAKABLE + 5 + fingers.NUM_TUBES
_NUM_BLOBS = 4 + len(CARPALS) + fingers.NUM_BLOBS


@dataclass(frozen=True)
class Extras:
    """What the film shows besides the wrist, and thin bone.

    Attributes:
        cast: a ring of it, or a slab on one side where `splint` is set, too.
        wires: number of Kirschner wires, 0 to 3.
        plate: a volar plate with screws.
    """

    cast: bool = False
    wires: int = 0
    osteopenia: bool = False
    splint: bool = False
    plate: bool = False

    @property
    def hardware(self) -> bool:
        return self.wires > 0 or self.plate


@dataclass(frozen=True)
class Pose:
    """Where the wrist lies on the film and how it was exposed; lengths mm, angles radians.

    `level` is the grey (0..1) that bone over soft tissue gets; `flesh` are fields of
    `Field`, `offsets` are windows of textures.
    Where `film` is given, it decides everything but the level and the offsets.
    """

    rotation: float
    shift_x: float
    shift_y: float
    film_half_width: float
    film_half_height: float
    film_rotation: float
    frame: float
    frame_width: float
    frame_skew: tuple[float, float]
    level: float
    gamma: float
    floor: float
    noise: float
    soft_curve: float
    soft_size: float
    marker_x: float
    marker_y: float
    marker_size: float
    flesh: dict[str, float]
    offsets: tuple[int, ...]
    film: Film | None = None


def sample_disturbed_pose(
    anatomy: Anatomy,
    size: int,
    disturbance: float,
    rng: np.random.Generator,
    subject: str = "wrist",
) -> Pose:
    """Draw a pose on a film that is not tidy; `subject` as in `phantom_films.sample_film`."""
    pose = sample_pose(anatomy, size, rng)
    film = films.sample_film(anatomy.width, size, disturbance, rng, subject)
    return replace(pose, film=film)


def sample_extras(extras: Extras, disturbance: float, rng: np.random.Generator) -> Extras:
    """The extras of an exam with some more casts, splints, plates and wires."""
    cast = extras.cast or rng.random() < 0.06 * disturbance
    metal = rng.random() < 0.035 * disturbance
    return replace(
        extras,
        cast=cast,
        splint=cast and bool(rng.random() < 0.3),
        plate=(extras.wires > 0 and bool(rng.random() < 0.4)) or (metal and rng.random() < 0.7),
        wires=max(extras.wires, int(rng.integers(1, 4))) if metal else extras.wires,
    )


def sample_pose(anatomy: Anatomy, size: int, rng: np.random.Generator) -> Pose:
    """Draw pose, collimation and exposure: up to 20 degrees of rotation, most films within 8."""
    turn = float(np.clip(rng.normal(0.0, 6.0), -20.0, 20.0))
    half_height = 0.5 * (58.0 + 2.1 * anatomy.width) * rng.uniform(0.88, 1.14)
    half_width = half_height * rng.uniform(0.64, 0.82)
    side = rng.choice((-1.0, 1.0), p=(0.8, 0.2))
    return Pose(
        rotation=float(np.deg2rad(turn)),
        shift_x=rng.normal(0.0, 2.5),
        shift_y=rng.normal(3.0, 5.0),
        film_half_width=half_width,
        film_half_height=half_height,
        film_rotation=float(np.deg2rad(rng.normal(0.0, 2.0))),
        # Mostly thin or on one side, some without.
        frame=float(rng.random() < 0.80) * rng.uniform(0.12, 0.75),
        frame_width=float(np.exp(rng.uniform(np.log(0.5), np.log(2.2)))),
        frame_skew=tuple(rng.choice((-1.0, 1.0), 2) * rng.uniform(0.3, 2.6, 2)),
        level=rng.uniform(0.44, 0.62),
        gamma=rng.uniform(0.90, 1.20),
        floor=rng.uniform(0.05, 0.13),
        noise=rng.uniform(0.005, 0.020),
        soft_curve=rng.uniform(0.62, 0.85),
        soft_size=float(np.exp(rng.uniform(-0.1, 0.08))),
        marker_x=side * half_width * rng.uniform(0.80, 1.0),
        marker_y=half_height * rng.uniform(-0.8, 0.65),
        marker_size=rng.uniform(6.0, 8.0) if rng.random() < 0.8 else rng.uniform(2.5, 4.0),
        flesh=_sample_flesh(anatomy, rng),
        offsets=tuple(int(v) for v in rng.integers(0, max_texture_offset(size), 4)),
    )


def _sample_flesh(anatomy: Anatomy, rng: np.random.Generator) -> dict[str, float]:
    """Fields of `Field` by which soft tissue is uneven."""
    return dict(
        planes=rng.uniform(0.012, 0.030),
        belly=rng.uniform(0.0, 0.11),
        belly_at=rng.uniform(-0.5, 0.5),
        belly_width=rng.uniform(0.25, 0.6),
        tendon=rng.uniform(-0.02, 0.09),
        tendon_at=rng.uniform(-0.6, 0.6),
        fold=rng.uniform(0.0, 0.035),
        fold_at=rng.uniform(-0.1, 0.9) * anatomy.width,
        uneven_x=rng.normal(0.0, 0.05),
        uneven_y=rng.normal(0.0, 0.05),
    )


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
    density = anatomy.density * (0.62 if extras.osteopenia else 1.0)
    drawn = replace(anatomy, cortex=anatomy.cortex * (0.65 if extras.osteopenia else 1.0))
    radius, ulna = bones.long_bones(anatomy, view)
    radius_motion = bones.motion_of(radius, injury.radius, lateral)
    ulna_motion = bones.motion_of(ulna, injury.ulna, lateral)
    first, second, ulnar, styloid = bones.epiphyses(anatomy, injury, lateral, density, radius, ulna)
    film = pose.film
    hand = _hand_motion(anatomy, radius_motion)
    if film is not None:
        hand = replace(hand, angle=hand.angle + film.deviation)
    stays = Motion() if injury.radius.kind in ("sh3", "sh4") and not lateral else radius_motion
    styloid = ulna_motion.blob(styloid)
    tubes = [
        *bones.broken(radius, radius.tube(drawn, density), injury.radius, lateral, radius_motion),
        *bones.broken(ulna, ulna.tube(drawn, density), injury.ulna, lateral, ulna_motion),
        *(hand.tube(tube) for tube in phantom_carpals.metacarpals(anatomy, lateral, density)),
    ]
    blobs = [
        stays.blob(first),
        radius_motion.blob(second),
        ulna_motion.blob(ulnar),
        styloid,
        *(hand.blob(blob) for blob in phantom_carpals.carpals(anatomy, injury, lateral, density)),
    ]
    field = _field(anatomy, injury, extras, lateral, laterality, pose, hand, size)
    moved = ((radius, radius_motion), (ulna, ulna_motion))
    wires = _wires(anatomy, extras.wires, lateral, radius_motion)
    if film is None:
        x, y = pose.marker_x * (0.82 if lateral else 1.0), pose.marker_y
        segments = objects.marker(laterality, x, y, pose.marker_size) + wires
        scene = _arrays(tubes, blobs, _filled(segments, NUM_SEGMENTS), field)
        return scene, _boxes(anatomy, view, *moved, styloid, field, size)

    optical = pose.level / field.exposure
    field = films.place(field, film, anatomy.width, optical)
    finish = films.finish_of(film, anatomy.width, optical, extras.splint)
    side = size * film.spacing
    posture = film.posture
    tubes[:NUM_BREAKABLE] = fingers.forearm(tubes[:NUM_BREAKABLE], anatomy, posture)
    metacarpals = tubes[NUM_BREAKABLE:]
    phalanges, ends, flesh = fingers.fingers(anatomy, metacarpals, lateral, density, posture)
    humerus, arm = fingers.elbow(anatomy, lateral, density, posture)
    # Most films end before the knuckles: what they do not show is not drawn.
    seen = [(t.origin_x, t.origin_y) for t in (*metacarpals, *phalanges, humerus)]
    x, y = zip(*seen, strict=True)
    if films.on_film(x, y, to_film(field), finish, side, 0.4 * anatomy.width):
        tubes += [*phalanges, humerus]
        blobs += ends
        strokes = _strokes(flesh + arm)
    else:
        phalanges, strokes = [], []
        finish = finish._replace(soft_top=1e6, soft_bottom=-1e6)
    metal = wires + objects.worn(film, anatomy.width, phalanges)
    metal += objects.plate(anatomy.width, lateral, radius_motion) if extras.plate else []
    segments = objects.segments_of(film, laterality, side, metal)
    scene = _arrays(tubes, blobs, segments, field, strokes, finish)
    if not film.wrist:
        return scene, np.full((len(regions_table.REGIONS), 4), np.nan, np.float32)
    return scene, _boxes(anatomy, view, *moved, styloid, field, size, finish)


def build_other(
    subject: str, wrist: Scene, pose: Pose, size: int, rng: np.random.Generator
) -> Scene:
    """The film of `wrist` with another part of the body on it.

    Args:
        subject: of `phantom_others.DRAWN_HERE`.
        wrist: a scene from `build` for `pose`, which has a film.
        pose: of the film.
        size: S, pixels a side.
        rng: of the subject's proportions.
    """
    film = pose.film
    assert film is not None
    tubes, blobs, strokes = others.parts(subject, size * film.spacing, rng)
    # Nothing of these breaks.
    tubes = [Tube(opacity=0.0)] * NUM_BREAKABLE + tubes
    tubes += [Tube(opacity=0.0)] * (_NUM_TUBES - len(tubes))
    blobs += [Blob()] * (_NUM_BLOBS - len(blobs))
    # The automatic exposure aims at what is there.
    thick = max(s.depth * max(s.radius0, s.radius1) for s in strokes if not s.added)
    field = Field(*wrist.field.tolist())._replace(
        shift_x=film.at_x, shift_y=film.at_y, mirror=1.0, cast_mu=0.0,
        exposure=film.level / (2.0 * MU_SOFT * thick + 0.3),
    )  # fmt: skip
    finish = film.finish._replace(soft_top=-1e6)
    segments = objects.segments_of(film, "left", size * film.spacing)
    return _arrays(tubes, blobs, segments, field, _strokes(strokes), finish)


def axis_degrees(pose: Pose, laterality: str) -> float:
    """Angle in (-180, 180] by which the upright forearm was turned counter-clockwise on the film.

    NaN where the film is not meant to show a wrist.
    """
    if pose.film is not None and not pose.film.wrist:
        return float("nan")
    # A mirrored wrist turns the other way.
    angle = pose.film.angle if pose.film else _mirror(laterality) * pose.rotation
    return 180.0 - (180.0 - float(np.rad2deg(angle))) % 360.0


def _mirror(laterality: str) -> float:
    return -1.0 if laterality == regions_table.MIRRORED_SIDE else 1.0


def _filled(segments: list[Segment], number: int) -> list[Segment]:
    return segments + [Segment()] * (number - len(segments))


def _strokes(strokes: list[Stroke]) -> list[Stroke]:
    return strokes + [Stroke()] * (fingers.NUM_STROKES - len(strokes))


def _arrays(
    tubes: list[Tube],
    blobs: list[Blob],
    segments: list[Segment],
    field: Field,
    strokes: Sequence[Stroke] = (),
    finish: Sequence[float] = (),
) -> Scene:
    return Scene(
        np.array(tubes, np.float32),
        np.array(blobs, np.float32),
        np.array(segments, np.float32),
        np.array(field, np.float32),
        np.array(strokes, np.float32).reshape(-1, len(Stroke._fields)),
        np.array(finish, np.float32),
    )


def _hand_motion(anatomy: Anatomy, radius: Motion) -> Motion:
    """The hand goes where the radial epiphysis goes but turns less: the wrist gives way."""
    x, y = 0.0, 0.3 * anatomy.width
    to_x, to_y = radius.point(x, y)
    return Motion(0.45 * radius.angle, x, y, to_x - x, to_y - y)


def _field(
    anatomy: Anatomy,
    injury: Injury,
    extras: Extras,
    lateral: bool,
    laterality: str,
    pose: Pose,
    hand: Motion,
    size: int,
) -> Field:
    width = anatomy.width
    # Small children's arms are fat.
    soft_half = pose.soft_size * (0.60 * width + 5.6 if lateral else 0.70 * width + 10.2)
    soft_depth = 1.25 if lateral else 0.66
    start = np.array((0.36, 1.1) if lateral else (0.70, 1.0)) * width
    along = np.deg2rad(55.0 if lateral else 64.0)
    end = start + 2.2 * width * np.array([np.cos(along), np.sin(along)])
    thumb_x0, thumb_y0 = hand.point(*start)
    thumb_x1, thumb_y1 = hand.point(*end)
    # What the automatic exposure sees: soft tissue, bone, and the cast in front of and behind it.
    optical = 2.0 * MU_SOFT * soft_depth * soft_half + (0.036 if lateral else 0.026) * width
    optical += 0.15 if extras.cast else 0.0
    row, column, noise_row, noise_column = pose.offsets
    spacing = 2.0 * pose.film_half_height / size * 1.01
    return Field(
        spacing=spacing,
        rotation=pose.rotation,
        # The technician centres what there is: half-way to where the hand went.
        shift_x=(0.3 * pose.shift_x if lateral else 0.42 * width + pose.shift_x) - 0.4 * hand.tx,
        shift_y=pose.shift_y,
        mirror=_mirror(laterality),
        soft_x=(-0.02 if lateral else -0.36) * width,
        soft_slope=0.01 if lateral else 0.02,
        soft_half=soft_half,
        soft_forearm=0.0065 if lateral else 0.0050,
        soft_hand=0.30 if lateral else 0.42,
        soft_depth=soft_depth,
        soft_thin=0.0 if lateral else 0.2,
        bend_at=-0.1 * width,
        bend_shift=0.85 * hand.tx,
        bend_slope=-float(np.tan(hand.angle)),
        swell_at=-0.25 * width,
        swell_left=injury.swelling * (1.2 if lateral else 0.5),
        swell_right=injury.swelling * (0.5 if lateral else 0.8),
        swell_length=1.5 * width,
        thumb_x0=thumb_x0,
        thumb_y0=thumb_y0,
        thumb_x1=thumb_x1,
        thumb_y1=thumb_y1,
        thumb_radius=0.42 * width,
        mu_soft=MU_SOFT,
        soft_curve=pose.soft_curve,
        **pose.flesh,
        cast_mu=0.018 if extras.cast else 0.0,
        cast_gap=1.5,
        cast_thickness=5.5,
        cast_texture=0.08,
        cast_end=2.3 * width,
        bone_texture=films.bone_texture(spacing),
        film_half_width=pose.film_half_width * (0.82 if lateral else 1.0),
        film_half_height=pose.film_half_height,
        film_rotation=pose.film_rotation,
        frame=pose.frame,
        frame_width=pose.frame_width,
        frame_skew_x=pose.frame_skew[0],
        frame_skew_y=pose.frame_skew[1],
        exposure=pose.level / optical,
        gamma=pose.gamma,
        floor=pose.floor,
        noise=pose.noise,
        texture_row=row,
        texture_column=column,
        noise_row=noise_row,
        noise_column=noise_column,
    )


# Where wires leave the radius proximally and what they are off at its styloid, in units of W.
_WIRE_ENDS = {
    False: ((-0.32, -1.25, 0.0), (-0.05, -1.45, -0.10), (0.12, -1.15, 0.06)),
    True: ((-0.16, -1.30, 0.0), (0.12, -1.40, -0.10), (0.0, -1.20, 0.06)),
}


def _wires(anatomy: Anatomy, number: int, lateral: bool, radius: Motion) -> list[Segment]:
    """Kirschner wires from the radial styloid through the fracture to the far cortex."""
    width = anatomy.width
    tip_x, tip_y = radius.point((0.16 if lateral else 0.48) * width, 0.52 * width)
    return [
        Segment(tip_x + off * width, tip_y, x * width, y * width, 0.7, 1.1, 0.0)
        for x, y, off in _WIRE_ENDS[lateral][:number]
    ]


def _boxes(
    anatomy: Anatomy,
    view: str,
    radius: tuple[LongBone, Motion],
    ulna: tuple[LongBone, Motion],
    styloid: Blob,
    field: Field,
    size: int,
    finish: Finish | None = None,
) -> np.ndarray:
    """Boxes around landmarks where they lie after the injury.

    Radius and ulna: from 1.12 widths of the radial metaphysis below the physis to the top of the
    epiphysis; styloid: the tip and about 5 mm distally and ulnarly of it, from the age at which the
    ulnar epiphysis is bone. Each is the axis-aligned hull of the region's upright box, turned by
    the pose and cut at the film's edge. With a `finish`, a region whose upright box mostly lies off
    the collimated field is absent.
    """
    width = anatomy.width
    reach = styloid.half_length
    tip_x, tip_y = styloid.center_x, styloid.center_y
    ulna_bone, ulna_motion = ulna
    side = 0.10 * width + 1.0
    shapes = {
        "distal_radius": (
            _outline(*radius, 1.12 * width, (0.12 + 0.40 * anatomy.radial_epiphysis) * width),
            side,
        ),
        "distal_ulna": (
            _outline(*ulna, 1.12 * width, (0.10 + 0.24 * anatomy.ulnar_epiphysis) * width),
            side,
        ),
        "ulnar_styloid": (
            [
                (tip_x - reach - 3.0, tip_y - reach - 3.0),
                (tip_x + reach + 3.0, tip_y + reach + 3.0),
                ulna_motion.point(ulna_bone.end_x, ulna_bone.end_y + 0.5),
            ],
            2.0,
        ),
    }
    boxes = np.full((len(regions_table.REGIONS), 4), np.nan, np.float32)
    for index, region in enumerate(regions_table.REGIONS):
        # The styloid ossifies from the epiphysis, and importers of boxes know it by that.
        absent = region.ossifies and anatomy.ulnar_epiphysis <= 0
        if region.name not in shapes or view not in region.scored_views or absent:
            continue
        points, margin = shapes[region.name]
        x, y = np.array(points).T
        corners = np.array(
            [(x.min() - margin, y.min() - margin), (x.max() + margin, y.max() + margin)]
        )
        if finish is not None and not films.shown(
            corners, to_film(field), finish, size * field.spacing
        ):
            continue
        px, py = to_pixels(corners[[0, 0, 1, 1], 0], corners[[0, 1, 0, 1], 1], field, size)
        box = np.clip(np.array([px.min(), py.min(), px.max(), py.max()]), 0.0, size)
        # Off the film is missing; a film with a `finish` has been looked at above.
        if finish is not None or min(box[2] - box[0], box[3] - box[1]) >= 4.0:
            boxes[index] = box
    return boxes


def _outline(bone: LongBone, motion: Motion, down: float, top: float) -> list[tuple[float, float]]:
    """Corners of a metaphysis and its epiphysis: the proximal ones stay, the distal ones move."""
    left, right = bone.end_x - bone.half, bone.end_x + bone.half
    fixed = [(left, bone.end_y - down), (right, bone.end_y - down)]
    return fixed + [motion.point(x, bone.end_y + y) for x in (left, right) for y in (0.0, top)]


def to_film(field: Field) -> Callable:
    """The function from mm in the frame of the wrist to mm from the middle of the film."""
    cos, sin = np.cos(field.rotation), np.sin(field.rotation)

    def turned(x, y):
        film_x = field.mirror * (cos * x - sin * y + field.shift_x)
        return film_x, sin * x + cos * y + field.shift_y

    return turned


def to_pixels(x, y, field: Field, size: int):
    """From mm in the frame of the wrist to pixel columns and rows of the film."""
    film_x, film_y = to_film(field)(x, y)
    return film_x / field.spacing + size / 2, size / 2 - film_y / field.spacing
