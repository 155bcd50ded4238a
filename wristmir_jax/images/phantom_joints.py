"""Joint spaces between the carpals of a phantom: bones that lie beside each other fit together.

Places and outlines of carpals vary each on its own, so that neighbours would overlap or stand apart
as they never do. Here every outline is cut, or grown, up to a surface between it and each of its
neighbours, less its part of the joint space.
"""

from collections.abc import Iterable

import numpy as np

from wristmir_jax.images.phantom_parts import WAVES, Blob

# Two neighbours, by which share of what overlaps the first gives way (a convex head keeps its form
# and the other bone cups it), and the space between them in shares of the usual one: below 0 where
# bones that are cupped lie behind each other's edges.
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
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 60, endpoint=False)
_RING = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)
_ORDERS = np.arange(1, len(WAVES) // 2 + 1)[:, None] * _ANGLES
# In the order of `WAVES`.
_WAVES = np.stack([np.cos(_ORDERS), np.sin(_ORDERS)], 1).reshape(len(WAVES), -1)
# Along each ray, in shares of the outline's radius: how far a bone may give way and grow.
_STEPS = np.linspace(0.5, 1.5, 13)

# Bones move apart by this share of what they overlap by, so many times.
_PUSH, _PUSHES = 0.15, 2


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
        reach: most that an outline grows towards a neighbour, mm, less the nearer it comes to that;
            0 only cuts.
    """
    seen = {name: _Outline(blob) for name, blob in bones.items() if blob.mu_inside > 0}
    joints = [joint for joint in _JOINTS if joint[0] in seen and joint[1] in seen]
    # Bones that overlap much push each other aside.
    for first, second, _, wide in joints * _PUSHES:
        one, two = seen[first], seen[second]
        between = two.center - one.center
        distance = float(np.hypot(*between)) + 1e-6
        apart = one.outside(two.center) + two.outside(one.center) - distance
        push = _PUSH * max(0.0, wide * space - apart) * between / distance
        one.center = one.center - push
        two.center = two.center + push
    room = {name: np.full((len(_ANGLES), len(_STEPS)), 1e6) for name in seen}
    for first, second, share, wide in joints:
        for name, other, gives in ((first, second, share), (second, first, 1.0 - share)):
            bone = seen[name]
            own = (_STEPS - 1.0) * bone.length[:, None]
            free = gives * (seen[other].outside(bone.points()) - wide * space) - (1.0 - gives) * own
            room[name] = np.minimum(room[name], free)
    return bones | {name: bone.fitted(room[name], reach) for name, bone in seen.items()}


def beyond(bones: Iterable[Blob], points: np.ndarray) -> np.ndarray:
    """How far points (..., 2) lie outside the nearest bone, about, mm; negative inside one.

    The bones are plain blobs with waves, of which one at least is not hidden.
    """
    outlines = [_Outline(blob) for blob in bones if blob.mu_inside > 0]
    return np.min([outline.outside(points) for outline in outlines], 0)


class _Outline:
    """The outline of a blob about a centre that can move."""

    def __init__(self, blob: Blob):
        self.blob = blob
        self.radius = wave_radius(_ANGLES, [getattr(blob, name) for name in WAVES])
        self.rise = np.roll(self.radius, -1) - self.radius
        self.center = np.array([blob.center_x, blob.center_y])
        along = np.array([blob.axis_x, blob.axis_y])
        across = np.array([-along[1], along[0]])
        axes = np.stack([along * blob.half_length, across * blob.half_height])
        self.inverse = np.linalg.inv(axes)
        self.rays = (_RING * self.radius[:, None]) @ axes
        self.length = np.hypot(self.rays[:, 0], self.rays[:, 1])

    def points(self) -> np.ndarray:
        """(angles, steps, 2) points along rays, mm; step 1 is the outline."""
        return self.center + _STEPS[:, None] * self.rays[:, None, :]

    def outside(self, points: np.ndarray) -> np.ndarray:
        """How far points (..., 2) lie outside along the ray from the centre, mm."""
        away = points - self.center
        unit = away @ self.inverse
        far = np.hypot(unit[..., 0], unit[..., 1]) + 1e-6
        # The angle in steps of the ring; negative ones count from its end.
        place = np.arctan2(unit[..., 1], unit[..., 0]) * (len(_ANGLES) / (2.0 * np.pi))
        index = np.floor(place).astype(int)
        index = np.minimum(index, len(_ANGLES) // 2 - 1)
        radius = self.radius[index] + (place - index) * self.rise[index]
        return np.hypot(away[..., 0], away[..., 1]) * (1.0 - radius / far)

    def fitted(self, room: np.ndarray, reach: float) -> Blob:
        """The blob up to where `room` (angles, steps) on its rays ends."""
        at = np.argmax(room < 0.0, 1)
        ends = (room < 0.0).any(1)
        rows = np.arange(len(at))
        before = np.maximum(at - 1, 0)
        drop = np.maximum(room[rows, before] - room[rows, at], 1e-6)
        part = np.clip(room[rows, before] / drop, 0.0, 1.0)
        change = _STEPS[before] + part * (_STEPS[at] - _STEPS[before]) - 1.0
        nearness = 1.0 - (change * self.length / max(reach, 1e-6)) ** 2
        change = np.where(change > 0.0, change * np.clip(nearness, 0.0, 1.0), change)
        radius = self.radius * (1.0 + np.where(ends, change, 0.0))
        mean = float(radius.mean())
        waves = (2.0 / (len(radius) * mean)) * (_WAVES @ radius)
        return self.blob._replace(
            center_x=float(self.center[0]),
            center_y=float(self.center[1]),
            half_length=self.blob.half_length * mean,
            half_height=self.blob.half_height * mean,
            **dict(zip(WAVES, waves.tolist(), strict=True)),
        )
