"""Masks to outlines."""

import numpy as np
from contourpy import contour_generator
from scipy.ndimage import binary_fill_holes


def mask_polygons(mask_HxW: np.ndarray) -> tuple[np.ndarray, ...]:
    """The outer outlines of a mask, by marching squares; holes are filled.

    Args:
        mask_HxW: bool.

    Returns:
        A polygon, float64 (P, 2) of x and y in pixels, for each connected part; its hull is that of
        the mask's pixels, whose edges lie at whole numbers.
    """
    rows, columns = (np.flatnonzero(mask_HxW.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return ()
    top, left = rows[0], columns[0]
    # A film is large and a bone is not.
    part = mask_HxW[top : rows[-1] + 1, left : columns[-1] + 1]
    filled = np.pad(np.asarray(binary_fill_holes(part), np.float64), 1)
    lines = contour_generator(z=filled).lines(0.5)
    # Values sit in the middle of pixels, and one row and column was added.
    offset = np.array([left, top]) - 0.5
    return tuple(np.asarray(line, np.float64) + offset for line in lines)
