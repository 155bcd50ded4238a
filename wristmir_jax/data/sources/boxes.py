"""Reads the boxes that `localize`, or a person, gives for films."""

import numpy as np
from etils import epath

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.errors import UserError
from wristmir_jax.json_lines import json_lines


def read_boxes(path: epath.Path) -> dict[str, np.ndarray]:
    """Boxes by image: float32 (R, 4) in the order of `REGION_NAMES`, NaN = absent.

    Args:
        path: JSONL, lines `{"image_id" or "image_path", "boxes": {region: [x0, y0, x1, y1]}}`; null
            or a region left out is absent.

    Raises:
        UserError: the file is missing, or a line is none of this kind; the message names it.
    """
    boxes: dict[str, np.ndarray] = {}
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
            try:
                array[index] = np.array(box, np.float32)
            except (TypeError, ValueError):
                raise UserError(
                    f"{path}, line {number}: box of {region} is not four numbers"
                ) from None
        boxes |= {str(name): array for name in names}
    return boxes
