"""Reads the boxes that `localize`, or a person, gives for films."""

import math
from typing import Any

import numpy as np
from etils import epath

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.errors import UserError
from wristmir_jax.images.localizing import FilmBoxes
from wristmir_jax.json_lines import json_lines

# In the place of a box.
UNKNOWN_BOX = "unknown"


def box_json(box: np.ndarray, digits: int) -> list[float] | str | None:
    """A box (4,) as a line of the file has it: null for NaN, `UNKNOWN_BOX` for infinity."""
    if np.isnan(box).any():
        return None
    if np.isinf(box).any():
        return UNKNOWN_BOX
    return [round(float(side), digits) for side in box]


def read_boxes(path: epath.Path) -> dict[str, FilmBoxes]:
    """Boxes by image, R = the regions of `REGION_NAMES` in their order.

    Args:
        path: JSONL, lines `{"image_id" or "image_path", "boxes": {region: [x0, y0, x1, y1]},
            "axis_degrees": number}`; null or a region left out is absent, "unknown" in the place of
            a box is one of which nobody can say (infinite in the answer), an axis that is null or
            left out is not known; further keys, such as "confidence", are not read.

    Raises:
        UserError: the file is missing, or a line is none of this kind; the message names it.
    """
    boxes: dict[str, FilmBoxes] = {}
    for number, line in json_lines(path, "boxes"):
        names = [line[key] for key in ("image_id", "image_path") if line.get(key)]
        by_region = line.get("boxes")
        if not names or not isinstance(by_region, dict):
            raise UserError(f"{path}, line {number}: needs image_id or image_path, and boxes")
        unknown = set(by_region) - set(REGION_NAMES)
        if unknown:
            raise UserError(
                f"{path}, line {number}: unknown region {sorted(unknown)[0]!r}: "
                f"choose of {', '.join(REGION_NAMES)}"
            )
        array = np.full((len(REGION_NAMES), 4), np.nan, np.float32)
        for index, region in enumerate(REGION_NAMES):
            box = by_region.get(region)
            if box is None:
                continue
            if box == UNKNOWN_BOX:
                array[index] = np.inf
                continue
            if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
                raise UserError(
                    f"{path}, line {number}: box of {region} is not four numbers, null or "
                    f'"{UNKNOWN_BOX}"'
                )
            array[index] = box
        axis = line.get("axis_degrees")
        if axis is not None and not (_is_number(axis) and -360 <= axis <= 360):
            raise UserError(
                f"{path}, line {number}: axis_degrees is no number from -360 to 360: "
                "give degrees counter-clockwise, or null where they are not known"
            )
        film = FilmBoxes(array, math.nan if axis is None else float(axis))
        boxes |= {str(name): film for name in names}
    return boxes


def _is_number(value: Any) -> bool:
    # JSON's true is an int to Python, and Python's JSON knows NaN; infinity is no place.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
