"""COCO JSON: `images`, `annotations` with boxes, polygons or run-length masks, `categories`.

The format: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and
https://cocodataset.org/#format-data. Coordinates count from 0, a box is x, y, width, height.
"""

import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath
from pycocotools import mask as run_lengths

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.box_formats.boxed_films import BoxedFilm
from wristmir_jax.data.box_formats.films import (
    Film,
    ReadOptions,
    Shape,
    box_polygon,
    film_size,
    number,
    points,
)
from wristmir_jax.data.box_formats.masks import mask_polygons
from wristmir_jax.data.box_formats.plain_files import read_json
from wristmir_jax.data.sources.base import Rejection
from wristmir_jax.data.sources.fields import BadValue
from wristmir_jax.errors import UserError

# Of ours: the angle of the forearm, beside the standard keys of an image.
_AXIS = "axis_degrees"


def read(path: epath.Path, options: ReadOptions) -> Iterator[Film | Rejection]:
    """The films of a COCO file, or of a folder that holds just one such file.

    An annotation without a box takes the hull of its polygons or mask. Annotations of films or
    categories that are not listed are set aside.

    Raises:
        UserError: the file is damaged; names the line, the image or the annotation.
    """
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if len(files) != 1:
            raise UserError(f"{path} holds {len(files)} JSON files: name one with --input")
        path = files[0]
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not COCO: the top must be an object")
    categories = {
        entry["id"]: str(entry["name"])
        for entry in _listed(content, "categories", ("id", "name"), path)
    }
    by_film: dict[Any, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for annotation in _listed(content, "annotations", ("image_id", "category_id"), path):
        where = f"{path}, annotation {annotation.get('id', '?')}"
        by_film[annotation["image_id"]].append((where, annotation))
    listed = set()
    for image in _listed(content, "images", ("id", "file_name"), path):
        if image["id"] in listed:
            raise UserError(f"{path}, image {image['id']}: the id stands twice")
        listed.add(image["id"])
        yield from _film(path, image, by_film.get(image["id"], []), categories, options)
    for film in by_film.keys() - listed:
        for where, _ in by_film[film]:
            yield Rejection("annotation of a film that is not listed", detail=where)


def _film(
    path: epath.Path,
    image: dict[str, Any],
    annotations: list[tuple[str, dict[str, Any]]],
    categories: dict[Any, str],
    options: ReadOptions,
) -> Iterator[Film | Rejection]:
    where = f"{path}, image {image['id']}"
    size = None
    if image.get("width") is not None or image.get("height") is not None:
        size = film_size(image.get("width"), image.get("height"), where)
    name = str(image["file_name"])
    shapes = []
    for place, annotation in annotations:
        try:
            label = categories.get(annotation["category_id"])
            if label is None:
                raise BadValue("category that is not listed")
            polygons, is_box = _polygons(annotation, size, place, options.outlines)
        except BadValue as error:
            yield Rejection(error.reason, name, detail=place)
            continue
        shapes.append(Shape(label, polygons, place, is_box))
    axis = number(image[_AXIS], where, _AXIS) if image.get(_AXIS) is not None else math.nan
    yield Film(name, where, size, shapes, axis)


def _listed(
    content: dict[str, Any], key: str, needed: tuple[str, ...], path: epath.Path
) -> Iterator[dict[str, Any]]:
    entries = content.get(key)
    if not isinstance(entries, list):
        raise UserError(f"{path}: not COCO: {key!r} is missing or no list")
    for place, entry in enumerate(entries, 1):
        missing = (
            needed[:1] if not isinstance(entry, dict) else [k for k in needed if k not in entry]
        )
        if missing:
            raise UserError(f"{path}, {key}: entry {place}: {missing[0]!r} is missing")
        if any(isinstance(entry[k], dict | list) for k in needed):
            raise UserError(f"{path}, {key}: entry {place}: an id or name is not a plain value")
        yield entry


def _polygons(
    annotation: dict[str, Any], size: tuple[int, int] | None, where: str, outlines: bool
) -> tuple[tuple[np.ndarray, ...], bool]:
    box, drawn = annotation.get("bbox"), annotation.get("segmentation")
    if box and not (outlines and drawn):
        if not isinstance(box, list) or len(box) != 4:
            raise UserError(f"{where}: bbox must be x, y, width, height")
        x, y, width, height = (number(value, where, "a number of bbox") for value in box)
        return (box_polygon(x, y, x + width, y + height),), True
    if isinstance(drawn, dict):
        return _mask(drawn, size, where), False
    if isinstance(drawn, list) and drawn:
        return tuple(points(polygon, where) for polygon in drawn), False
    raise BadValue("neither box nor outline")


def _mask(drawn: dict[str, Any], size: tuple[int, int] | None, where: str) -> tuple:
    sides, counts = drawn.get("size"), drawn.get("counts")
    if not isinstance(sides, list) or len(sides) != 2 or not isinstance(counts, list | str):
        raise UserError(f"{where}: a run-length mask needs size and counts")
    width, height = film_size(sides[1], sides[0], where)
    if size and size != (width, height):
        raise BadValue("the mask's size disagrees with the film's")
    if isinstance(counts, str):
        runs = _run_lengths(counts)
    else:
        runs = [number(count, where, "a run length") for count in counts]
    # pycocotools fills what runs leave out with whatever the memory holds.
    if any(run < 0 or run != int(run) for run in runs) or sum(runs) != width * height:
        raise UserError(f"{where}: run lengths do not add up to {width} x {height} pixels")
    coded: Any = {"size": [height, width], "counts": [int(run) for run in runs]}
    with warnings.catch_warnings():
        # pycocotools' arrays do not know NumPy 2's keywords yet.
        warnings.simplefilter("ignore", DeprecationWarning)
        mask = run_lengths.decode(run_lengths.frPyObjects(coded, height, width))
    polygons = mask_polygons(mask.astype(bool))
    if not polygons:
        raise BadValue("the mask is empty")
    return polygons


def _run_lengths(text: str) -> list[int]:
    """The run lengths that pycocotools' `rleToString` packed into a string.

    Letters hold five bits each from the lowest, and whether more follow; from the fourth run on,
    the difference to the run before the last is packed.
    """
    runs: list[int] = []
    value = bits = 0
    for letter in text:
        code = ord(letter) - 48
        value |= (code & 31) << bits
        bits += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << bits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = bits = 0
    return runs


def content_of(films: Sequence[BoxedFilm]) -> dict[str, Any]:
    """What a COCO file of `films` holds; `axis_degrees` joins an image's keys where it is known.

    Args:
        films: with their sizes.

    Raises:
        UserError: the size of a film is not known.
    """
    images, annotations = [], []
    for number_of_film, film in enumerate(films, 1):
        if film.size is None:
            raise UserError(
                f"{film.name}: COCO needs the size of the film: give the folder of films as "
                "--images"
            )
        image = {
            "id": number_of_film,
            "file_name": film.name,
            "width": film.size[0],
            "height": film.size[1],
        }
        if math.isfinite(film.axis_degrees):
            image[_AXIS] = round(film.axis_degrees, 2)
        images.append(image)
        for category, box in enumerate(film.boxes_Rx4.tolist(), 1):
            # COCO cannot say that nobody can say.
            if not math.isfinite(box[0]):
                continue
            x0, y0, x1, y1 = (round(value, 3) for value in box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number_of_film,
                    "category_id": category,
                    "bbox": [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)],
                    "area": round((x1 - x0) * (y1 - y0), 3),
                    "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": place, "name": name} for place, name in enumerate(REGION_NAMES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}
