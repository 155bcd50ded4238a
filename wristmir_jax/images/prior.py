"""Where the regions usually lie on a film: the stand-in until a localiser finds them.

A film has no boxes of its own unless a localiser, a manifest or the renderer gives them. Then the
geometric prior below serves: boxes at fixed places of the *foreground*, the part of the film that
shows the limb. It assumes what pediatric wrist films mostly are: one wrist, fingers up, collimated
to the wrist. It knows nothing of the bones; the localiser replaces it.
"""

from dataclasses import dataclass

import numpy as np

from wristmir_jax import anatomy


@dataclass(frozen=True)
class PriorBox:
    """A square in units of the foreground, on a left wrist (on a right one x is mirrored).

    Attributes:
        x: centre, fraction of the foreground's width from its left edge (ulnar side on PA films).
        y: distal end of the bone, fraction of the foreground's height from its top.
        below: how far the centre lies proximal of `y`, fraction of the foreground's width.
        side: fraction of the foreground's width.
    """

    x: float
    y: float
    below: float
    side: float


# By region and view. Centres are rounded means over hand-drawn bone outlines of 73 public wrist
# films (GRAZPEDWRI-DX; 57 PA, 16 lateral); the sides are wide enough for the spread in y of about
# 0.13 of the height. A region or view without an entry is absent.
PRIOR: dict[str, dict[str, PriorBox]] = {
    "distal_radius": {
        "pa": PriorBox(x=0.58, y=0.41, below=0.17, side=0.55),
        "oblique": PriorBox(x=0.55, y=0.41, below=0.17, side=0.58),
        "lateral": PriorBox(x=0.47, y=0.34, below=0.19, side=0.58),
        "unknown": PriorBox(x=0.53, y=0.38, below=0.18, side=0.65),
    },
    "distal_ulna": {
        "pa": PriorBox(x=0.33, y=0.45, below=0.12, side=0.45),
        "oblique": PriorBox(x=0.36, y=0.45, below=0.12, side=0.48),
        "lateral": PriorBox(x=0.44, y=0.42, below=0.14, side=0.50),
        "unknown": PriorBox(x=0.38, y=0.44, below=0.13, side=0.55),
    },
    "ulnar_styloid": {
        "pa": PriorBox(x=0.28, y=0.45, below=0.0, side=0.32),
        "oblique": PriorBox(x=0.31, y=0.45, below=0.0, side=0.35),
        "unknown": PriorBox(x=0.32, y=0.45, below=0.0, side=0.40),
    },
}

_PROFILE_SIZE = 128
_TISSUE_RANGE = (0.2, 0.97)  # of windowed intensities: above air, below over-exposed borders
_MIN_TISSUE_FRACTION = 0.15
_MIN_EXTENT = 0.2


def foreground(pixels: np.ndarray) -> np.ndarray:
    """The bounding box of the limb: without collimator black, white borders and empty background.

    A row or column belongs to it where at least 15 % of it (of the part between the others) is
    neither air nor saturated; markers and thin scatter lines stay below that. Where less than a
    fifth of the film would remain in a direction, the film's whole extent is used.

    Args:
        pixels: float32 (H, W) in [0, 1], as `reading.window` gives them.

    Returns:
        float64 (4,), x0, y0, x1, y1 in pixels.
    """
    height, width = pixels.shape
    step_y, step_x = max(1, height // _PROFILE_SIZE), max(1, width // _PROFILE_SIZE)
    sample = pixels[::step_y, ::step_x]
    tissue = (sample > _TISSUE_RANGE[0]) & (sample < _TISSUE_RANGE[1])
    rows = _extent(tissue.mean(axis=1))
    columns = _extent(tissue[rows[0] : rows[1]].mean(axis=0))
    rows = _extent(tissue[:, columns[0] : columns[1]].mean(axis=1))
    box = np.array(
        [columns[0] * step_x, rows[0] * step_y, columns[1] * step_x, rows[1] * step_y], np.float64
    )
    return np.minimum(box, [width, height, width, height])


def prior_boxes(
    pixels: np.ndarray,
    view: str,
    laterality: str,
    regions: tuple[str, ...],
    age_years: float = float("nan"),
) -> np.ndarray:
    """Boxes of the regions by geometry alone.

    Args:
        pixels: float32 (H, W) in [0, 1].
        view, laterality: names in `anatomy.VIEWS` and `anatomy.SIDES`; an unknown side is taken as
            left.
        regions: R names.
        age_years: NaN where unknown.

    Returns:
        float32 (R, 4), x0 y0 x1 y1 in pixels of `pixels`; NaN where the region is absent: not
        scored in this view, without an entry in `PRIOR`, or not ossified yet at this age.
    """
    boxes = np.full((len(regions), 4), np.nan, np.float32)
    x0, y0, x1, y1 = foreground(pixels)
    width, height = x1 - x0, y1 - y0
    for index, name in enumerate(regions):
        entry = PRIOR.get(name, {}).get(view)
        region = anatomy.region(name)
        if entry is None or view not in region.scored_views or region.absent(age_years):
            continue
        fraction = 1 - entry.x if laterality == anatomy.MIRRORED_SIDE else entry.x
        x = x0 + fraction * width
        y = y0 + entry.y * height + entry.below * width
        half = entry.side * width / 2
        boxes[index] = [x - half, y - half, x + half, y + half]
    limits = np.array([pixels.shape[1], pixels.shape[0]] * 2, np.float32)
    clipped = np.clip(boxes, 0, limits)
    outside = (clipped[:, 2] <= clipped[:, 0]) | (clipped[:, 3] <= clipped[:, 1])
    clipped[outside] = np.nan
    return clipped


def _extent(profile: np.ndarray) -> tuple[int, int]:
    inside = np.flatnonzero(profile >= _MIN_TISSUE_FRACTION)
    if inside.size < _MIN_EXTENT * profile.size:
        return 0, profile.size
    return int(inside[0]), int(inside[-1]) + 1
