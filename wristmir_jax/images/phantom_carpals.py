"""Carpals and metacarpals of one view as blobs and tubes, in the frame of `phantom_parts`."""

import functools

import numpy as np

from wristmir_jax.images.phantom_anatomy import CARPALS, Anatomy
from wristmir_jax.images.phantom_bones import Motion
from wristmir_jax.images.phantom_fractures import Injury
from wristmir_jax.images.phantom_joints import beyond, interlock, wave_radius
from wristmir_jax.images.phantom_parts import MU_CORTEX, Blob, Tube
from wristmir_jax.images.phantom_variation import (
    RING,
    draw_of,
    early,
    made_uneven,
    scale_of,
    waves_of,
)


def carpals(anatomy: Anatomy, injury: Injury, lateral: bool, density: float) -> list[Blob]:
    """The carpal bones; what has not ossified is hidden, a broken scaphoid has its line."""
    draw = draw_of(anatomy, "carpals")
    blobs = []
    for name, shape in _carpal_shapes(anatomy, lateral).items():
        blob = shape._replace(
            mu_rim=shape.mu_rim * density,
            mu_inside=shape.mu_inside * density,
            **_line(name, shape.half_length, injury.scaphoid, lateral),
        )
        uneven = made_uneven(blob, draw, far_edge=0.30)
        # Carpals of one hand are about as dense as each other.
        uneven = uneven._replace(mu_inside=0.5 * (uneven.mu_inside + 1.1 * blob.mu_inside))
        hooked = name == "hamate" and not lateral
        blobs.append(_hooked(uneven, anatomy) if hooked else uneven)
    return blobs


# Films of one wrist follow each other, and its metacarpals ask for the carpals, too.
@functools.lru_cache(maxsize=8)
def _carpal_shapes(anatomy: Anatomy, lateral: bool) -> dict[str, Blob]:
    """The carpals by name, of usual density and even."""
    view, width = scale_of(anatomy, lateral)
    bones = {}
    for bone, grown in zip(CARPALS, anatomy.carpals, strict=True):
        young = early(grown)
        x, y, direction = _in_hand(anatomy, view, bone.name)
        # What few lateral films differ by is in good part that of the tracings.
        spread = 0.5 if lateral else 0.8
        waves = waves_of(anatomy, view, bone.name)
        # Waves of any size add to the second moments, which length and breadth stand for.
        swollen = float(np.mean(wave_radius(RING, list(waves.values())) ** 4) ** 0.25)
        a, b = (
            0.5 / swollen * young * width * anatomy.value(view, f"{bone.name}_{axis}", spread)
            for axis in ("length", "breadth")
        )  # fmt: skip
        seen = float(grown > 0)
        bones[bone.name] = Blob(
            center_x=x,
            center_y=y,
            axis_x=float(np.cos(direction)),
            axis_y=float(np.sin(direction)),
            half_length=a,
            half_height=b,
            # Thickness along the beam differs less than size does: neighbours look alike.
            depth=(0.28 if lateral else 0.36) * (a + b) ** 0.6 * (0.5 * young * width) ** 0.4,
            **waves,
            rim=0.023 * width * (0.6 + 0.4 * grown),
            mu_rim=(0.75 if lateral else 0.68) * MU_CORTEX * seen,
            mu_inside=(0.20 if lateral else 0.26) * MU_CORTEX * seen,
        )
    if lateral:
        return bones
    space = width * draw_of(anatomy, "joint spaces").uniform(0.035, 0.06)
    return interlock(bones, space, 0.07 * width * _joined(anatomy))


def _joined(anatomy: Anatomy) -> float:
    """0 bones of the hand lie apart .. 1 they have grown together but for their joint spaces."""
    return float(np.clip((anatomy.skeletal - 7.0) / 4.0, 0.0, 1.0))


def _hooked(hamate: Blob, anatomy: Anatomy) -> Blob:
    """The hamate with its hook, which is seen end on."""
    draw = draw_of(anatomy, "hook")
    x, y = anatomy.width * draw.uniform((-0.06, 0.07), (0.02, 0.13))
    size, bright = draw.uniform((0.10, 0.15), (0.20, 0.45))
    return hamate._replace(
        back=bright * float(np.clip((anatomy.skeletal - 9.0) / 3.0, 0.0, 1.0)),
        back_size=size,
        back_u=(x * hamate.axis_x + y * hamate.axis_y) / hamate.half_length,
        back_w=(y * hamate.axis_x - x * hamate.axis_y) / hamate.half_height,
    )


# Where a bone's edges lie behind each other on a PA film: place along its length, slope, width.
_DENSE = {
    "capitate": (-0.45, 0.3, 0.50),
    "hamate": (0.15, 0.5, 0.35),
    "lunate": (-0.1, 1.6, 0.25),
    "triquetrum": (0.1, 0.2, 0.40),
    "trapezium": (0.2, -0.8, 0.30),
}


def _line(name: str, half_length: float, fractured: float, lateral: bool) -> dict[str, float]:
    """Fields of a `Blob` for the line across a carpal: a fractured scaphoid's, or a denser one."""
    if name == "scaphoid" and fractured > 0:
        return dict(
            line=min(0.2 + 0.4 * fractured, 0.8),
            line_width=0.45 * fractured + 0.15,
            line_slope=0.2,
        )
    if lateral or name not in _DENSE:
        return {}
    at, slope, line_width = _DENSE[name]
    return dict(
        line=-0.45,
        line_at=at * half_length,
        line_slope=slope,
        line_width=line_width * half_length,
    )


