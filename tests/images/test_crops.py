"""What the towers see keeps the film's proportions and places."""

import numpy as np
import pytest

from wristmir_jax.anatomy import REGION_NAMES
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
