"""What the towers see keeps the film's proportions and places."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from wristmir_jax.anatomy import REGION_NAMES, REGIONS
from wristmir_jax.images.crops import CROP_MARGIN, crop, letterbox, square
from wristmir_jax.images.prepare import tower_inputs
from wristmir_jax.images.reading import radiograph_of


def _disk(height, width, x, y, radius):
    rows, columns = np.mgrid[0:height, 0:width]
    inside = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return inside.astype(np.float32)


def _extent(image):
    rows, columns = np.flatnonzero(image.max(1) > 127), np.flatnonzero(image.max(0) > 127)
    return columns[0], rows[0], columns[-1], rows[-1]


@pytest.mark.parametrize(("height", "width"), [(400, 200), (200, 400), (300, 300), (1000, 17)])
def test_letterbox_keeps_proportions_and_centre(height, width):
    film = np.ones((height, width), np.float32)
    image = letterbox(film, 100)
    assert image.shape == (100, 100)
    assert image.dtype == np.uint8
    x0, y0, x1, y1 = _extent(image)
    scale = 100 / max(height, width)
    assert abs((x1 - x0 + 1) - width * scale) <= 1
    assert abs((y1 - y0 + 1) - height * scale) <= 1
    assert abs((x0 + x1) / 2 - 49.5) <= 1
    assert abs((y0 + y1) / 2 - 49.5) <= 1


def test_a_circle_stays_a_circle_in_the_middle_of_its_crop():
    film = _disk(400, 300, x=180, y=120, radius=40)
    image = crop(film, np.array([140, 80, 220, 160]), 64)
    x0, y0, x1, y1 = _extent(image)
    diameter = 64 / (1 + 2 * CROP_MARGIN)
    for size in (x1 - x0 + 1, y1 - y0 + 1):
        assert abs(size - diameter) <= 2
    assert abs((x0 + x1) / 2 - 31.5) <= 1
    assert abs((y0 + y1) / 2 - 31.5) <= 1


def test_a_long_box_is_grown_to_a_square_not_stretched():
    film = _disk(400, 300, x=150, y=200, radius=20)
    x0, y0, x1, y1 = _extent(crop(film, np.array([140, 100, 160, 300]), 64))
    assert abs((x1 - x0) - (y1 - y0)) <= 1


def test_beyond_the_film_is_black_and_keeps_its_place():
    film = np.ones((100, 100), np.float32)
    image = crop(film, np.array([-50, -50, 50, 50]), 60)
    x0, y0, x1, y1 = _extent(image)
    assert (x1, y1) == (59, 59)
    assert abs(x0 - 30 + 5) <= 6
    assert abs(y0 - 30 + 5) <= 6
    assert image[:20, :20].max() == 0
    np.testing.assert_allclose(square(np.array([0, 0, 10, 20]), 0.0), [-5, 0, 15, 20])


@pytest.mark.parametrize(
    "box", [[10, 10, 10, 50], [50, 50, 10, 10], [200, 0, 300, 50], [-50, 0, -10, 50]]
)
def test_boxes_that_show_nothing_are_refused(box):
    with pytest.raises(ValueError, match="box"):
        crop(np.ones((100, 100), np.float32), np.array(box, float), 32)


def test_tower_inputs_mark_what_is_absent():
    rng = np.random.default_rng(0)
    film = radiograph_of(rng.random((200, 150)))
    boxes = np.array([[10, 10, 60, 60], [np.nan] * 4, [80, 80, 120, 120]], np.float32)
    on_pa = tower_inputs(film, "pa", "left", boxes, REGION_NAMES, 64, 32)
    assert on_pa.crop_present.tolist() == [1, 0, 1]
    assert on_pa.crops[1].max() == 0
    assert np.isnan(on_pa.boxes[1]).all()
    assert on_pa.crops[0].std() > 0
    # The styloid is not scored on a lateral film, whoever found it there.
    lateral = tower_inputs(film, "lateral", "left", boxes, REGION_NAMES, 64, 32)
    assert lateral.crop_present.tolist() == [1, 0, 0]
    assert np.isnan(lateral.boxes[2]).all()
    assert np.isfinite(boxes[2]).all(), "the caller's boxes are left alone"


def test_a_region_of_which_nobody_can_say_has_no_crop_and_stays_in_doubt():
    film = radiograph_of(np.random.default_rng(0).random((200, 150)))
    boxes = np.array([[10, 10, 60, 60], [np.inf] * 4, [np.nan] * 4], np.float32)
    inputs = tower_inputs(film, "unknown", "unknown", boxes, REGION_NAMES, 64, 32)
    assert inputs.crop_present.tolist() == [1, 0, 0]
    assert np.isinf(inputs.boxes[1]).all()
    assert np.isnan(inputs.boxes[2]).all()


def test_a_data_set_without_regions_has_empty_arrays():
    film = radiograph_of(np.random.default_rng(0).random((200, 150)))
    inputs = tower_inputs(film, "unknown", "unknown", None, (), 64, 32)
    assert inputs.crops.shape == (0, 32, 32)
    assert inputs.boxes.shape == (0, 4)
    assert inputs.image.shape == (64, 64)


def test_wrong_number_of_boxes_is_refused():
    film = radiograph_of(np.random.default_rng(0).random((200, 150)))
    with pytest.raises(ValueError, match="shape"):
        tower_inputs(film, "pa", "left", np.zeros((2, 4)), REGION_NAMES, 64, 32)


def _texture(height, width, seed=0, cell=16):
    """Something to see everywhere, smooth enough to be interpolated."""
    coarse = np.random.default_rng(seed).random((height // cell + 1, width // cell + 1))
    image = Image.fromarray(coarse.astype(np.float32))
    film = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return np.clip(film, 0, 1)


def _turn(film, degrees):
    """Counter-clockwise as seen, about the film's centre."""
    return np.asarray(Image.fromarray(film).rotate(degrees, Image.Resampling.BICUBIC))


