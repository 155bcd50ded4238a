"""Cuts the towers' inputs out of a film: the whole film letterboxed, and square crops of boxes."""

import numpy as np
from PIL import Image

# A crop shows this much beyond its box on each side, as a fraction of the box's longer side.
CROP_MARGIN = 0.1


def letterbox(pixels: np.ndarray, size: int) -> np.ndarray:
    """The film scaled to fit a square, centred, on black.

    Args:
        pixels: float32 (H, W) in [0, 1].
        size: S.

    Returns:
        uint8 (S, S).
    """
    height, width = pixels.shape
    scale = size / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (size - new_height) // 2, (size - new_width) // 2
    out = np.zeros((size, size), np.uint8)
    out[top : top + new_height, left : left + new_width] = _resize(pixels, new_height, new_width)
    return out


def square(box: np.ndarray, margin: float = CROP_MARGIN) -> np.ndarray:
    """The square around `box` that a crop shows, x0 y0 x1 y1, float64 (4,); may leave the film."""
    x0, y0, x1, y1 = (float(value) for value in box)
    half = max(x1 - x0, y1 - y0) * (0.5 + margin)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return np.array([x - half, y - half, x + half, y + half])


def crop(pixels: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """The box grown to a square with a margin; black where it leaves the film.

    Args:
        pixels: float32 (H, W) in [0, 1].
        box: x0, y0, x1, y1 in pixels, x1 > x0 and y1 > y0.
        size: C.

    Returns:
        uint8 (C, C).

    Raises:
        ValueError: the box is empty, not finite, or does not touch the film.
    """
    height, width = pixels.shape
    x0, y0, x1, y1 = (float(value) for value in box)
    if not (x1 > x0 and y1 > y0):
        raise ValueError("the box is empty")
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        raise ValueError("the box lies outside the film")
    left, top, right, bottom = (int(value) for value in np.round(square(box)))
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    # Scale only what lies on the film: a box may reach far beyond it.
    scale_x, scale_y = size / (right - left), size / (bottom - top)
    out_x0, out_x1 = round((x0 - left) * scale_x), round((x1 - left) * scale_x)
    out_y0, out_y1 = round((y0 - top) * scale_y), round((y1 - top) * scale_y)
    out = np.zeros((size, size), np.uint8)
    if out_x1 > out_x0 and out_y1 > out_y0:
        part = pixels[y0:y1, x0:x1]
        out[out_y0:out_y1, out_x0:out_x1] = _resize(part, out_y1 - out_y0, out_x1 - out_x0)
    return out


def _resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    # Pillow's bilinear filter is antialiased: its support grows with the reduction.
    image = Image.fromarray(np.ascontiguousarray(pixels, np.float32))
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return np.round(np.clip(resized, 0.0, 1.0) * 255).astype(np.uint8)
