"""Boxes to train on: what a localiser's looks in many poses agree on."""

from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.localizing.agreement import agree, poses, vote
from wristmir_jax.localizing.localizer import Localizer, wrapped

R = len(REGION_NAMES)


def votes_of(places, confidence=0.9, axis=0.0):
    """P poses that see each box of 40 by 60 pixels at the same place, one place a pose."""
    center_PxRx2 = np.repeat(np.array(places, float)[:, None], R, axis=1)
    count = len(places)
    return vote(
        center_PxRx2,
        np.tile([40.0, 60.0], (count, R, 1)),
        np.full(count, axis),
        np.broadcast_to(confidence, (count, R)),
    )


def test_poses_that_see_another_place_have_no_say():
    agreed = votes_of([(100, 100), (102, 98), (98, 101), (101, 100), (99, 103), (300, 40)])
    np.testing.assert_allclose(agreed.boxes, np.tile([80, 70, 120, 130], (R, 1)), atol=1.5)
    assert agreed.votes.tolist() == [5] * R
    assert agreed.axis_degrees == pytest.approx(0.0)


def test_two_places_are_in_doubt():
    agreed = votes_of([(100, 100)] * 4 + [(300, 100)] * 4)
    assert np.isinf(agreed.boxes).all()
    assert np.isnan(agreed.axis_degrees)


def test_few_poses_are_in_doubt():
    assert np.isinf(votes_of([(100, 100)] * 3).boxes).all()
    assert np.isinf(votes_of([(100, 100)] * 8, confidence=0.4).boxes).all()


def test_regions_are_counted_one_by_one():
    agreed = votes_of([(100, 100)] * 6, confidence=np.array([0.9, 0.2, 0.8]))
    assert np.isfinite(agreed.boxes).all(axis=1).tolist() == [True, False, True]


def test_regions_of_two_wrists_are_never_mixed():
    """Six poses see one wrist's radius, six others the other's ulna."""
    center_PxRx2 = np.full((12, R, 2), 100.0)
    center_PxRx2[6:] = 400.0
    confidence_PxR = np.zeros((12, R))
    confidence_PxR[:6, 0] = confidence_PxR[6:, 1] = 0.9
    agreed = vote(center_PxRx2, np.full((12, R, 2), 50.0), np.zeros(12), confidence_PxR)
    assert np.isinf(agreed.boxes).all()
    confidence_PxR[6:8, 1] = 0.1
    confidence_PxR[10:, 1] = 0.1
    agreed = vote(center_PxRx2, np.full((12, R, 2), 50.0), np.zeros(12), confidence_PxR)
    assert np.isfinite(agreed.boxes).all(axis=1).tolist() == [True] + [False] * (R - 1)


def test_axes_on_both_sides_of_upside_down_are_alike():
    center_PxRx2 = np.full((6, R, 2), 100.0)
    axis_P = wrapped(np.pi + np.deg2rad([-6, -4, -2, 2, 4, 6]))
    agreed = vote(center_PxRx2, np.full((6, R, 2), 50.0), axis_P, np.full((6, R), 0.9))
    assert abs(abs(agreed.axis_degrees) - 180) < 3
    assert np.isfinite(agreed.boxes).all()


class SeesABar:
    """Finds a bar whose upper half is bright: its middle, its length and where it points."""

    def look(self, films):
        return films

    def confidence(self, film):
        return np.full(R, 0.9 if (film > 200).sum() > 20 else 0.1)

    def upright(self, film):
        bright, dark = np.argwhere(film > 200), np.argwhere((film > 80) & (film < 160))
        if not len(bright) or not len(dark):
            return np.zeros((R, 2)), np.ones((R, 2)), 0.0
        up = bright.mean(axis=0) - dark.mean(axis=0)
        middle = 0.5 * (bright.mean(axis=0) + dark.mean(axis=0)) + 0.5
        axis = np.arctan2(-up[1], -up[0])
        side = 2 * np.hypot(*up)
        return np.tile(middle[::-1], (R, 1)), np.full((R, 2), side), axis


@pytest.mark.parametrize("degrees", [0, 50, 180, -100])
def test_what_all_poses_see_comes_back_to_its_place(degrees):
    film = np.zeros((400, 300), np.uint8)
    film[120:160, 140:160] = 255
    film[160:200, 140:160] = 120
    turned = np.asarray(Image.fromarray(film).rotate(degrees, center=(150, 160)))
    agreed = agree(cast(Any, SeesABar()), turned)
    # The hull of a square of 80 pixels about the middle of the bar.
    c, s = abs(np.cos(np.deg2rad(degrees))), abs(np.sin(np.deg2rad(degrees)))
    half = 40 * (c + s)
    expected = [150 - half, 160 - half, 150 + half, 160 + half]
    np.testing.assert_allclose(agreed.boxes[0], expected, atol=4)
    assert abs(np.rad2deg(wrapped(np.deg2rad(agreed.axis_degrees - degrees)))) < 4
    assert agreed.votes[0] >= 8


def test_parts_of_a_narrow_film_lie_on_it():
    for frame in poses(600, 200):
        assert 0 <= frame.x <= 200
        assert 0 <= frame.y <= 600


def test_a_blank_film_has_no_box():
    agreed = agree(Localizer.load(), np.full((200, 160), 30, np.uint8))
    assert np.isinf(agreed.boxes).all()
