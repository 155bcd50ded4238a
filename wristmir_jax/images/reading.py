"""Reads a radiograph from a PNG or JPEG file, strictly, into window-independent intensities.

NumPy and Pillow only: worker processes import it, and must not start JAX.
"""

import hashlib
import io
import warnings
from dataclasses import dataclass

import numpy as np
from etils import epath
from PIL import Image, ImageOps, UnidentifiedImageError

from wristmir_jax.errors import UserError

MIN_SIDE = 16
MAX_PIXELS = 100_000_000

# Anchors of the window among the pixels that are not the film's own black, and how far the window
# reaches beyond them, as a fraction of their distance. Inner anchors move little when a viewer's
# window clipped the tails; the margin keeps bone below saturation.
_ANCHOR_PERCENTILES = (10.0, 95.0)
_MARGIN = 0.2
# Above this the curve bends and approaches 1: thick parts and metal keep their contrast on films
# whose anchors lie in thin parts.
_KNEE = 0.7
_BLACK_FRACTION = 0.01
# Pixels within this fraction of the brightest are a white border where they are more than this
# share of the film: then they are left out as the black is. Less is bone, metal or a marker.
_WHITE_FRACTION = 0.02
_WHITE_SHARE = 0.1
_SAMPLED_PIXELS = 50_000

_SIGNATURE_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


class BadImage(UserError):
    """A file that cannot be used as a radiograph.

    Attributes:
        reason: a fixed phrase without file name or numbers, so that reasons can be counted.
        detail: more of it, "" for nothing.
    """

    def __init__(self, path: object, reason: str, detail: str = ""):
        self.reason = reason
        self.detail = detail
        super().__init__(f"{path}: {reason}" + (f" ({detail})" if detail else ""))


@dataclass(frozen=True)
class Radiograph:
    """One film.

    Attributes:
        pixels: float32 (H, W) in [0, 1], bone bright, windowed by `window`.
        original_size: height and width in pixels.
        spacing: mm a pixel, NaN where the file does not say.
        source_hash: 16 hex digits of the BLAKE2b of the file's bytes, "" when there is no file.
    """

    pixels: np.ndarray
    original_size: tuple[int, int]
    spacing: float = float("nan")
    source_hash: str = ""


def window(pixels: np.ndarray) -> np.ndarray:
    """Map intensities to [0, 1]; a linear re-windowing of the input changes (almost) nothing.

    The window is anchored at the 10th and 95th percentile of the pixels that are brighter than the
    film's black (collimator, frame of a rotated film) and no white border, and reaches 20 % of
    their distance beyond each: darker values are cut off, brighter ones compressed. Brightness is
    never inverted: PNG and JPEG do not say which polarity they hold, and a guess from the pixels
    mistakes over-exposed borders for it.

    Args:
        pixels: (H, W), any real dtype, bone bright.

    Returns:
        float32 (H, W) in [0, 1].

    Raises:
        ValueError: all pixels are equal.
    """
    values = pixels.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if not high > low:
        raise ValueError("all pixels are equal")
    stride = max(1, int(np.sqrt(values.size / _SAMPLED_PIXELS)))
    sample = values[::stride, ::stride]
    counted = sample > low + _BLACK_FRACTION * (high - low)
    white = sample > high - _WHITE_FRACTION * (high - low)
    if white.mean() > _WHITE_SHARE and (counted & ~white).mean() > _WHITE_SHARE:
        counted &= ~white
    sample = sample[counted]
    if sample.size:
        anchor_low, anchor_high = np.percentile(sample, _ANCHOR_PERCENTILES)
        if anchor_high > anchor_low:
            margin = _MARGIN * (anchor_high - anchor_low)
            low, high = float(anchor_low - margin), float(anchor_high + margin)
    values -= np.float32(low)
    values *= np.float32(1 / (high - low))
    np.maximum(values, 0, out=values)
    bright = values > _KNEE
    room = np.float32(1 - _KNEE)
    values[bright] = 1 - room * np.exp((np.float32(_KNEE) - values[bright]) / room)
    return values


def radiograph_of(pixels: np.ndarray, spacing: float = float("nan")) -> Radiograph:
    """A film that is already in memory, e.g. a rendered one: (H, W), any real dtype, bone bright.

    Raises:
        BadImage: it is too small or blank.
    """
    return _radiograph(pixels, "array", spacing, "")


def read_radiograph(path: epath.PathLike) -> Radiograph:
    """Read an 8 or 16 bit PNG or JPEG; colour is reduced to luminance, EXIF rotation is applied.

    Args:
        path: local path or bucket URL.

    Raises:
        BadImage: there is no such file; it is no PNG or JPEG; it is truncated or damaged, even
            where a viewer would fill in the rest; a side is under 16 pixels; it has more than
            100 million pixels; all pixels are equal.
    """
    file = epath.Path(path)
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise BadImage(file, "no such file") from None
    except (OSError, ValueError) as error:
        raise BadImage(file, "unreadable file", type(error).__name__) from error
    digest = hashlib.blake2b(data, digest_size=8).hexdigest()
    return _radiograph(_decode(data, file), file, float("nan"), digest)


def _decode(data: bytes, file: object) -> np.ndarray:
    if not data:
        raise BadImage(file, "empty file")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large files; the limit below is ours.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=tuple(_SIGNATURE_ENDS))
    except Image.DecompressionBombError:
        raise BadImage(file, "image too large") from None
    except UnidentifiedImageError:
        raise BadImage(file, "not a PNG or JPEG image") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImage(file, "damaged image", type(error).__name__) from error
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(file, "image too large", f"{image.width} x {image.height} pixels")
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError) as error:
        reason = "truncated image" if "truncated" in str(error) else "damaged image"
        raise BadImage(file, reason) from error
    # Pillow accepts files that stop after the last full row; the end marker tells.
    if _SIGNATURE_ENDS[image.format or ""] not in data[-4096:]:
        raise BadImage(file, "truncated image", "no end marker")
    if upright.mode.startswith("I") or upright.mode == "F":
        return np.asarray(upright)
    return np.asarray(upright.convert("L"))


def _radiograph(pixels: np.ndarray, name: object, spacing: float, digest: str) -> Radiograph:
    if min(pixels.shape) < MIN_SIDE:
        raise BadImage(name, "image too small", f"{pixels.shape[1]} x {pixels.shape[0]} pixels")
    try:
        windowed = window(pixels)
    except ValueError:
        raise BadImage(name, "blank image") from None
    return Radiograph(windowed, (pixels.shape[0], pixels.shape[1]), spacing, digest)
