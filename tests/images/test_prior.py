"""The geometric prior: right side of the film, right bone, nothing where there is no bone."""

import csv
import json

import numpy as np
import pytest

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.images.prior import foreground, prior_boxes
from wristmir_jax.images.reading import read_radiograph, window


def _wrist(height=400, width=240, left=0, right=0, top=0, bottom=0, border=0.0):
    """A limb that fills its film, inside borders of the given widths and brightness."""
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, width)
    limb = 0.35 + 0.5 * np.clip(1 - x**2, 0, 1) * np.ones((height, 1))
    film = np.full((height + top + bottom, width + left + right), border)
    film[top : top + height, left : left + width] = limb + rng.normal(0, 0.01, limb.shape)
    return window(film)


@pytest.mark.parametrize("border", [0.0, 3.0])
def test_foreground_leaves_black_and_white_borders_out(border):
    box = foreground(_wrist(left=40, right=60, top=30, bottom=0, border=border))
    # The limb's thin edges may count as air.
    np.testing.assert_allclose(box, [40, 30, 280, 430], atol=20)


def test_foreground_of_a_limb_on_air_is_the_limb():
    film = np.full((400, 400), 0.1) + np.random.default_rng(0).normal(0, 0.004, (400, 400))
    film[:, 120:280] += 0.5
    np.testing.assert_allclose(foreground(window(film)), [120, 0, 280, 400], atol=8)


def test_a_right_wrist_has_the_boxes_of_its_mirror_image():
    film = _wrist(left=30)
    left = prior_boxes(film, "pa", "left", REGION_NAMES, 12.0)
    right = prior_boxes(film[:, ::-1], "pa", "right", REGION_NAMES, 12.0)
    mirrored = film.shape[1] - right[:, [2, 1, 0, 3]]
    mirrored[:, [1, 3]] = right[:, [1, 3]]
    np.testing.assert_allclose(mirrored, left, atol=4)
    # On a left PA film, as it is hung, the ulna lies left of the radius.
    radius, ulna = left[0], left[1]
    assert ulna[[0, 2]].mean() < radius[[0, 2]].mean()


def test_the_styloid_is_absent_in_young_children_and_on_lateral_films():
    film = _wrist()

    def present(view, age):
        return np.isfinite(prior_boxes(film, view, "left", REGION_NAMES, age)).all(1).tolist()

    assert present("pa", 3.0) == [True, True, False]
    assert present("pa", 11.0) == [True, True, True]
    assert present("pa", float("nan")) == [True, True, True]
    assert present("lateral", 11.0) == [True, True, False]
    assert present("oblique", 11.0) == [True, True, True]
    assert present("unknown", 11.0) == [True, True, True]


def test_boxes_stay_on_the_film():
    film = _wrist(height=100, width=300)
    for view in ("pa", "lateral", "oblique", "unknown"):
        boxes = prior_boxes(film, view, "right", REGION_NAMES)
        boxes = boxes[np.isfinite(boxes).all(1)]
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= [300, 100]).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_regions_are_data():
    film = _wrist()
    assert prior_boxes(film, "pa", "left", ()).shape == (0, 4)
    every = prior_boxes(film, "pa", "left", REGION_NAMES)
    np.testing.assert_array_equal(prior_boxes(film, "pa", "left", REGION_NAMES[::-1]), every[::-1])


def test_the_prior_meets_the_bones_of_real_wrists(shared_data):
    """Where outlines and pixels are both there, the radius' box holds its distal end."""
    folder = shared_data / "grazpedwri"
    outlines = json.loads((folder / "bone_polygons.json").read_text())
    with (folder / "dataset.csv").open(encoding="utf-8-sig") as file:
        rows = {row["filestem"]: row for row in csv.DictReader(file)}
    checked = 0
    for path in sorted((folder / "images").glob("*.png")):
        if path.stem not in outlines:
            continue
        polygons = outlines[path.stem]["polygons"]
        points = np.concatenate(
            [polygon["points"] for polygon in polygons if polygon["bone"] == "Epiphyse Radius"]
        )
        view = {"1": "pa", "2": "lateral", "3": "oblique"}[rows[path.stem]["projection"]]
        side = {"L": "left", "R": "right"}[rows[path.stem]["laterality"]]
        pixels = read_radiograph(path).pixels
        box = prior_boxes(pixels, view, side, REGION_NAMES, float(rows[path.stem]["age"]))[0]
        inside = ((points >= box[:2]) & (points <= box[2:])).all(1)
        assert inside.mean() > 0.8
        checked += 1
    assert checked
