"""Films with region boxes: what every format becomes, and our own `boxes.jsonl`."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epath

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.box_formats.films import Film, ReadOptions, Shape, box_polygon, number
from wristmir_jax.data.sources.boxes import UNKNOWN_BOX, box_json
from wristmir_jax.errors import UserError
from wristmir_jax.json_lines import json_lines


@dataclass(frozen=True)
class BoxedFilm:
    """A film with the boxes of its regions.

    Attributes:
        name: path or file name of the film.
        image_id: "" where no name without folder and suffix is the film's alone.
        size: width and height in pixels; None where unknown.
        boxes_Rx4: float64 x0 y0 x1 y1 in pixels in the order of `REGION_NAMES`, NaN = absent,
            infinite = nobody can say.
        axis_degrees: by which the upright forearm was turned counter-clockwise, as seen; NaN where
            unknown.
    """

    name: str
    image_id: str
    size: tuple[int, int] | None
    boxes_Rx4: np.ndarray
    axis_degrees: float = math.nan

    def to_json(self) -> str:
        """A line of `boxes.jsonl`, as `data.sources.boxes.read_boxes` reads it."""
        values: dict[str, Any] = {"image_path": self.name}
        if self.image_id == self.name:
            values = {}
        if self.image_id:
            values["image_id"] = self.image_id
        values["boxes"] = {
            region: box_json(box, 2)
            for region, box in zip(REGION_NAMES, self.boxes_Rx4, strict=True)
        }
        if math.isfinite(self.axis_degrees):
            values["axis_degrees"] = round(self.axis_degrees, 2)
        return json.dumps(values)


def read(path: epath.Path, options: ReadOptions) -> Iterator[Film]:
    """The films of our own `boxes.jsonl`.

    Raises:
        UserError: a line is none of this kind; names it.
    """
    for line_number, line in json_lines(path, "input"):
        where = f"{path}, line {line_number}"
        name, boxes = line.get("image_path") or line.get("image_id"), line.get("boxes")
        if not name or not isinstance(boxes, dict):
            raise UserError(f"{where}: needs image_path or image_id, and boxes")
        shapes, unknown = [], []
        for region, box in boxes.items():
            if box is None:
                continue
            if box == UNKNOWN_BOX:
                unknown.append(region)
                continue
            if not isinstance(box, list) or len(box) != 4:
                raise UserError(f"{where}: the box of {region} is not four numbers")
            corners = [number(value, where, f"a number of {region}") for value in box]
            shapes.append(Shape(region, (box_polygon(*corners),), where, True))
        axis = line.get("axis_degrees")
        degrees = math.nan if axis is None else number(axis, where, "axis_degrees")
        yield Film(str(name), where, None, shapes, degrees, unknown_regions=tuple(unknown))
