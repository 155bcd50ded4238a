"""CVAT for images 1.1: one XML file with boxes, polygons and masks.

The format: https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/. Coordinates count from
0; `rotation` turns a box clockwise about its middle; a mask is run lengths, background first, row
by row inside its box.
"""

from collections.abc import Iterator

import numpy as np
from etils import epath

from wristmir_jax.data.box_formats.films import (
    Film,
    ReadOptions,
    Shape,
    box_polygon,
    film_size,
    number,
    points,
    turned,
)
from wristmir_jax.data.box_formats.masks import mask_polygons
from wristmir_jax.data.box_formats.plain_files import Element, files_below, read_xml
from wristmir_jax.data.sources.base import Rejection
from wristmir_jax.errors import UserError

_OTHER_SHAPES = ("polyline", "points", "ellipse", "cuboid", "skeleton")


def read(path: epath.Path, options: ReadOptions) -> Iterator[Film | Rejection]:
    """The films of a CVAT file, or of a folder of such files.

    Raises:
        UserError: a file is damaged, or of the video kind; names the line.
    """
    for file in files_below(path, (".xml",)) if path.is_dir() else [path]:
        root = read_xml(file)
        if root.tag != "annotations":
            raise UserError(f"{file}, line {root.line}: not CVAT: the root is <{root.tag}>")
        track = root.first("track")
        if track is not None:
            raise UserError(
                f"{file}, line {track.line}: tracks of a video: export as CVAT for images"
            )
        for image in root.all("image"):
            yield from _film(file, image)


def _film(path: epath.Path, image: Element) -> Iterator[Film | Rejection]:
    where = f"{path}, line {image.line}"
    size = film_size(image.attributes.get("width"), image.attributes.get("height"), where)
    name = _attribute(image, "name", where)
    shapes = []
    for child in image.children:
        place = f"{path}, line {child.line}"
        if child.tag in _POLYGONS:
            label = _attribute(child, "label", place)
            polygons = _POLYGONS[child.tag](child, place)
            if not polygons:
                yield Rejection("the mask is empty", name, detail=place)
                continue
            rotated = "rotation" in child.attributes
            shapes.append(Shape(label, polygons, place, child.tag == "box" and not rotated))
        elif child.tag in _OTHER_SHAPES:
            yield Rejection("neither box, polygon nor mask", name, detail=f"{place}: {child.tag}")
    yield Film(name, where, size, shapes)


def _box(element: Element, where: str) -> tuple[np.ndarray, ...]:
    corners = (_number(element, name, where) for name in ("xtl", "ytl", "xbr", "ybr"))
    polygon = box_polygon(*corners)
    if "rotation" in element.attributes:
        polygon = turned(polygon, _number(element, "rotation", where))
    return (polygon,)


def _polygon(element: Element, where: str) -> tuple[np.ndarray, ...]:
    return (points(_attribute(element, "points", where).replace(";", ",").split(","), where),)


def _mask(element: Element, where: str) -> tuple[np.ndarray, ...]:
    attributes = element.attributes
    width, height = film_size(attributes.get("width"), attributes.get("height"), where)
    left, top = _number(element, "left", where), _number(element, "top", where)
    runs = [
        number(run, where, "a run length") for run in _attribute(element, "rle", where).split(",")
    ]
    if any(run < 0 or run != int(run) for run in runs) or sum(runs) != width * height:
        raise UserError(f"{where}: run lengths do not add up to {width} x {height} pixels")
    filled = np.arange(len(runs)) % 2 == 1
    mask = np.repeat(filled, np.array(runs, int)).reshape(height, width)
    offset = np.array([left, top])
    return tuple(polygon + offset for polygon in mask_polygons(mask))


_POLYGONS = {"box": _box, "polygon": _polygon, "mask": _mask}


def _attribute(element: Element, name: str, where: str) -> str:
    value = element.attributes.get(name)
    if not value:
        raise UserError(f"{where}: <{element.tag}> has no {name}")
    return value


def _number(element: Element, name: str, where: str) -> float:
    return number(_attribute(element, name, where), where, name)
