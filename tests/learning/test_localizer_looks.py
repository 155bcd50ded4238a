"""Looks that the localiser learns from: what is said of a look holds for its pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.learning import config as configs
from wristmir_jax.learning.localizer_looks import close_fields, sample_looks, upright_sides

SIZE = 96


def looks_of(axis_degrees: float, count: int = 24, **changes: float):
    """Looks at one film: a cross marks the middle of each box, a bar leads from the first box
    towards the fingers."""
    film = np.zeros((200, 200), np.uint8)
    boxes = np.array([[80, 90, 120, 130], [50, 95, 80, 125], [48, 88, 60, 100]], np.float32)
    for box, grey in zip(boxes, (255, 170, 90), strict=True):
        x, y = int((box[0] + box[2]) / 2), int((box[1] + box[3]) / 2)
        film[y - 2 : y + 3, x - 2 : x + 3] = grey
    batch = {
        "image": np.stack([film] * count),
        "boxes": np.stack([boxes] * count),
        "axis_degrees": np.full(count, axis_degrees, np.float32),
        "view": np.full(count, 1, np.int32),
        "side": np.full(count, 1, np.int32),
    }
    config = configs.base().localizer.looks
    plain = dict(part=0.0, shutter=0.0, things=0.0, gamma=0.0, contrast=0.0, brightness=0.0,
                 light=0.0, noise=0.0, inverted=0.0)  # fmt: skip
    config.update(plain | changes)
    return sample_looks(
        jax.random.key(3),
        {name: jnp.asarray(value) for name, value in batch.items()},
        SIZE,
        close_fields(REGION_NAMES),
        config,
    )


@pytest.mark.parametrize("close", [0.0, 1.0])
def test_boxes_lie_where_the_pixels_went(close):
    looks = looks_of(20.0, close=close, elsewhere=0.0)
    marks = 0
    for image, centers, present in zip(
        np.asarray(looks.image_BxSxS), looks.center_BxRx2, looks.present_BxR, strict=True
    ):
        for (x, y), there in zip(np.asarray(centers), np.asarray(present), strict=True):
            if there and min(x, y) > 3 and max(x, y) < SIZE - 3:
                marks += 1
                assert image[int(y - 1.5) : int(y + 2.5), int(x - 1.5) : int(x + 2.5)].max() > 0.2
    assert marks > 30


def test_the_axis_is_that_of_the_turned_film():
    looks = looks_of(0.0, count=64, close=0.0, any_turn=1.0)
    for centers, axis, side in zip(
        np.asarray(looks.center_BxRx2), looks.axis_Bx2, looks.side_B, strict=True
    ):
        # On the film the ulna lies 35 pixels to the left of the radius and level with it.
        across = centers[0] - centers[1]
        mirror = 1 if side == 0 else -1
        cos, sin = (float(value) for value in axis)
        expected = mirror * np.array([cos, -sin]) * np.linalg.norm(across)
        # The film itself lies level; only what was drawn turns it.
        np.testing.assert_allclose(across, expected, atol=0.05 * np.linalg.norm(across))
    assert set(np.asarray(looks.side_B)) == {0, 1}


def test_a_close_look_is_upright():
    looks = looks_of(140.0, close=1.0, elsewhere=0.0, close_turn_degrees=0.0)
    np.testing.assert_allclose(np.asarray(looks.axis_Bx2)[:, 0], 1.0, atol=1e-5)


def test_what_lies_behind_the_shutter_is_not_there():
    looks = looks_of(0.0, count=200, shutter=1.0, close=0.0)
    present, counted = np.asarray(looks.present_BxR), np.asarray(looks.counted_BxR)
    assert 0.02 < (present == 0).mean() < 0.9
    assert (counted == 0).any()
    for centers, there in zip(np.asarray(looks.center_BxRx2), present, strict=True):
        if there[0]:
            assert centers[0].min() >= 0 and centers[0].max() <= SIZE


@settings(max_examples=60, deadline=None)
@given(
    width=st.floats(10, 100),
    ratio=st.floats(0.6, 1.6),
    degrees=st.floats(-180, 180),
)
def test_sides_come_back_from_the_hull(width, ratio, degrees):
    sides = np.array([width, width * ratio])
    c, s = abs(np.cos(np.deg2rad(degrees))), abs(np.sin(np.deg2rad(degrees)))
    hull = np.array([sides[0] * c + sides[1] * s, sides[1] * c + sides[0] * s])
    found = np.asarray(upright_sides(jnp.asarray(hull), jnp.deg2rad(degrees)))
    if abs(c * c - s * s) > 0.5:
        np.testing.assert_allclose(found, sides, rtol=0.02)
    # Near 45 degrees nobody can tell; the box keeps its size.
    assert abs(np.log(found / sides)).max() < np.log(1.65)


def test_a_region_of_which_nobody_can_say_does_not_count():
    film = np.zeros((2, 64, 64), np.uint8)
    boxes = np.array([[20, 20, 40, 40], [np.inf] * 4, [np.nan] * 4], np.float32)
    batch = {
        "image": film,
        "boxes": np.stack([boxes] * 2),
        "axis_degrees": np.zeros(2, np.float32),
        "view": np.ones(2, np.int32),
        "side": np.ones(2, np.int32),
    }
    config = configs.base().localizer.looks
    config.update(dict(close=1.0, elsewhere=0.0, shutter=0.0, close_shift=0.0))
    looks = sample_looks(
        jax.random.key(0),
        {name: jnp.asarray(value) for name, value in batch.items()},
        SIZE,
        close_fields(REGION_NAMES),
        config,
    )
    assert np.asarray(looks.counted_BxR).tolist() == [[1, 0, 1]] * 2
    assert np.asarray(looks.present_BxR).tolist() == [[1, 0, 0]] * 2
    assert all(np.isfinite(value).all() for value in looks)


def test_a_part_of_a_film_is_larger():
    whole = looks_of(0.0, count=64, close=0.0, part=0.0, film_scale=0.0)
    part = looks_of(0.0, count=64, close=0.0, part=1.0)
    ratio = np.asarray(part.side_BxRx2[:, 0] / whole.side_BxRx2[:, 0])
    assert ratio.min() > 1.2
    assert ratio.max() > 1.6
    assert np.asarray(whole.present_BxR).mean() > np.asarray(part.present_BxR).mean()
