"""Geometry of outlines: several polygons, float64 (P, 2) each, that count as one bone.

Upright ones have their second coordinate grow distally.
"""

from collections.abc import Sequence

import numpy as np

Polygons = Sequence[np.ndarray]

_NO_AREA = 1e-6


def top_of(polygons: Polygons) -> float:
    """The most distal place of upright polygons."""
    return float(max(polygon[:, 1].max() for polygon in polygons))


def above(polygons: Polygons, low: float) -> list[np.ndarray]:
    """What of upright polygons lies distally of `low` (Sutherland and Hodgman's clipping)."""
    return [kept for polygon in polygons if len(kept := _clipped(polygon, low))]


def below(polygons: Polygons, high: float) -> list[np.ndarray]:
    """What lies proximally of `high`."""
    mirrored = above([polygon * (1.0, -1.0) for polygon in polygons], -high)
    return [polygon * (1.0, -1.0) for polygon in mirrored]


def _clipped(polygon_Px2: np.ndarray, low: float) -> np.ndarray:
    following = np.roll(polygon_Px2, -1, axis=0)
    heights, next_heights = polygon_Px2[:, 1] - low, following[:, 1] - low
    kept = []
    for point, after, height, next_height in zip(
        polygon_Px2, following, heights, next_heights, strict=True
    ):
        if height >= 0:
            kept.append(point)
        if height * next_height < 0:
            kept.append(point + (after - point) * (height / (height - next_height)))
    return np.array(kept).reshape(-1, 2)


def principal_direction(bones: Sequence[Polygons]) -> np.ndarray:
    """Unit vector (2,) of either sense: the longest axis of the bones' spreads about their middles.

    A bone weighs the more the longer it is.
    """
    spread = np.zeros((2, 2))
    for polygons in bones:
        areas, centroids, moments = zip(*map(_moments, polygons), strict=True)
        area = sum(areas)
        middle = sum(a * c for a, c in zip(areas, centroids, strict=True)) / area
        spread += sum(moments) / area - np.outer(middle, middle)
    return np.linalg.eigh(spread)[1][:, 1]


def centroid(polygons: Polygons) -> np.ndarray:
    """Middle (2,) of polygons, by area."""
    areas, centroids, _ = zip(*map(_moments, polygons), strict=True)
    return np.average(centroids, axis=0, weights=areas)


def _moments(polygon_Px2: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Area, centroid (2,) and the integral (2, 2) of the outer product of places in a polygon.

    By Green's theorem; a polygon without an area counts as a very small one at its points.
    """
    shift = polygon_Px2.mean(axis=0)
    p = polygon_Px2 - shift
    q = np.roll(p, -1, axis=0)
    cross = p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1]
    area = cross.sum() / 2
    if abs(area) < _NO_AREA:
        return _NO_AREA, shift, _NO_AREA * np.outer(shift, shift)
    centroid = (cross[:, None] * (p + q)).sum(axis=0) / (6 * area)
    products = np.einsum("n,ni,nj->ij", cross, p, p) + np.einsum("n,ni,nj->ij", cross, q, q)
    mixed = np.einsum("n,ni,nj->ij", cross, p + q, p + q)
    moment = (products + mixed) / 24 * np.sign(area)
    area = abs(area)
    # Back to the film's own origin.
    off = area * (np.outer(shift, centroid) + np.outer(centroid, shift) + np.outer(shift, shift))
    return float(area), centroid + shift, moment + off
