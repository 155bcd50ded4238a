"""From a film to the towers' inputs: the one function that `prepare` and `search` share."""

from dataclasses import dataclass

import numpy as np

from wristmir_jax import anatomy
from wristmir_jax.images.crops import crop, letterbox
from wristmir_jax.images.prior import prior_boxes
from wristmir_jax.images.reading import Radiograph


@dataclass(frozen=True)
class TowerInputs:
    """What the towers see of one film, as acquired (right wrists are mirrored later).

    Attributes:
        image: uint8 (S, S).
        crops: uint8 (R, C, C), zeros where absent.
        crop_present: uint8 (R,).
        boxes: float32 (R, 4) in pixels of the film, NaN where absent, infinite where nobody can
            say.
    """

    image: np.ndarray
    crops: np.ndarray
    crop_present: np.ndarray
    boxes: np.ndarray


def tower_inputs(
    radiograph: Radiograph,
    view: str,
    laterality: str,
    boxes: np.ndarray | None,
    regions: tuple[str, ...],
    image_size: int,
    crop_size: int,
    age_years: float = float("nan"),
    axis_degrees: float = float("nan"),
) -> TowerInputs:
    """Letterbox the film as it lies and cut its R regions, turned so that the forearm is upright.

    A crop shows a square of `anatomy.Region.crop_mm` where the film's pixel spacing is known, the
    box's own square and a margin where it is not (`crops.crop`).

    A region is absent where it is not scored in this view (`anatomy.Region.scored_views`) or has no
    box; the prior gives none where the bone is not ossified yet at this age. Labels play no part in
    that: at search time there are none.

    Args:
        boxes: float32 (R, 4) in pixels of the film, NaN = absent, infinite = nobody can say (there
            is no crop either); None takes the geometric prior.
        axis_degrees: how far the upright forearm is turned on the film, counter-clockwise as seen;
            NaN where unknown.

    Raises:
        ValueError: `boxes` has another shape, or a box is empty or outside the film.
    """
    pixels = radiograph.pixels
    if boxes is None:
        boxes = prior_boxes(pixels, view, laterality, regions, age_years)
    boxes = np.array(boxes, np.float32)
    if boxes.shape != (len(regions), 4):
        raise ValueError(f"boxes have shape {boxes.shape}, expected {(len(regions), 4)}")
    crops = np.zeros((len(regions), crop_size, crop_size), np.uint8)
    present = np.zeros(len(regions), np.uint8)
    for index, name in enumerate(regions):
        region = anatomy.region(name)
        if view not in region.scored_views or np.isnan(boxes[index]).any():
            boxes[index] = np.nan
            continue
        if np.isinf(boxes[index]).any():
            continue
        side = None if np.isnan(radiograph.spacing) else region.crop_mm / radiograph.spacing
        crops[index] = crop(pixels, boxes[index], crop_size, axis_degrees, side)
        present[index] = 1
    return TowerInputs(letterbox(pixels, image_size), crops, present, boxes)
