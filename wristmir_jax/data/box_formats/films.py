"""What every format is read into: films and the labelled shapes that were drawn on them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from etils import epath

from wristmir_jax.data.box_formats.image_folder import ImageFolder
from wristmir_jax.data.sources.base import Rejection
from wristmir_jax.errors import UserError

# Larger sides are slips of a file, and masks of such films would fill the memory.
MAX_SIDE = 65_535


@dataclass(frozen=True)
class Shape:
    """A box, polygon or mask with its label.

    Attributes:
        label: as the file has it.
        polygons: float64 (P, 2) each, x and y in pixels of the film as the file states its size; a
            box is the polygon of its corners.
        where: the place in the file, for messages.
        is_box: whether it was drawn as a box, so that it tells no outline.
    """

    label: str
    polygons: tuple[np.ndarray, ...]
    where: str
    is_box: bool = False

    @property
    def hull(self) -> np.ndarray:
        """float64 (4,), x0 y0 x1 y1; of a box as the file has it, be it turned over."""
        if self.is_box:
            return np.concatenate([self.polygons[0][0], self.polygons[0][2]])
        points = np.concatenate(self.polygons)
        return np.concatenate([points.min(axis=0), points.max(axis=0)])


@dataclass(frozen=True)
class Film:
    """A film and what was drawn on it.

    Attributes:
        name: file name or path as the file has it, without a suffix where it has none.
        where: the place in the file, for messages.
        size: width and height in pixels that the file states; None where it does not.
        shapes: on this film.
        axis_degrees: by which the upright forearm was turned counter-clockwise, as seen; NaN where
            the file does not say.
        age_years: NaN where unknown. male: None where unknown.
        unknown_regions: of which the file says that nobody can say where they are.
    """

    name: str
    where: str
    size: tuple[int, int] | None
    shapes: list[Shape] = field(default_factory=list)
    axis_degrees: float = math.nan
    age_years: float = math.nan
    male: bool | None = None
    unknown_regions: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """What a format may need besides its own file.

    Attributes:
        images: the films themselves, for sizes and names; None where they are not at hand.
        names: of the classes, where the format only numbers them and has no file of names.
        outlines: whether outlines are wanted where a shape has a box as well.
        knows_label: whether a label is mapped.
    """

    images: ImageFolder | None = None
    names: tuple[str, ...] = ()
    outlines: bool = False
    knows_label: Callable[[str], bool] = lambda label: False


Reader = Callable[[epath.Path, ReadOptions], Iterator[Film | Rejection]]


def box_polygon(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """Corners of a box, float64 (4, 2)."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)


def turned(polygon: np.ndarray, degrees: float) -> np.ndarray:
    """`polygon` (P, 2) turned clockwise, as seen on the film, about the middle of its hull."""
    center = (polygon.min(axis=0) + polygon.max(axis=0)) / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return center + (polygon - center) @ np.array([[cos, sin], [-sin, cos]])


def number(value: Any, where: str, what: str) -> float:
    """A finite number from JSON or text.

    Raises:
        UserError: it is none; `where` and `what` stand in the message.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{where}: {what} is not a number") from None
    if not math.isfinite(result):
        raise UserError(f"{where}: {what} is not a finite number")
    return result


def film_size(width: Any, height: Any, where: str) -> tuple[int, int]:
    """Width and height of a film.

    Raises:
        UserError: they are not whole numbers from 1 to `MAX_SIDE`.
    """
    sides = number(width, where, "width"), number(height, where, "height")
    if not all(1 <= side <= MAX_SIDE and side == int(side) for side in sides):
        raise UserError(f"{where}: a film of {sides[0]:g} x {sides[1]:g} pixels cannot be")
    return int(sides[0]), int(sides[1])


def points(values: Any, where: str) -> np.ndarray:
    """A polygon from x, y, x, y ...: float64 (P, 2), at least three points.

    Raises:
        UserError: it is none.
    """
    if not isinstance(values, list) or len(values) < 6 or len(values) % 2:
        raise UserError(f"{where}: a polygon needs pairs of x and y, at least three")
    return np.array([number(value, where, "a coordinate") for value in values]).reshape(-1, 2)
