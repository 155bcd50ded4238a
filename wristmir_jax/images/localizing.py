"""Where the regions of a film lie: asks a localiser, alike for `prepare` and `search`.

NumPy and Pillow only, until a localiser is opened: worker processes import it.
"""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from etils import epath
from PIL import Image

from wristmir_jax import anatomy
from wristmir_jax.errors import UserError

# Of --localizer; anything else is a path.
PACKAGE, PRIOR, NONE = "package", "prior", "none"
_CUSTOM = "custom"

# A localiser sees films at most this large: what it looks for is larger than a pixel of that.
MAX_SIDE = 640


class Located(Protocol):
    """What a localiser says of a film, see `localizing.localizer.Located`.

    Attributes:
        boxes: float32 (R, 4), x0 y0 x1 y1 in pixels of the film as it was given, in the order of
            `anatomy.REGION_NAMES`; NaN where the region was not found or is in doubt.
        axis_degrees: how far the upright forearm is turned, counter-clockwise as seen; NaN where no
            wrist was found.
    """

    @property
    def boxes(self) -> np.ndarray: ...

    @property
    def axis_degrees(self) -> float: ...


class FilmLocalizer(Protocol):
    """Finds regions on films, such as `localizing.localizer.Localizer`.

    Attributes:
        fingerprint: 8 or more hexadecimal digits that tell its weights from others.
    """

    @property
    def fingerprint(self) -> str: ...

    def locate(self, films: Sequence[np.ndarray], /) -> Sequence[Located]:
        """One answer a film, uint8 (H, W) of any sizes, after `images.reading.window`."""
        ...


@dataclass(frozen=True)
class FilmBoxes:
    """Where the regions of a film lie.

    Attributes:
        boxes: float32 (R, 4), x0 y0 x1 y1 in pixels of the film, NaN where absent, infinite where
            nobody can say; None where nobody has looked.
        axis_degrees: how far the upright forearm is turned on the film, counter-clockwise as seen;
            NaN where unknown.
    """

    boxes: np.ndarray | None
    axis_degrees: float = float("nan")


NO_BOXES = FilmBoxes(None)


@dataclass(frozen=True)
class SmallFilm:
    """A film as localisers get it.

    Attributes:
        pixels: uint8 (h, w), at most `MAX_SIDE` a side.
        original_size: height and width of the film itself, in pixels.
    """

    pixels: np.ndarray
    original_size: tuple[int, int]

    @classmethod
    def of(cls, pixels: np.ndarray) -> "SmallFilm":
        """Of float32 (H, W) in [0, 1]."""
        height, width = pixels.shape
        scale = min(1.0, MAX_SIDE / max(height, width))
        image = Image.fromarray(np.ascontiguousarray(pixels, np.float32))
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = image.resize(size, Image.Resampling.BILINEAR)
        levels = np.clip(np.asarray(image), 0.0, 1.0) * 255
        return cls(np.round(levels).astype(np.uint8), (height, width))


def locate(
    localizer: FilmLocalizer, films: Sequence[SmallFilm], regions: tuple[str, ...]
) -> list[FilmBoxes]:
    """The R regions on each film, in pixels of the film itself; NaN where not found."""
    columns = [anatomy.REGION_NAMES.index(name) for name in regions]
    answers = localizer.locate([film.pixels for film in films])
    return [
        FilmBoxes(boxes_on_film(answer, film)[columns], float(answer.axis_degrees))
        for film, answer in zip(films, answers, strict=True)
    ]


def boxes_on_film(answer: Located, film: SmallFilm) -> np.ndarray:
    """The boxes of an answer in pixels of the film itself, float32 (R, 4) in the order of
    `anatomy.REGION_NAMES`, NaN where not found or off the film, infinite where that is so in the
    answer."""
    (height, width), (small_height, small_width) = film.original_size, film.pixels.shape
    scale = np.array([width / small_width, height / small_height] * 2)
    boxes = (np.asarray(answer.boxes, np.float64) * scale).astype(np.float32)
    x0, y0, x1, y1 = boxes.T
    touches = (x1 > x0) & (y1 > y0) & (x0 < width) & (y0 < height) & (x1 > 0) & (y1 > 0)
    # Comparisons with NaN are false, so that half a box counts as none.
    boxes[~(touches & np.isfinite(boxes).all(axis=1)) & ~np.isinf(boxes).all(axis=1)] = np.nan
    return boxes


def without_cartilage(boxes: np.ndarray, regions: tuple[str, ...], age_years: float) -> np.ndarray:
    """The boxes, NaN where the region is not ossified yet at this age, whatever was found there."""
    boxes = boxes.copy()
    boxes[[anatomy.region(name).absent(age_years) for name in regions]] = np.nan
    return boxes


def check_localizer(name: str) -> None:
    """Refuse what `open_localizer` could not open, before any work is done.

    Raises:
        UserError: it is neither a name nor a path that exists.
    """
    if name not in (PACKAGE, PRIOR, NONE) and not epath.Path(name).exists():
        raise UserError(
            f"--localizer={name}: no such file or folder: choose {PACKAGE}, {PRIOR}, {NONE} or "
            "where a trained localiser lies"
        )


def open_localizer(name: str) -> FilmLocalizer:
    """A localiser by name or path, see `localizing.opening.open_localizer`.

    Args:
        name: "package" for the weights of this package, or a path.

    Raises:
        UserError: there is none at that path, or it cannot be read.
    """
    check_localizer(name)
    # Looked up when it is needed: it starts JAX, which worker processes must not, and the network
    # behind it stands later in the flow of data than the films that it is asked about.
    return importlib.import_module("wristmir_jax.localizing.opening").open_localizer(name)


def record_of(localizer: str | FilmLocalizer, used: FilmLocalizer | None = None) -> str:
    """What a data set says of the localiser that placed its regions (`DatasetInfo.localizer`).

    Args:
        localizer: name, path, or a localiser of the caller's own.
        used: the one that was opened; None where it was not needed.
    """
    name = localizer if isinstance(localizer, str) else _CUSTOM
    return name if used is None else f"{name}:{used.fingerprint}"


def read_record(record: str) -> tuple[str, str]:
    """Name or path, and fingerprint ("" for none), of what `record_of` gave."""
    match = re.fullmatch(r"(.+):([0-9a-f]{8,})", record)
    return (match[1], match[2]) if match else (record, "")
