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


def crop(
    pixels: np.ndarray,
    box: np.ndarray,
    size: int,
    axis_degrees: float = 0.0,
    side: float | None = None,
) -> np.ndarray:
    """A square about the centre of the box, the forearm upright; black where it leaves the film.

    Without `side` the square holds the box and a margin. The box of a structure that lies turned is
    larger than the structure itself: an axis-aligned box around a square of side s, turned by an
    angle a, measures s (|cos a| + |sin a|) a side, so the square shown is smaller by that factor.

    Args:
        pixels: float32 (H, W) in [0, 1].
        box: x0, y0, x1, y1 in pixels, x1 > x0 and y1 > y0.
        size: C.
        axis_degrees: how far the upright forearm is turned on the film, counter-clockwise as seen;
            NaN (not known) or 0 leaves the film as it lies.
        side: of the square, in pixels of the film; None takes the box's.

    Returns:
        uint8 (C, C).

    Raises:
        ValueError: the box is empty or not finite, it or the square does not touch the film, or
            `side` is not above 0.
    """
    height, width = pixels.shape
    x0, y0, x1, y1 = (float(value) for value in box)
    if not (x1 > x0 and y1 > y0):
        raise ValueError("the box is empty")
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        raise ValueError("the box lies outside the film")
    radians = float(np.radians(axis_degrees % 360)) if np.isfinite(axis_degrees) else 0.0
    if side is None:
        if radians == 0:
            return _upright(pixels, box, size)
        shrunk = float(abs(np.cos(radians)) + abs(np.sin(radians)))
        side = max(x1 - x0, y1 - y0) / shrunk * (1 + 2 * CROP_MARGIN)
    if not 0 < side < np.inf:
        raise ValueError("the side of the crop is not above 0")
    return _turned(pixels, (x0 + x1) / 2, (y0 + y1) / 2, side, radians, size)


def _upright(pixels: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """`crop` of the box's own square, at whole pixels of the film."""
    height, width = pixels.shape
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


def _turned(
    pixels: np.ndarray, x: float, y: float, side: float, radians: float, size: int
) -> np.ndarray:
    """The square of that side about (x, y), its upper side distal.

    Two steps keep it free of aliasing: the square is read at a pitch of at most a pixel, then
    reduced with an antialiased filter. Where that would make a huge picture of a huge square, the
    film is first averaged over whole blocks of pixels, half an output pixel wide at most.
    """
    cos, sin = float(np.cos(radians)), float(np.sin(radians))
    height, width = pixels.shape
    half = side / 2 * (abs(cos) + abs(sin))
    block = max(1, int(side / size / 2))
    # One block more on each side: interpolation looks that far.
    left, top = max(0, int(x - half) - 2 * block), max(0, int(y - half) - 2 * block)
    right = min(width, int(x + half) + 2 * block + 1)
    bottom = min(height, int(y + half) + 2 * block + 1)
    if x + half <= 0 or y + half <= 0 or x - half >= width or y - half >= height:
        raise ValueError("the square around the box's centre lies outside the film")
    film = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right], np.float32))
    if block > 1:
        film = film.reduce(block)
    fine = size * max(1, int(np.ceil(side / block / size)))
    # Right and down in the crop, as steps in the film: the y axis of pixels points down.
    step = side / fine / block
    across, down = (step * cos, -step * sin), (step * sin, step * cos)
    start = tuple(
        (centre - origin) / block - fine / 2 * (a + d)
        for centre, origin, a, d in zip((x, y), (left, top), across, down, strict=True)
    )
    read = film.transform(
        (fine, fine),
        Image.Transform.AFFINE,
        (across[0], down[0], start[0], across[1], down[1], start[1]),
        Image.Resampling.BILINEAR,
    )
    return _resize(np.asarray(read), size, size)


def _resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    # Pillow's bilinear filter is antialiased: its support grows with the reduction.
    image = Image.fromarray(np.ascontiguousarray(pixels, np.float32))
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return np.round(np.clip(resized, 0.0, 1.0) * 255).astype(np.uint8)
