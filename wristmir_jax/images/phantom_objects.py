"""What else is on films: plates and screws, rings, watches, markers, letters, a reader's oval."""

from collections.abc import Sequence

import numpy as np

from wristmir_jax.images.phantom_bones import Motion
from wristmir_jax.images.phantom_films import Film
from wristmir_jax.images.phantom_parts import NUM_LETTERS, Segment, Tube

NUM_SEGMENTS = 36
_NOTHING = Segment()

_GLYPHS = {
    "left": (((0, 0), (0, 1.2)), ((0, 0), (0.7, 0))),
    "right": (
        ((0, 0), (0, 1.2)), ((0, 1.2), (0.5, 1.2)), ((0, 0.6), (0.5, 0.6)),
        ((0.6, 0.7), (0.6, 1.1)), ((0.3, 0.5), (0.62, 0)),
    ),
}  # fmt: skip
# Seven strokes of a digit and two diagonals, in a cell of 0.6 x 1.
_CELL = (
    ((0, 0), (0.6, 0)), ((0, 0.5), (0.6, 0.5)), ((0, 1), (0.6, 1)), ((0, 0), (0, 0.5)),
    ((0, 0.5), (0, 1)), ((0.6, 0), (0.6, 0.5)), ((0.6, 0.5), (0.6, 1)), ((0, 1), (0.6, 0)),
    ((0, 0), (0.6, 1)),
)  # fmt: skip


def marker(laterality: str, x: float, y: float, size: float) -> list[Segment]:
    """A lead L or R with its lower left corner at (x, y) mm, never mirrored, and what it sits on.

    The plastic it sits on comes last.
    """
    strokes = [
        Segment(
            x + a[0] * size, y + a[1] * size, x + b[0] * size, y + b[1] * size, 0.13 * size, 2.0, 1
        )
        for a, b in _GLYPHS[laterality]
    ]
    middle, half = x + 0.38 * size, 0.78 * size
    card = Segment(middle, y, middle, y + 1.5 * size, half, 0.035 / (2.0 * half), 1)
    return [*strokes, card]


def segments_of(
    film: Film, laterality: str, side: float, metal: Sequence[Segment] = ()
) -> list[Segment]:
    """All `NUM_SEGMENTS` of a film of `side` mm: metal, marker, and what is burned in."""
    rng = np.random.default_rng(film.letters or 0)
    on_film = [*metal, *_marker(film, laterality, rng)]
    burned = _letters(side, rng) if film.letters is not None else []
    if film.oval:
        burned = burned[: NUM_LETTERS - 8] + _oval(side, rng)
    first, last = NUM_SEGMENTS - NUM_LETTERS, NUM_LETTERS
    return (
        on_film + [_NOTHING] * (first - len(on_film)) + burned + [_NOTHING] * (last - len(burned))
    )


def _marker(film: Film, laterality: str, rng: np.random.Generator) -> list[Segment]:
    finish = film.finish
    if film.marker:
        # Near an edge of the field, on either side of the limb.
        across, along = np.sign(film.at_x + 0.3) or 1.0, rng.uniform(-0.8, 0.7)
        x = finish.first_x - across * finish.first_half_width * rng.uniform(0.6, 0.85)
        y = finish.first_y + along * finish.first_half_height
        return marker(laterality, x, y, film.marker_size)
    return []


def _letters(side: float, rng: np.random.Generator) -> list[Segment]:
    """A line of letters at any place."""
    height = side * rng.uniform(0.015, 0.05)
    x, y = (rng.uniform(-0.47, 0.3), rng.uniform(-0.47, 0.43)) * np.array(side)
    strokes = []
    while len(strokes) < NUM_LETTERS:
        for k in rng.permutation(len(_CELL))[: rng.integers(2, 5)]:
            a, b = _CELL[k]
            strokes.append(
                Segment(
                    x + a[0] * height, y + a[1] * height, x + b[0] * height, y + b[1] * height,
                    0.07 * height, 50.0, 2.0,
                )
            )  # fmt: skip
        x += 0.85 * height
    return strokes[: int(rng.integers(6, NUM_LETTERS + 1))]


def _oval(side: float, rng: np.random.Generator) -> list[Segment]:
    """What a reader drew around something, often not the wrist."""
    x, y = rng.uniform(-0.3, 0.3, 2) * side
    a, b = rng.uniform(0.04, 0.10, 2) * side
    t = np.linspace(0.0, 2.0 * np.pi, 9)
    px, py = x + a * np.cos(t), y + b * np.sin(t)
    return [Segment(px[k], py[k], px[k + 1], py[k + 1], 0.003 * side, 50.0, 2.0) for k in range(8)]


def plate(width: float, lateral: bool, radius: Motion) -> list[Segment]:
    """A volar plate on the radius and five screws; `radius` moves points with its epiphysis."""
    half = 0.13 * width
    if lateral:
        near, far = (0.20 * width, -1.9 * width), radius.point(0.42 * width, -0.05 * width)
        plates = [Segment(*near, *far, 0.05 * width, 0.9 / (0.1 * width), 0.0)]
        screws = [
            ((0.24 - 0.1 * k) * width, y * width, -0.32 * width, y * width)
            for k, y in enumerate((-1.75, -1.45, -1.1, -0.35, -0.1))
        ]
    else:
        near, far = (-0.02 * width, -1.9 * width), radius.point(0.02 * width, -0.25 * width)
        left, right = radius.point(-0.3 * width, -0.1 * width), radius.point(0.3 * width, 0.0)
        plates = [
            Segment(*near, *far, half, 0.55 / (2 * half), 0.0),
            Segment(*left, *right, half, 0.55 / (2 * half), 0.0),
        ]
        spots = ((-0.02, -1.75), (-0.02, -1.4), (-0.01, -1.05), (-0.28, -0.1), (0.28, -0.02))
        screws = [
            (x * width, y * width, (x + 0.02) * width, (y + 0.25 * (k > 2)) * width)
            for k, (x, y) in enumerate(spots)
        ]
    return plates + [Segment(*ends, 0.045 * width, 1.6 / (0.09 * width), 0.0) for ends in screws]


def worn(film: Film, width: float, phalanges: list[Tube]) -> list[Segment]:
    """A ring on a finger, where fingers are drawn, and a watch on the forearm."""
    segments = []
    if film.ring and phalanges:
        # First phalanx of the ring or middle finger.
        tube = phalanges[3 if film.deviation > 0 else 6]
        x = tube.origin_x - 0.7 * tube.length * tube.axis_x
        y = tube.origin_y - 0.7 * tube.length * tube.axis_y
        ax, ay = tube.axis_y * 0.28 * width, -tube.axis_x * 0.28 * width
        segments.append(Segment(x - ax, y - ay, x + ax, y + ay, 0.05 * width, 3.0, 0.0))
    if film.watch:
        y = -2.4 * width
        segments += [
            Segment(-1.35 * width, y, 0.7 * width, y, 0.16 * width, 1.2 / width, 0.0),
            Segment(-0.4 * width, y, -0.25 * width, y, 0.36 * width, 2.2 / width, 0.0),
        ]
    return segments
