"""Stands in for a trained localiser: finds a marked square."""

from dataclasses import dataclass

import numpy as np

from wristmir_jax.anatomy import REGION_NAMES


@dataclass(frozen=True)
class Found:
    boxes: np.ndarray
    axis_degrees: float


class SquareLocalizer:
    """Takes what is brighter than a level for the distal radius, and places the ulna beside it.

    The styloid is refused always; a film without such pixels shows nothing.

    Attributes:
        batches: the films of each call, as they came.
    """

    def __init__(self, fingerprint: str = "f00df00d", axis_degrees: float = 20.0, level: int = 250):
        self.fingerprint = fingerprint
        self.batches: list[list[np.ndarray]] = []
        self._axis_degrees = axis_degrees
        self._level = level

    def locate(self, films):
        self.batches.append(list(films))
        return [self._locate(film) for film in films]

    def _locate(self, film: np.ndarray) -> Found:
        boxes = np.full((len(REGION_NAMES), 4), np.nan, np.float32)
        rows, columns = np.nonzero(film > self._level)
        if not rows.size:
            return Found(boxes, float("nan"))
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)
        boxes[0] = box
        boxes[1] = box - [box[2] - box[0], 0] * 2
        return Found(boxes, self._axis_degrees)
