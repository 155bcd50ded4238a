"""Films that show no wrist at all: other parts of the body from the same tubes, blobs and strokes.

They need only look like radiographs of something else; their anatomy is crude.
"""

import numpy as np

from wristmir_jax.images.phantom_parts import MU_CORTEX, Blob, Stroke, Tube

SUBJECTS = ("fingers", "forearm", "elbow", "knee", "foot", "chest")
# Subjects that are drawn here; the others are parts of the same limb as the wrist.
DRAWN_HERE = ("knee", "foot", "chest")


def parts(
    subject: str, side: float, rng: np.random.Generator
) -> tuple[list[Tube], list[Blob], list[Stroke]]:
    """What a film of `side` mm shows of a subject of `DRAWN_HERE`, centred on the origin."""
    return {"knee": _knee, "foot": _foot, "chest": _chest}[subject](side, rng)


def _bone(x0, y0, x1, y1, shaft, flare, base=None, bow=0.0, cortex=0.22) -> Tube:
    """A long bone from its base (x0, y0) to its other end (x1, y1)."""
    length = float(np.hypot(x1 - x0, y1 - y0))
    base = flare if base is None else base
    return Tube(
        origin_x=x1,
        origin_y=y1,
        axis_x=(x1 - x0) / length,
        axis_y=(y1 - y0) / length,
        length=length,
        bow=bow,
        shaft=shaft,
        flare_left=flare,
        flare_right=flare,
        flare_length=1.6 * shaft + flare,
        base_flare=base,
        base_length=1.6 * shaft + base,
        cortex_shaft=cortex * shaft,
        cortex_end=0.05 * shaft,
        marrow_shaft=0.14,
        marrow_end=0.28,
        end_curve=-0.1 * shaft,
    )


def _lump(x, y, a, b, degrees=0.0, inside=0.27) -> Blob:
    return Blob(
        center_x=x,
        center_y=y,
        axis_x=float(np.cos(np.deg2rad(degrees))),
        axis_y=float(np.sin(np.deg2rad(degrees))),
        half_length=a,
        half_height=b,
        depth=0.8 * min(a, b),
        square=0.3,
        rim=0.08 * min(a, b),
        mu_rim=0.6 * MU_CORTEX,
        mu_inside=inside * MU_CORTEX,
    )


def _knee(side: float, rng: np.random.Generator):
    s, lean = side * rng.uniform(0.8, 1.3), rng.normal(0.0, 0.12)
    tubes = [
        _bone(-0.1 * s + lean * s, 0.9 * s, 0.0, 0.03 * s, 0.055 * s, 0.075 * s),
        _bone(0.02 * s, -0.9 * s, 0.0, -0.03 * s, 0.050 * s, 0.075 * s),
        _bone(0.13 * s, -0.9 * s, 0.12 * s, -0.09 * s, 0.018 * s, 0.02 * s),
    ]
    blobs = [
        _lump(0.0, 0.045 * s, 0.125 * s, 0.05 * s),
        _lump(0.0, -0.035 * s, 0.12 * s, 0.025 * s),
        _lump(rng.uniform(-0.16, 0.05) * s, 0.08 * s, 0.05 * s, 0.06 * s),
    ]
    strokes = [
        Stroke(-0.05 * s + lean * s, 0.9 * s, 0.0, 0.0, 0.27 * s, 0.19 * s, 0.6),
        Stroke(0.0, 0.0, 0.03 * s, -0.9 * s, 0.19 * s, 0.15 * s, 0.6),
    ]
    return tubes, blobs, strokes


