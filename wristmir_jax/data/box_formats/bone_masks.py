"""A folder of masks, a PNG a film and bone: `<film>_<label>.png`, bone bright."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from etils import epath
from PIL import Image, UnidentifiedImageError

from wristmir_jax.data.box_formats.films import Film, ReadOptions, Shape
from wristmir_jax.data.box_formats.masks import mask_polygons
from wristmir_jax.data.sources.base import Rejection
from wristmir_jax.errors import UserError


def read(path: epath.Path, options: ReadOptions) -> Iterator[Film | Rejection]:
    """The films of a folder of masks. A pixel belongs to the bone above half the brightest.

    Names of films and labels may hold underscores themselves: where the name is parted is told by
    `options.images`, else by the longest label that is mapped.

    Raises:
        UserError: a file is no PNG, or has no underscore in its name.
    """
    if not path.is_dir():
        raise UserError(f"{path}: masks are a folder: check --input")
    by_film: dict[str, list[tuple[str, epath.Path]]] = defaultdict(list)
    for file in sorted(path.glob("*.png")):
        film, label = _parted(file, options)
        by_film[film].append((label, file))
    for film, files in by_film.items():
        yield from _film(film, files)


def _film(name: str, files: list[tuple[str, epath.Path]]) -> Iterator[Film | Rejection]:
    size, shapes = None, []
    for label, file in files:
        mask = _mask(file)
        height, width = mask.shape
        if size is not None and size != (width, height):
            yield Rejection("the mask's size disagrees with the film's", name, detail=str(file))
            continue
        size = (width, height)
        polygons = mask_polygons(mask)
        if polygons:
            shapes.append(Shape(label, polygons, str(file)))
        else:
            yield Rejection("the mask is empty", name, detail=str(file))
    yield Film(name, str(files[0][1]), size, shapes)


def _parted(file: epath.Path, options: ReadOptions) -> tuple[str, str]:
    stem = file.stem
    places = [place for place, letter in enumerate(stem) if letter == "_"]
    if not places:
        raise UserError(f"{file}: masks are named <film>_<label>.png")
    parts = [(stem[:place], stem[place + 1 :]) for place in places]
    for film, label in parts if options.images is not None else ():
        if options.images is not None and options.images.find(film):
            return film, label
    for film, label in parts:
        if options.knows_label(label):
            return film, label
    return parts[-1]


def _mask(file: epath.Path) -> np.ndarray:
    try:
        with file.open("rb") as stream, Image.open(stream, formats=("PNG",)) as image:
            colours = image.mode in ("RGB", "RGBA", "LA")
            values = np.asarray(image.convert("L") if colours else image)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise UserError(f"{file}: not a PNG image ({type(error).__name__})") from None
    # True where both are 0 would take an empty mask for a full one.
    return values > values.max() / 2