def _difference(one, other):
    return np.abs(one.astype(float) - other).mean()


@pytest.mark.parametrize("axis", [0.0, float("nan"), 360.0])
def test_without_axis_and_side_a_crop_is_the_plain_resized_square(axis):
    film = _texture(300, 260)
    image = crop(film, np.array([50, 60, 150, 140]), 48, axis)
    # The longer side of 100 and a margin of 10 on each side.
    part = Image.fromarray(film[40:160, 40:160]).resize((48, 48), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(image, np.round(np.asarray(part) * 255).astype(np.uint8))


@pytest.mark.parametrize("degrees", [-170, -90, -35, 7.5, 60, 120])
@pytest.mark.parametrize("given", [True, False])
def test_a_turned_wrist_is_cut_like_an_upright_one(degrees, given):
    upright = _texture(400, 400)
    film = _turn(upright, degrees)
    # A square of 80 about a point 50 right of and 30 above the centre, and its box when turned.
    radians = np.radians(degrees)
    x = 200 + 50 * np.cos(radians) - 30 * np.sin(radians)
    y = 200 - 50 * np.sin(radians) - 30 * np.cos(radians)
    half = 40 * (abs(np.cos(radians)) + abs(np.sin(radians)))
    box = np.array([x - half, y - half, x + half, y + half])
    side = 80 * (1 + 2 * CROP_MARGIN) if given else None
    expected = crop(upright, np.array([210, 130, 290, 210]), 48)
    assert expected.std() > 20
    assert _difference(crop(film, box, 48, degrees, side), expected) < 1.5
    assert _difference(crop(film, box, 48, degrees + 40, side), expected) > 15


@pytest.mark.parametrize("side", [1100.0, 2500.0, 1e6])
def test_strong_reductions_do_not_alias(side):
    """A fine pattern becomes an even grey, a coarse one stays; however large the square."""
    rows, columns = np.mgrid[0:3000, 0:2600]
    fine = ((rows // 2 + columns // 2) % 2).astype(np.float32)
    box = np.array([1200, 1400, 1400, 1600])
    for degrees in (0.0, 30.0, 45.0):
        inside = crop(fine, box, 64, degrees, side)[24:40, 24:40]
        if side < 1e6:
            assert inside.mean() == pytest.approx(127.5, abs=1)
            assert inside.std() < 2
    coarse = _texture(3000, 2600, cell=300)
    expected = crop(_turn(coarse, -30), np.array([1299, 1499, 1301, 1501]), 64, 0.0, side)
    box = np.array([1200, 1400, 1400, 1600])
    assert _difference(crop(coarse, box, 64, 30.0, side), expected) < 2.5


def test_a_square_that_leaves_the_film_is_black_there():
    film = np.ones((100, 100), np.float32)
    image = crop(film, np.array([-20, 40, 20, 60]), 60, 90.0, 40.0)
    # The film lies in the half that is below when the forearm is upright.
    assert image[:28].max() == 0
    assert image[32:].min() == 255
    with pytest.raises(ValueError, match="square"):
        crop(film, np.array([-900, -900, 10, 10]), 60, 0.0, 40.0)
    with pytest.raises(ValueError, match="side"):
        crop(film, np.array([10, 10, 20, 20]), 60, 0.0, 0.0)


def test_a_crop_shows_as_many_millimetres_whatever_the_resolution():
    pixels = _texture(600, 500)
    half = Image.fromarray(pixels).resize((250, 300), Image.Resampling.BILINEAR)
    fine = dataclasses.replace(radiograph_of(pixels), pixels=pixels, spacing=0.15)
    coarse = dataclasses.replace(
        radiograph_of(np.asarray(half)), pixels=np.asarray(half), spacing=0.3
    )
    boxes = np.array([[200, 220, 320, 400], [150, 300, 250, 380], [170, 310, 200, 330]], np.float32)
    for axis in (0.0, float("nan"), 25.0):
        cuts = [
            tower_inputs(film, "pa", "left", film_boxes, REGION_NAMES, 64, 64, axis_degrees=axis)
            for film, film_boxes in ((fine, boxes), (coarse, boxes / 2))
        ]
        assert cuts[0].crop_present.all()
        for one, other in zip(cuts[0].crops, cuts[1].crops, strict=True):
            assert one.std() > 10
            assert _difference(one, other) < 2
    # What is half as wide as the crop fills half of it.
    for index, region in enumerate(REGIONS):
        diameter = region.crop_mm / 2 / 0.1
        pixels = _disk(700, 700, x=350, y=350, radius=diameter / 2)
        disk = dataclasses.replace(radiograph_of(pixels), pixels=pixels, spacing=0.1)
        box = np.full((3, 4), np.nan, np.float32)
        box[index] = [340, 330, 360, 370]
        inputs = tower_inputs(disk, "pa", "left", box, REGION_NAMES, 64, 64)
        x0, y0, x1, y1 = _extent(inputs.crops[index])
        assert (x0, y0, x1, y1) == pytest.approx((16, 16, 47, 47), abs=1)