def _foot(side: float, rng: np.random.Generator):
    s = side * rng.uniform(0.75, 1.2)
    tubes, strokes = [], []
    for k in range(5):
        x, spread = (-0.10 + 0.055 * k) * s, (-0.25 + 0.11 * k) * rng.uniform(0.7, 1.1)
        thick = (0.016 + 0.010 * (k == 4)) * s
        x1, y1 = x + 0.26 * s * spread, 0.26 * s
        tubes.append(_bone(x, 0.0, x1, y1, thick, 0.5 * thick))
        for near, far in ((0.27, 0.34), (0.345, 0.375), (0.38, 0.41))[: 2 if k == 4 else 3]:
            tubes.append(
                _bone(
                    x + near * s * spread, near * s, x + far * s * spread, far * s,
                    0.7 * thick, 0.4 * thick,
                )
            )  # fmt: skip
        tip = x + 0.42 * s * spread
        strokes.append(Stroke(x, -0.02 * s, x1, y1, 0.055 * s, 0.045 * s, 0.9))
        strokes.append(Stroke(x1, y1, tip, 0.42 * s, 0.038 * s, 0.03 * s))
    blobs = [
        _lump(-0.08 * s, -0.04 * s, 0.045 * s, 0.035 * s),
        _lump(0.0, -0.035 * s, 0.03 * s, 0.03 * s),
        _lump(0.07 * s, -0.03 * s, 0.035 * s, 0.03 * s),
        _lump(0.04 * s, -0.10 * s, 0.06 * s, 0.035 * s),
        _lump(0.02 * s, -0.19 * s, 0.07 * s, 0.055 * s, 70.0),
        _lump(-0.05 * s, -0.24 * s, 0.10 * s, 0.06 * s, 80.0),
    ]
    tubes.append(_bone(0.03 * s, -0.9 * s, 0.02 * s, -0.25 * s, 0.05 * s, 0.03 * s))
    strokes.append(Stroke(0.0, 0.0, 0.0, -0.3 * s, 0.14 * s, 0.12 * s, 0.7))
    strokes.append(Stroke(0.0, -0.3 * s, 0.0, -0.9 * s, 0.12 * s, 0.16 * s, 0.8))
    return tubes, blobs, strokes


def _chest(side: float, rng: np.random.Generator):
    s = side * rng.uniform(0.7, 1.4)
    tubes = []
    for k in range(8):
        y, reach = (0.28 - 0.075 * k) * s, (0.20 + 0.013 * k) * s
        for sign in (-1.0, 1.0):
            rib = _bone(
                sign * 0.03 * s, y, sign * reach, y - 0.05 * s, 0.010 * s, 0.0, cortex=0.5,
                bow=sign * 1.6 / s,
            )  # fmt: skip
            tubes.append(rib)
    for sign in (-1.0, 1.0):
        tubes.append(
            _bone(sign * 0.42 * s, -0.35 * s, sign * 0.33 * s, 0.28 * s, 0.03 * s, 0.025 * s)
        )
        tubes.append(
            _bone(sign * 0.02 * s, 0.32 * s, sign * 0.27 * s, 0.34 * s, 0.012 * s, 0.006 * s)
        )
    blobs = [_lump(0.0, (0.45 - 0.075 * k) * s, 0.033 * s, 0.032 * s) for k in range(13)]
    # Thin as soft tissue goes, or everything would be white.
    depth = rng.uniform(0.12, 0.25)
    strokes = [
        Stroke(0.0, 0.2 * s, 0.0, -0.6 * s, 0.31 * s, 0.30 * s, depth),
        Stroke(0.0, 0.3 * s, 0.0, 0.7 * s, 0.10 * s, 0.16 * s, 0.5),
        Stroke(0.36 * s, 0.25 * s, 0.44 * s, -0.5 * s, 0.09 * s, 0.08 * s, 0.5),
        Stroke(-0.36 * s, 0.25 * s, -0.44 * s, -0.5 * s, 0.09 * s, 0.08 * s, 0.5),
        Stroke(0.14 * s, 0.18 * s, 0.15 * s, -0.13 * s, 0.08 * s, 0.11 * s, 0.4, -0.7),
        Stroke(-0.14 * s, 0.18 * s, -0.15 * s, -0.13 * s, 0.08 * s, 0.11 * s, 0.4, -0.7),
        Stroke(0.04 * s, -0.02 * s, 0.09 * s, -0.10 * s, 0.07 * s, 0.09 * s, 0.4, 0.6),
    ]
    return tubes, blobs, strokes
