"""Fingers, thumb and elbow of a phantom, for films that show more than the wrist.

Lengths are in units of the width W of the radial metaphysis; shares of the phalanges follow the
usual proportions of an adult hand (middle finger 44, 28 and 18 mm at W = 31 mm).
"""

from dataclasses import dataclass

import numpy as np

from wristmir_jax.images.phantom_anatomy import Anatomy
from wristmir_jax.images.phantom_parts import MU_CORTEX, Blob, Stroke, Tube

# In the order of the metacarpals: little, ring, middle, index, thumb.
_PHALANGES = (
    (1.06, 0.60, 0.50),
    (1.32, 0.86, 0.56),
    (1.42, 0.90, 0.58),
    (1.28, 0.76, 0.55),
    (1.00, 0.72),
)
_THICKNESS = (0.155, 0.125, 0.09)
NUM_PHALANGES = sum(map(len, _PHALANGES))
NUM_TUBES = NUM_PHALANGES + 1
NUM_BLOBS = NUM_PHALANGES + 4
# Two a finger and the upper arm; other parts of the body need one more.
NUM_STROKES = 2 * len(_PHALANGES) + 2


@dataclass(frozen=True)
class Posture:
    """How fingers and elbow are held.

    Attributes:
        spread: 0 fingers parallel .. 1.4 wide.
        jitter: degrees that each finger leans besides.
        curl: of each finger, 0 straight .. 1 bent towards the palm.
        thumb: degrees that the thumb is abducted besides.
        forearm: length of the forearm in W. elbow: degrees by which the upper arm is bent.
    """

    spread: float
    jitter: tuple[float, ...]
    curl: tuple[float, ...]
    thumb: float
    forearm: float
    elbow: float


def sample_posture(rng: np.random.Generator) -> Posture:
    """Draw a posture: mostly a flat hand, sometimes bent fingers, the arm nearly straight."""
    bent = rng.uniform(0.0, 0.25) if rng.random() < 0.75 else rng.uniform(0.3, 1.0)
    return Posture(
        spread=rng.uniform(0.1, 1.35),
        jitter=tuple(rng.normal(0.0, 3.5, 5)),
        curl=tuple(np.clip(bent + rng.normal(0.0, 0.08, 5), 0.0, 1.0)),
        thumb=rng.normal(0.0, 12.0),
        forearm=rng.uniform(6.8, 7.9),
        elbow=rng.normal(0.0, 18.0),
    )


def fingers(
    anatomy: Anatomy, metacarpals: list[Tube], lateral: bool, density: float, posture: Posture
) -> tuple[list[Tube], list[Blob], list[Stroke]]:
    """Phalanges, the growing ends of hand bones and the outlines of fingers.

    Args:
        anatomy: of the wrist.
        metacarpals: the five, where an injury put them.
        lateral: seen from the side.
        density: of the bones, 1 = usual.
        posture: of the hand.

    Returns:
        `NUM_PHALANGES` tubes, `NUM_BLOBS` blobs and ten strokes.
    """
    width = anatomy.width
    tubes, blobs, strokes = [], [], []
    toward = np.degrees(np.arctan2(metacarpals[2].axis_y, metacarpals[2].axis_x))
    for k, (metacarpal, shares) in enumerate(zip(metacarpals, _PHALANGES, strict=True)):
        thumb = k == len(_PHALANGES) - 1
        at = np.array([metacarpal.origin_x, metacarpal.origin_y])
        angle = float(np.degrees(np.arctan2(metacarpal.axis_y, metacarpal.axis_x)))
        start = at - metacarpal.length * np.array([metacarpal.axis_x, metacarpal.axis_y])
        if thumb:
            angle += posture.thumb
        else:
            blobs.append(_growing_end(anatomy, at, angle, 0.20 * width, density, distal=True))
            at = at + 0.24 * width * _unit(angle)
            angle = toward + posture.spread * (angle - toward) + posture.jitter[k]
        joints = [start if thumb else at - 0.3 * width * _unit(angle)]
        if thumb:
            joints.append(at)
        for j, share in enumerate(shares):
            bend = 70.0 * posture.curl[k] * (0.5 if thumb else 1.0)
            # From the side a finger bends volarly; from the front it gets shorter.
            angle -= bend if lateral else 0.0
            seen = 1.0 if lateral else max(float(np.cos(np.deg2rad(bend * (j + 1)))), 0.25)
            length = (share - 0.10) * width * seen
            along = _unit(angle)
            thick = _THICKNESS[j if not thumb else j + (j > 0)] * width
            gap = 0.05 * width * (1.0 - 0.7 * anatomy.closure)
            half = thick + 0.10 * width * (1.0 - 0.18 * j)
            blobs.append(
                _growing_end(anatomy, at + gap * along, angle, 0.9 * half, density, distal=False)
            )
            near = at + (gap + 0.13 * width * seen) * along
            far = near + length * along
            tubes.append(_phalanx(near, far, along, thick, half - thick, width, density, anatomy))
            at = far + 0.03 * width * along
            joints.append(at)
        base = 0.42 if thumb else 0.37
        joints[-1] = joints[-1] + 0.10 * width * _unit(angle)
        middle = joints[1]
        strokes.append(_flesh(joints[0], middle, base * width, 0.32 * width))
        strokes.append(_flesh(middle, joints[-1], 0.32 * width, 0.23 * width))
    return tubes, blobs, strokes


