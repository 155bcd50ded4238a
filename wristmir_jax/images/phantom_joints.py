"""Joint spaces between the carpals of a phantom: bones that lie beside each other fit together.

Places and outlines of carpals vary each on its own, so that neighbours would overlap or stand apart
as they never do. Here every outline is cut, or grown, up to the surface midway between it and its
neighbours, less half of the joint space.
"""

import numpy as np

from wristmir_jax.images.phantom_parts import WAVES, Blob

# Two neighbours, by which share of what overlaps the first gives way (a convex head keeps its form
# and the other bone cups it), and the space between them in shares of the usual one.
_JOINTS = (
    ("capitate", "lunate", 0.35, -0.5),
    ("capitate", "scaphoid", 0.3, 0.4),
    ("capitate", "hamate", 0.5, 0.8),
    ("capitate", "trapezoid", 0.4, 0.8),
    ("scaphoid", "lunate", 0.5, 1.0),
    ("triquetrum", "lunate", 0.4, 1.0),
    ("hamate", "triquetrum", 0.4, 1.0),
    ("hamate", "lunate", 0.4, 1.0),
    ("scaphoid", "trapezium", 0.4, 0.2),
    ("scaphoid", "trapezoid", 0.4, 0.4),
)
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 96, endpoint=False)
# Along each ray, in shares of the outline's radius: how far a bone may give way and grow.
_STEPS = np.linspace(0.5, 1.5, 26)

# Bones move apart by this share of what they overlap by, so many times.
_PUSH, _PUSHES = 0.2, 2


def wave_radius(angle: np.ndarray, waves: list[float]) -> np.ndarray:
    """Radius at each angle (radians) of a unit circle with the waves of `Blob`."""
    orders = np.arange(1, len(waves) // 2 + 1)
    phases = angle[:, None] * orders
    return 1.0 + np.cos(phases) @ np.array(waves[::2]) + np.sin(phases) @ np.array(waves[1::2])


def interlock(bones: dict[str, Blob], space: float, reach: float) -> dict[str, Blob]:
    """The carpals of a PA film with joint spaces between them.

    Args:
        bones: by name; plain blobs with waves, of which hidden ones (`mu_inside` 0) stay.
        space: usual width of a joint space, mm.
        reach: bones grow towards neighbours nearer than this, mm; 0 only cuts.
    """
    fitted = _apart(bones, space)
    seen = {name: _Outline(blob) for name, blob in fitted.items() if blob.mu_inside > 0}
    for name, outline in seen.items():
        points = outline.points(_STEPS)
        own = outline.outside(points)
        room = np.full(own.shape, 1e6)
        for first, second, share, wide in _JOINTS:
            if name not in (first, second) or first not in seen or second not in seen:
                continue
            other = seen[second if name == first else first]
            gives = share if name == first else 1.0 - share
            free = gives * other.outside(points) - (1.0 - gives) * own - gives * wide * space
            room = np.minimum(room, free)
        fitted[name] = outline.fitted(room, reach)
    return fitted


def _apart(bones: dict[str, Blob], space: float) -> dict[str, Blob]:
    """The bones after those that overlap much have pushed each other aside."""
    moved = dict(bones)
    for _ in range(_PUSHES):
        for first, second, _, wide in _JOINTS:
            one, two = moved[first], moved[second]
            if one.mu_inside == 0 or two.mu_inside == 0:
                continue
            a, b = _Outline(one), _Outline(two)
            between = b.center - a.center
            distance = float(np.hypot(*between)) + 1e-6
            apart = a.outside(b.center) + b.outside(a.center) - distance
            push = _PUSH * max(0.0, wide * space - apart) * between / distance
            moved[first] = one._replace(
                center_x=one.center_x - push[0], center_y=one.center_y - push[1]
            )
            moved[second] = two._replace(
                center_x=two.center_x + push[0], center_y=two.center_y + push[1]
            )
    return moved


class _Outline:
    def __init__(self, blob: Blob):
        self.blob = blob
        self.radius = wave_radius(_ANGLES, [getattr(blob, name) for name in WAVES])
        self.center = np.array([blob.center_x, blob.center_y])
        along = np.array([blob.axis_x, blob.axis_y])
        self.axes = np.stack(
            [along * blob.half_length, np.array([-along[1], along[0]]) * blob.half_height]
        )
        self.inverse = np.linalg.inv(self.axes)

    def points(self, steps: np.ndarray) -> np.ndarray:
        """(angles, steps, 2) points along rays, mm; step 1 is the outline."""
        ring = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1) * self.radius[:, None]
        return self.center + steps[:, None] * (ring @ self.axes)[:, None, :]

    def outside(self, points: np.ndarray) -> np.ndarray:
        """How far points (..., 2) lie outside along the ray from the centre, mm."""
        away = points - self.center
        unit = away @ self.inverse
        far = np.hypot(unit[..., 0], unit[..., 1]) + 1e-6
        angle = np.arctan2(unit[..., 1], unit[..., 0])
        radius = np.interp(angle, _ANGLES, self.radius, period=2.0 * np.pi)
        return np.hypot(away[..., 0], away[..., 1]) * (1.0 - radius / far)

    def fitted(self, room: np.ndarray, reach: float) -> Blob:
        """The blob up to where `room` (angles, steps) on its rays ends."""
        ends = room < 0.0
        at = np.argmax(ends, 1)
        rows = np.arange(len(at))
        before = np.maximum(at - 1, 0)
        drop = room[rows, before] - room[rows, at]
        part = np.where(drop > 0.0, room[rows, before] / np.where(drop > 0.0, drop, 1.0), 0.0)
        step = _STEPS[before] + np.clip(part, 0.0, 1.0) * (_STEPS[at] - _STEPS[before])
        step = np.where(ends.any(1), step, np.inf)
        length = np.hypot(*(self.points(np.ones(1))[:, 0] - self.center).T)
        beyond = (step - 1.0) * length
        nearness = np.clip(1.0 - (beyond / max(reach, 1e-6)) ** 2, 0.0, 1.0)
        grown = np.where(np.isfinite(step), np.where(step > 1.0, nearness, 1.0), 0.0)
        step = 1.0 + grown * np.where(np.isfinite(step), step - 1.0, 0.0)
        radius = self.radius * step
        mean = float(radius.mean())
        waves = {}
        for k, name in enumerate(WAVES):
            turn = np.sin if k % 2 else np.cos
            waves[name] = float(2.0 * np.mean(radius * turn((k // 2 + 1) * _ANGLES)) / mean)
        blob = self.blob
        return blob._replace(
            half_length=blob.half_length * mean, half_height=blob.half_height * mean, **waves
        )
