"""Outlines of bones as JSON: `{film: {"width", "height", "polygons": [{"bone", "points"}]}}`.

The layout in which outlines of GRAZPEDWRI-DX films (Nagy et al., Scientific Data 2022) are passed
on. A bone may be several polygons. File names of that set tell sex and age.
"""

import re
from collections.abc import Iterator
from typing import Any

from etils import epath

from wristmir_jax.data.box_formats.films import Film, ReadOptions, Shape, film_size, points
from wristmir_jax.data.box_formats.plain_files import read_json
from wristmir_jax.errors import UserError

_SEX_AND_AGE = re.compile(r"_WRI-[LR]\d_([FM])(\d{3})$")


def read(path: epath.Path, options: ReadOptions) -> Iterator[Film]:
    """The films of such a file.

    Raises:
        UserError: it is damaged; names the line, or the film and polygon.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: the top must be an object with a key a film")
    for name, entry in content.items():
        where = f"{path}, film {name}"
        if not isinstance(entry, dict) or not isinstance(entry.get("polygons"), list):
            raise UserError(f"{where}: needs width, height and a list of polygons")
        size = film_size(entry.get("width"), entry.get("height"), where)
        shapes = [
            _shape(polygon, f"{where}, polygon {place}")
            for place, polygon in enumerate(entry["polygons"], 1)
        ]
        told = _SEX_AND_AGE.search(name)
        if told:
            # The name has whole years: the middle of the year is the best guess.
            yield Film(name, where, size, shapes, age_years=int(told[2]) + 0.5, male=told[1] == "M")
        else:
            yield Film(name, where, size, shapes)


def _shape(polygon: Any, where: str) -> Shape:
    drawn = polygon.get("points") if isinstance(polygon, dict) else None
    if not isinstance(drawn, list) or not all(
        isinstance(point, list) and len(point) == 2 for point in drawn
    ):
        raise UserError(f"{where}: needs bone, and points of x and y")
    flat = [value for point in drawn for value in point]
    return Shape(str(polygon.get("bone", "")), (points(flat, where),), where)