def forearm(tubes: list[Tube], anatomy: Anatomy, posture: Posture) -> list[Tube]:
    """Radius and ulna with a proximal end instead of one beyond every film."""
    width = anatomy.width
    ends = ((-0.3, 0.12, 0.35), (-0.3, 0.12, 0.35), (0.2, 0.26, 0.8), (0.2, 0.26, 0.8))
    return [
        tube._replace(
            length=(posture.forearm + further) * width,
            base_flare=flare * width,
            base_length=reach * width,
        )
        for tube, (further, flare, reach) in zip(tubes, ends, strict=True)
    ]


def elbow(
    anatomy: Anatomy, lateral: bool, density: float, posture: Posture
) -> tuple[Tube, list[Stroke]]:
    """The humerus and the flesh of elbow and upper arm."""
    width = anatomy.width
    x, y = (-0.1 if lateral else -0.42) * width, -posture.forearm * width
    # The way up the arm: on from the forearm, away from the hand.
    away = _unit(-90.0 + posture.elbow)
    half = 0.30 * width
    humerus = Tube(
        origin_x=x + 0.05 * width * away[0],
        origin_y=y + 0.05 * width * away[1],
        axis_x=-float(away[0]),
        axis_y=-float(away[1]),
        length=9.0 * width,
        shaft=half,
        flare_left=0.5 * width,
        flare_right=0.35 * width,
        flare_length=0.75 * width,
        depth=0.7,
        cortex_shaft=min(anatomy.cortex * 1.3, 0.45 * half),
        cortex_end=0.03 * width,
        marrow_shaft=0.12 * density,
        marrow_end=0.28 * density,
        end_curve=-0.12 * half,
    )
    bend = np.array([x, y])
    far = bend + 10.0 * width * away
    return humerus, [_flesh(bend, far, 1.25 * width, 1.5 * width)]


def _unit(degrees: float) -> np.ndarray:
    return np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])


def _flesh(start, end, radius0: float, radius1: float) -> Stroke:
    return Stroke(start[0], start[1], end[0], end[1], radius0, radius1)


def _phalanx(
    near, far, along, thick: float, base: float, width: float, density: float, anatomy: Anatomy
) -> Tube:
    length = float(np.hypot(*(far - near)))
    return Tube(
        origin_x=float(far[0]),
        origin_y=float(far[1]),
        axis_x=float(along[0]),
        axis_y=float(along[1]),
        length=length,
        shaft=thick,
        flare_left=0.55 * base,
        flare_right=0.55 * base,
        flare_length=0.16 * width,
        base_flare=base,
        base_length=0.20 * width,
        cortex_shaft=0.050 * width,
        cortex_end=0.022 * width,
        marrow_shaft=0.18 * density,
        marrow_end=0.28 * density,
        end_line=0.05,
        end_curve=-0.12 * thick,
    )


def _growing_end(
    anatomy: Anatomy, at, angle: float, half: float, density: float, *, distal: bool
) -> Blob:
    """The head of a metacarpal or the base of a phalanx: an ossification centre of its own."""
    width = anatomy.width
    # These centres appear a little after that of the radius and close a little before it.
    grown = float(np.clip(1.6 * anatomy.radial_epiphysis - 0.15, 0.0, 1.0))
    gap = 0.05 * width * (1.0 - anatomy.closure) if distal else 0.0
    height = (0.15 if distal else 0.085) * width * (0.4 + 0.6 * grown)
    along = _unit(angle)
    center = np.asarray(at) + (gap + height) * along * (0.7 if distal else 1.0)
    across = _unit(angle - 90.0)
    seen = float(grown > 0)
    return Blob(
        center_x=float(center[0]),
        center_y=float(center[1]),
        axis_x=float(across[0]),
        axis_y=float(across[1]),
        half_length=half * (0.45 + 0.55 * grown),
        half_height=height,
        depth=0.8 * half * (0.4 + 0.6 * grown),
        square=0.3,
        rim=0.022 * width,
        mu_rim=0.6 * MU_CORTEX * density * seen,
        mu_inside=0.27 * MU_CORTEX * density * seen,
    )
