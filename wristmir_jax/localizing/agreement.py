"""Boxes that a localiser's looks at a film in many poses agree on: to train it further on films
that nobody has drawn on (self-training, Xie et al. 2020, arXiv 1911.04252)."""

from dataclasses import dataclass, replace

import numpy as np

from wristmir_jax.localizing.localizer import (
    MIN_CONFIDENCE,
    Frame,
    Localizer,
    hulls,
    look_at,
    overlap,
    parts,
    wrapped,
)

# Poses see the same wrist where the boxes of a region overlap by so much and the axes differ by no
# more.
_SAME_OVERLAP, _SAME_DEGREES = 0.5, 30.0
# Poses that must see the same wrist, and their share of all that see one; then of each region.
_VOTES, _SHARE = 4, 0.6
# Pixels a side in which a pose is drawn, larger than any look at it.
_POSE_SIZE = 480


@dataclass(frozen=True)
class Agreed:
    """What the poses of a film agree on; `images.localizing.Located`.

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
    close = [frame for share in (0.5, 0.7) for frame in parts(height, width, share, 1)]
    return whole + [replace(frame, mirrored=place % 2 == 1) for place, frame in enumerate(close)]


def agree(localizer: Localizer, film: np.ndarray) -> Agreed:
    """Ask for the regions in all poses, and keep what enough of them say.

    Args:
        localizer: to ask.
        film: uint8 (H, W).
    """
    frames = poses(*film.shape)
    looks = localizer.look([look_at(film, frame, _POSE_SIZE) for frame in frames])
    center_PxRx2, side_PxRx2, axis_P = (
        np.array(values)
        for values in zip(
            *(
                frame.boxes_to_film(*localizer.upright(look), _POSE_SIZE)
                for look, frame in zip(looks, frames, strict=True)
            ),
            strict=True,
        )
    )
    confidence_PxR = np.stack([localizer.confidence(look) for look in looks])
    return vote(center_PxRx2, side_PxRx2, axis_P, confidence_PxR)


def vote(
    center_PxRx2: np.ndarray, side_PxRx2: np.ndarray, axis_P: np.ndarray, confidence_PxR: np.ndarray
) -> Agreed:
    """What P poses agree on.

    Those that see the same wrist as the pose that most agree with must be most of all that see one;
    a region's box is the median of theirs.

    Args:
        center_PxRx2, side_PxRx2: boxes on the film, the sides in the upright frame.
        axis_P: radians.
        confidence_PxR: in [0, 1].
    """
    regions = confidence_PxR.shape[1]
    boxes = np.full((regions, 4), np.inf, np.float32)
    votes = np.zeros(regions, int)
    claims_PxR = confidence_PxR >= MIN_CONFIDENCE
    sees_P = claims_PxR.any(axis=1)
    hulls_PxRx4 = np.stack(
        [hulls(*box) for box in zip(center_PxRx2, side_PxRx2, axis_P, strict=True)]
    )
    same_PxPxR = np.stack(
        [_same(hulls_PxRx4, axis_P, claims_PxR, place) for place in range(len(axis_P))]
    )
    wrist_PxP = np.any(same_PxPxR, axis=2)
    middle = int(wrist_PxP.sum(axis=1).argmax())
    together = np.flatnonzero(wrist_PxP[middle])
    if len(together) < max(_VOTES, _SHARE * sees_P.sum()):
        return Agreed(boxes, float("nan"), votes)
    axis = axis_P[middle] + np.median(wrapped(axis_P[together] - axis_P[middle]))
    for region in range(regions):
        saying = np.flatnonzero(same_PxPxR[middle, :, region])
        claiming = claims_PxR[together, region].sum()
        if len(saying) < max(_VOTES, _SHARE * claiming):
            continue
        center_1x2 = np.median(center_PxRx2[saying, region], axis=0)[None]
        side_1x2 = np.exp(np.median(np.log(side_PxRx2[saying, region]), axis=0))[None]
        boxes[region] = hulls(center_1x2, side_1x2, axis)[0]
        votes[region] = len(saying)
    found = bool(votes.any())
    return Agreed(boxes, float(np.rad2deg(wrapped(axis))) if found else float("nan"), votes)


def _same(
    hulls_PxRx4: np.ndarray, axis_P: np.ndarray, claims_PxR: np.ndarray, place: int
) -> np.ndarray:
    """(P, R) whether a pose and the one at `place` say the same of a region."""
    alike_P = np.abs(wrapped(axis_P - axis_P[place])) <= np.deg2rad(_SAME_DEGREES)
    overlap_PxR = np.stack(
        [
            overlap(hulls_PxRx4[:, region], np.broadcast_to(of_place, hulls_PxRx4[:, region].shape))
            for region, of_place in enumerate(hulls_PxRx4[place])
        ],
        axis=1,
    )
    return alike_P[:, None] & claims_PxR & claims_PxR[place] & (overlap_PxR >= _SAME_OVERLAP)