def _in_hand(
    anatomy: Anatomy, view: str, bone: str, part: str = "", spread: float = 0.5
) -> tuple[float, float, float]:
    """Where a bone of the hand lies, mm, and its direction, radians, as the hand is turned."""
    _, width = scale_of(anatomy, view == "lateral")
    x = width * anatomy.value(view, f"{bone}{part}_x", spread)
    y = width * anatomy.value(view, f"{bone}{part}_y", spread)
    direction = anatomy.value(view, f"{bone}_direction", 0.5)
    hand = Motion(float(np.deg2rad(anatomy.hand_turn(view))), 0.0, 0.3 * width)
    return *hand.point(x, y), float(np.deg2rad(direction)) + hand.angle


def metacarpals(anatomy: Anatomy, lateral: bool, density: float) -> list[Tube]:
    """The five metacarpals, the fifth first."""
    view, width = scale_of(anatomy, lateral)
    tubes = []
    draw = draw_of(anatomy, "metacarpals")
    slopes = _SLOPES + draw.uniform(-0.1, 0.1, len(_SLOPES))
    # The ends of young bones are round and hardly dense.
    grown = _joined(anatomy)
    reaches = (0.8 + 0.2 * grown) * draw.uniform(0.25, 0.36, len(_SLOPES))
    for k, (number, base) in enumerate(_bases(anatomy, lateral).items()):
        base_x, base_y, direction, wide = base
        name = f"metacarpal_{number}"
        length = anatomy.width * (1.5 if number == 1 else 2.0)
        along_x, along_y = float(np.cos(direction)), float(np.sin(direction))
        middle = width * anatomy.value(view, f"{name}_width", 0.6)
        # What the flare of the far end adds there, and that of the base.
        middle -= 0.22 * width / (1.0 + ((length / width - 0.6) / 0.30) ** 2)
        further = 1.0 / (1.0 + (0.6 / float(reaches[k])) ** 4)
        flare = max(0.0, wide - middle) / 2 / (1.0 - further)
        tubes.append(
            Tube(
                origin_x=base_x + length * along_x,
                origin_y=base_y + length * along_y,
                axis_x=along_x,
                axis_y=along_y,
                length=length,
                shaft=middle / 2 - further * flare,
                flare_left=0.11 * width,
                flare_right=0.11 * width,
                flare_length=0.30 * width,
                base_flare=flare,
                base_length=float(reaches[k]) * width,
                base_curve=(_CORNERS[k] + 0.08 * (1.0 - grown)) * width,
                base_slope=0.0 if lateral else float(slopes[k]),
                base_line=(0.06 + 0.11 * grown) * density,
                cortex_shaft=0.072 * width,
                cortex_end=0.016 * width,
                marrow_shaft=0.06 * density,
                marrow_end=0.36 * density,
                end_line=0.08,
            )
        )
    return tubes


# Of the bases of metacarpals, the fifth first: how far beyond the usual joint space (W) they end,
# what their corners are rounded by (W) and how oblique they are.
_SPACES = np.array([-0.06, -0.03, 0.0, -0.10, -0.03])
_CORNERS = (0.11, 0.08, 0.07, 0.02, 0.09)
_SLOPES = np.array([0.22, 0.10, -0.12, 0.08, 0.0])


def _bases(anatomy: Anatomy, lateral: bool) -> dict[int, tuple[float, float, float, float]]:
    """Place, direction and width of the bases of metacarpals, the fifth first."""
    view, width = scale_of(anatomy, lateral)
    bases = {}
    for number in (5, 4, 3, 2, 1):
        name = f"metacarpal_{number}"
        wide = width * anatomy.value(view, f"{name}_base_width", 0.6)
        bases[number] = [*_in_hand(anatomy, view, name, "_base", 0.4), wide]
    joined = _joined(anatomy)
    if lateral or joined == 0.0:
        return {number: tuple(base) for number, base in bases.items()}
    # They lie side by side and over each other's edges only a little, ...
    for number in (4, 3, 5) * 2:
        one, two = bases[number], bases[number - 1]
        apart = float(np.hypot(two[0] - one[0], two[1] - one[1]))
        over = (0.10 if number == 5 else 0.05) * width
        push = 0.3 * joined * (0.5 * (one[3] + two[3]) - apart - over)
        push = float(np.clip(push, -0.02 * width, 0.06 * width))
        step = push * (two[0] - one[0]) / apart
        one[0] -= step
        two[0] += step
    # ... and end a joint space from the carpals.
    shapes = _carpal_shapes(anatomy, lateral).values()
    spaces = width * (draw_of(anatomy, "bases").uniform(-0.03, 0.05, len(bases)) + _SPACES)
    steps = width * np.linspace(-0.15, 0.15, 16)
    along = np.array([[np.cos(base[2]), np.sin(base[2])] for base in bases.values()])
    right = np.stack([along[:, 1], -along[:, 0]], 1)
    wide = np.array([base[3] for base in bases.values()])
    # (bases, steps, places across, 2)
    points = np.array([base[:2] for base in bases.values()])[:, None, None, :]
    points = points + steps[:, None, None] * along[:, None, None, :]
    across = wide[:, None] * [0.25, 0.0, -0.25]
    room = beyond(shapes, points + (across[:, :, None] * right[:, None, :])[:, None]).min(2)
    for k, base in enumerate(bases.values()):
        shift = joined * float(np.interp(spaces[k], *_rising(room[k], steps)))
        base[0] += shift * float(along[k, 0])
        base[1] += shift * float(along[k, 1])
    return {number: tuple(base) for number, base in bases.items()}


def _rising(values: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `np.interp` needs to find from which place on no value is below a given one."""
    return np.minimum.accumulate(values[::-1])[::-1], places
