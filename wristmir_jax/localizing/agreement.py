"""Boxes that a localiser's looks at a film in many poses agree on: to train it further on films
that nobody has drawn on (self-training, Xie et al. 2020, arXiv 1911.04252)."""

from dataclasses import dataclass

import numpy as np

from wristmir_jax.localizing.localizer import (
    MIN_CONFIDENCE,
    Frame,
    Localizer,
    hulls,
    look_at,
    overlap,
    wrapped,
)

# Boxes of one bone overlap at least so much from pose to pose.
_SAME = 0.5
# Poses that must say the same, and their share of those that claim to see a wrist at all.
_VOTES, _SHARE = 4, 0.6
_SIDE = 480


@dataclass(frozen=True)
class Agreed:
    """What the looks at a film agree on.

    Attributes:
        boxes: float32 (R, 4), x0 y0 x1 y1 in pixels of the film; infinite where they do not agree,
            which says nothing of whether the region is there.
        axis_degrees: by which the upright forearm is turned, counter-clockwise as seen; NaN where
            no box is agreed on.
        votes: int (R,), poses that say so.
    """

    boxes: np.ndarray
    axis_degrees: float
    votes: np.ndarray


def poses(height: int, width: int) -> list[Frame]:
    """Frames in which a film is shown: whole in all directions and mirrored, smaller, and parts of
    it, in which a wrist that is small on the film is large."""
    x, y, side = width / 2, height / 2, float(max(height, width))
    whole = [
        Frame(x, y, side * scale, np.deg2rad(degrees), mirrored)
        for scale, degrees, mirrored in (
            (1.0, 0, False), (1.0, 0, True), (1.0, 90, False), (1.0, 180, True),
            (1.0, 270, True), (1.2, 25, False), (1.2, -25, True), (1.5, 180, False),
        )
    ]  # fmt: skip
    parts = []
    for share in (0.5, 0.7):
        ends = [np.linspace(share / 2, 1 - share / 2, 3) for _ in range(2)]
        for row, at_y in enumerate(ends[0]):
            for column, at_x in enumerate(ends[1]):
                # A part of the black beside a narrow film shows nothing.
                px, py = x + (at_x - 0.5) * side, y + (at_y - 0.5) * side
                if abs(px - x) < 0.5 * width and abs(py - y) < 0.5 * height:
                    mirrored = (row + column) % 2 == 1
                    parts.append(Frame(px, py, side * share, 0.0, mirrored))
    return whole + parts


def agree(localizer: Localizer, film: np.ndarray) -> Agreed:
    """Ask for the regions in all poses, and keep what enough of them say.

    Args:
        localizer: to ask.
        film: uint8 (H, W).
    """
    frames = poses(*film.shape)
    looks = localizer.look([look_at(film, frame, _SIDE) for frame in frames])
    confidence_PxR = np.stack([localizer.confidence(look) for look in looks])
    upright = [
        _on_film(localizer.upright(look), frame) for look, frame in zip(looks, frames, strict=True)
    ]
    center_PxRx2 = np.stack([center for center, _, _ in upright])
    side_PxRx2 = np.stack([side for _, side, _ in upright])
    axis_P = np.array([axis for _, _, axis in upright])
    return vote(center_PxRx2, side_PxRx2, axis_P, confidence_PxR)


def vote(
    center_PxRx2: np.ndarray, side_PxRx2: np.ndarray, axis_P: np.ndarray, confidence_PxR: np.ndarray
) -> Agreed:
    """What P poses agree on.

    The poses that agree with the one that most agree with, on the first region that is claimed by
    any, are those that see the same wrist; each region's box is their median.

    Args:
        center_PxRx2, side_PxRx2: boxes on the film, the sides in the upright frame.
        axis_P: radians.
        confidence_PxR: in [0, 1].
    """
    regions = confidence_PxR.shape[1]
    boxes = np.full((regions, 4), np.inf, np.float32)
    votes = np.zeros(regions, int)
    claims_PxR = confidence_PxR >= MIN_CONFIDENCE
    hulls_PxRx4 = np.stack(
        [
            hulls(center, side, axis)
            for center, side, axis in zip(center_PxRx2, side_PxRx2, axis_P, strict=True)
        ]
    )
    axes = []
    for region in range(regions):
        claiming = np.flatnonzero(claims_PxR[:, region])
        if len(claiming) < _VOTES:
            continue
        same = np.array(
            [
                (
                    overlap(
                        hulls_PxRx4[claiming, region], hulls_PxRx4[[place] * len(claiming), region]
                    )
                    >= _SAME
                )
                & (np.abs(wrapped(axis_P[claiming] - axis_P[place])) < np.deg2rad(30))
                for place in claiming
            ]
        )
        together = claiming[same[int(same.sum(axis=1).argmax())]]
        if len(together) < max(_VOTES, _SHARE * len(claiming)):
            continue
        first = axis_P[together[0]]
        axis = first + np.median(wrapped(axis_P[together] - first))
        center_1x2 = np.median(center_PxRx2[together, region], axis=0)[None]
        side_1x2 = np.exp(np.median(np.log(side_PxRx2[together, region]), axis=0))[None]
        boxes[region] = hulls(center_1x2, side_1x2, axis)[0]
        votes[region] = len(together)
        axes.append(axis)
    # Of the region that is the easiest to find: that of most votes.
    axis = wrapped(axes[int(np.argmax(votes[votes > 0]))]) if axes else np.nan
    return Agreed(boxes, float(np.rad2deg(axis)), votes)


def _on_film(
    upright: tuple[np.ndarray, np.ndarray, float], frame: Frame
) -> tuple[np.ndarray, np.ndarray, float]:
    center_Rx2, side_Rx2, axis = upright
    turn = -axis if frame.mirrored else axis
    return frame.to_film(center_Rx2, _SIDE), side_Rx2 * frame.side / _SIDE, frame.axis + turn
