"""Phantoms on films that are not tidy: boxes and angles stay true, what is not shown is absent."""

from dataclasses import replace

import numpy as np
import pytest

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.sources.phantom import PhantomSource
from wristmir_jax.errors import UserError
from wristmir_jax.images import phantom
from wristmir_jax.images.phantom_anatomy import sample_anatomy
from wristmir_jax.images.phantom_episodes import patient_exams
from wristmir_jax.images.phantom_films import MIN_SHOWN
from wristmir_jax.images.phantom_fractures import Injury
from wristmir_jax.images.phantom_parts import Blob, Field, Finish, Scene, Tube
from wristmir_jax.images.phantom_render import field_edge, render
from wristmir_jax.images.phantom_scene import (
    Extras,
    axis_degrees,
    build,
    sample_disturbed_pose,
    sample_pose,
)
from wristmir_jax.reports.findings import RegionFindings

SIZE, BATCH = 128, 16
RADIUS, ULNA, STYLOID = (REGION_NAMES.index(name) for name in REGION_NAMES)


def draw(scenes):
    """Float films (N, S, S); padded to one batch size, so that one compilation serves all tests."""
    filled = [*scenes, *[scenes[-1]] * (BATCH - len(scenes))]
    films = render(Scene(*map(np.stack, zip(*filled, strict=True))), SIZE)
    return films[: len(scenes)].astype(np.float64) / 65_535


def plain(share=0.12, degrees=0.0, age=11.0, **film):
    """An anatomy and a pose with the wrist in the middle of an open field and plain processing."""
    anatomy = sample_anatomy(age, True, np.random.default_rng(0))
    pose = sample_disturbed_pose(anatomy, SIZE, 1.0, np.random.default_rng(1))
    calm = dict(
        angle=float(np.deg2rad(degrees)), spacing=anatomy.width / share / SIZE,
        anchor_x=-0.35, anchor_y=0.0, at_x=0.0, at_y=0.0, deviation=0.0, level=0.5, gamma=1.0,
        floor=0.05, noise=0.0, frame=0.0, soft_offset=0.0, letters=None, oval=False, marker=False,
        ring=False, watch=False, finish=Finish(),
    )  # fmt: skip
    return anatomy, replace(pose, film=replace(pose.film, **{**calm, **film}))


def built(anatomy, pose, view="pa", side="left", extras=None):
    return build(anatomy, Injury(), extras or Extras(), view, side, pose, SIZE)


def changed(scene, array, **values):
    """A copy of the scene with fields of one of its arrays set."""
    kind = {"field": Field, "finish": Finish}[array]
    copy = Scene(*(part.copy() for part in scene))
    for name, value in values.items():
        getattr(copy, array)[kind._fields.index(name)] = value
    return copy


def without(scene, part, index):
    """The scene with one tube or blob made invisible."""
    copy = Scene(*(array.copy() for array in scene))
    if part == "tubes":
        copy.tubes[index, Tube._fields.index("opacity")] = 0.0
    else:
        for name in ("mu_rim", "mu_inside"):
            copy.blobs[index, Blob._fields.index(name)] = 0.0
    return copy


@pytest.fixture(scope="module")
def exams():
    return list(phantom.exams(160, 7, SIZE, disturbance=1.0))


def test_without_disturbance_films_are_the_tidy_ones():
    exam = next(patient_exams(np.random.default_rng([3, 0])))
    rng = np.random.default_rng([3, 0, exam.number, 1])
    scenes, boxes = zip(
        *(
            build(
                exam.anatomy, exam.injury, exam.extras, view, exam.laterality,
                sample_pose(exam.anatomy, SIZE, rng), SIZE,
            )
            for view in exam.views
        ),
        strict=True,
    )  # fmt: skip
    one, two = (next(phantom.exams(1, 3, SIZE, **given)) for given in ({}, {"disturbance": 0.0}))
    films = draw(scenes)
    for first, second, film, expected in zip(one.views, two.views, films, boxes, strict=True):
        np.testing.assert_array_equal(first.pixels, second.pixels)
        np.testing.assert_array_equal(first.pixels, (film * 65_535).round().astype(np.uint16))
        np.testing.assert_array_equal(first.boxes, expected)
        assert abs(first.axis_degrees) <= 20.0
    assert one.shows_wrist and one.findings == two.findings


def test_the_same_films_whatever_the_batch_and_the_number(exams):
    for one, two in zip(
        phantom.exams(23, 7, SIZE, batch_size=6, disturbance=1.0), exams, strict=False
    ):
        assert (one.exam_id, one.report, one.findings) == (two.exam_id, two.report, two.findings)
        for first, second in zip(one.views, two.views, strict=True):
            np.testing.assert_array_equal(first.pixels, second.pixels)
            np.testing.assert_array_equal(first.boxes, second.boxes)
            np.testing.assert_array_equal(first.axis_degrees, second.axis_degrees)


def test_boxes_and_angles_do_not_change_with_the_image_size(exams):
    for small, large in zip(exams[:12], phantom.exams(12, 7, 64, disturbance=1.0), strict=False):
        assert small.findings == large.findings
        for one, two in zip(small.views, large.views, strict=True):
            np.testing.assert_allclose(one.boxes * 64 / SIZE, two.boxes, atol=0.05)
            np.testing.assert_equal(one.axis_degrees, two.axis_degrees)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("degrees", [0.0, 35.0, 130.0, 180.0, -70.0])
def test_boxes_hold_the_bones_at_any_angle(side, degrees):
    anatomy, pose = plain(share=0.2, degrees=degrees)
    scene, boxes = built(anatomy, pose, side=side)
    films = draw([scene, *(without(scene, "blobs", index) for index in (0, 2, 3))])
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    for film, region in zip(films[1:], (RADIUS, ULNA, STYLOID), strict=True):
        difference = np.abs(films[0] - film)
        assert difference.max() > 0.02
        x0, y0, x1, y1 = boxes[region]
        inside = (columns >= x0) & (columns <= x1) & (rows >= y0) & (rows <= y1)
        assert difference[inside].sum() > 0.9 * difference.sum()


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_axis_is_that_of_the_film_turned_counter_clockwise(side):
    anatomy, upright = plain(degrees=0.0)
    _, turned = plain(degrees=90.0)
    assert axis_degrees(upright, side) == pytest.approx(0.0)
    assert axis_degrees(turned, side) == pytest.approx(90.0)
    scenes, boxes = zip(
        *(built(anatomy, pose, side=side) for pose in (upright, turned)), strict=True
    )
    # Textures stay with the film, so bones are drawn without.
    one, two = draw([changed(scene, "field", bone_texture=0.0) for scene in scenes])
    right = np.abs(np.rot90(one) - two).mean()
    assert right < 0.25 * np.abs(one - two).mean()
    assert right < 0.25 * np.abs(np.rot90(one, -1) - two).mean()
    x0, y0, x1, y1 = boxes[0].T
    np.testing.assert_allclose(boxes[1], np.stack([y0, SIZE - x1, y1, SIZE - x0], 1), atol=0.05)


def test_angles_of_180_degrees_have_one_name():
    for degrees in (180.0, -180.0, 540.0):
        assert axis_degrees(plain(degrees=degrees)[1], "left") == pytest.approx(180.0)
    assert axis_degrees(plain(degrees=-179.0)[1], "right") == pytest.approx(-179.0)


def test_a_region_off_the_collimated_field_is_absent():
    anatomy, pose = plain()
    _, whole = built(anatomy, pose)
    x0, _, x1, _ = whole[RADIUS]
    middle = ((x0 + x1) / 2 - SIZE / 2) * pose.film.spacing
    half_box = (x1 - x0) / 2 * pose.film.spacing
    for shown in (MIN_SHOWN + 0.1, MIN_SHOWN - 0.1):
        # The field ends where it leaves this share of the radius' box, which stands upright.
        edge = middle - half_box + 2 * half_box * shown
        field = Finish(first_x=edge - 500.0, first_half_width=500.0)
        _, boxes = built(*plain(finish=field))
        assert np.isfinite(boxes[RADIUS]).all() == (shown > MIN_SHOWN)
        # The ulna lies to the left of the radius on a left wrist, inside.
        np.testing.assert_array_equal(boxes[ULNA], whole[ULNA])
    strip = Finish(strip_x=0.0, strip_y=-1.0, strip_at=-10.0 * anatomy.width)
    assert np.isnan(built(*plain(finish=strip))[1]).all()


def test_absent_off_the_film():
    anatomy, pose = plain(at_x=1e4)
    _, boxes = built(anatomy, pose)
    assert np.isnan(boxes).all()


def test_nothing_is_seen_beyond_the_field():
    finish = Finish(first_half_width=30.0, first_half_height=60.0, first_turn=0.3, outside=0.25)
    anatomy, pose = plain(finish=finish)
    film = draw([built(anatomy, pose)[0]])[0]
    at = (np.arange(SIZE) + 0.5 - SIZE / 2) * pose.film.spacing
    edge = field_edge(at[None, :], -at[:, None], finish, np)
    np.testing.assert_allclose(film[edge > 2 * pose.film.spacing], 0.25, atol=1e-3)
    assert film[edge < 0].std() > 0.02


def test_wide_films_show_fingers_and_tight_ones_do_not_draw_them():
    wide, tight = (built(*plain(share=share))[0] for share in (0.1, 0.28))
    assert len(wide.tubes) > len(tight.tubes)
    fingers = draw([wide])[0][: SIZE // 4]
    bare = Scene(*(array.copy() for array in wide))
    bare.tubes[9:, Tube._fields.index("opacity")] = 0.0
    assert np.abs(draw([bare])[0][: SIZE // 4] - fingers).max() > 0.05


def test_hardware_and_casts_show_and_are_told():
    anatomy, pose = plain(share=0.2)
    none, plate, splint = draw([
        built(anatomy, pose, extras=extras)[0]
        for extras in (Extras(), Extras(plate=True), Extras(cast=True, splint=True))
    ])  # fmt: skip
    assert (plate - none).max() > 0.2
    # A slab lies on one side only; the exposure that allows for it darkens the other.
    brighter = np.clip(splint - none, 0.0, None)
    weak, strong = sorted((brighter[:, : SIZE // 2].mean(), brighter[:, SIZE // 2 :].mean()))
    assert strong > 3 * weak


def test_views_keep_their_contract(exams):
    for exam in exams:
        if not exam.shows_wrist:
            continue
        told = exam.findings
        assert told.views == tuple(view.view for view in exam.views)
        for view in exam.views:
            assert view.pixels.shape == (SIZE, SIZE) and view.pixels.dtype == np.uint16
            present = np.isfinite(view.boxes).all(1)
            assert (present == np.isfinite(view.boxes).any(1)).all()
            assert (view.boxes[present] >= 0).all() and (view.boxes[present] <= SIZE).all()
            assert -180.0 < view.axis_degrees <= 180.0
            assert view.pixel_spacing_mm > 0


def test_poses_and_fields_of_view_vary(exams):
    views = [view for exam in exams if exam.shows_wrist for view in exam.views]
    angles = np.abs([view.axis_degrees for view in views])
    assert 0.5 < (angles < 30).mean() < 0.85
    assert 0.08 < (angles > 90).mean() < 0.4
    # Side of the film over the extent of the radius' box.
    heights = [np.ptp(view.boxes[RADIUS, 1::2]) / SIZE for view in views]
    found = np.array(heights)[np.isfinite(heights)]
    assert 0.8 * len(views) < len(found) < 0.99 * len(views)
    assert np.quantile(found, 0.1) < 0.17 and np.quantile(found, 0.9) > 0.35


def test_a_tenth_of_the_films_show_no_wrist(exams):
    others = [exam for exam in exams if not exam.shows_wrist]
    films = sum(len(exam.views) for exam in exams)
    assert 0.04 < len(others) / films < 0.18
    for exam in others:
        (view,) = exam.views
        assert view.view == "unknown"
        assert np.isnan(view.boxes).all() and np.isnan(view.axis_degrees)
        assert set(exam.findings.regions.values()) == {RegionFindings()}
        assert not view.fracture_visible and exam.codes == ()
        assert view.pixels.std() > 500
    assert len({exam.patient_id for exam in others}) == len(others)
    with_wrist = {exam.patient_id for exam in exams if exam.shows_wrist}
    assert with_wrist.isdisjoint(exam.patient_id for exam in others)


def test_the_source_hands_on_angles(exams):
    rows = list(PhantomSource(12, 7, disturbance=1.0).rows(1, False))
    views = [view for exam in exams[:12] for view in exam.views]
    np.testing.assert_equal(
        [row.axis_degrees for row in rows], [view.axis_degrees for view in views]
    )
    assert any(row.view == "unknown" for row in rows)


@pytest.mark.parametrize("disturbance", [-0.1, 100.0, float("nan")])
def test_a_disturbance_out_of_range_is_refused(disturbance):
    with pytest.raises(UserError, match="disturbance"):
        next(phantom.exams(1, 0, SIZE, disturbance=disturbance))
    with pytest.raises(UserError, match="--disturbance"):
        PhantomSource(1, disturbance=disturbance)


@pytest.mark.parametrize("even_ages", [-0.1, 1.1, float("nan")])
def test_even_ages_out_of_range_are_refused(even_ages):
    with pytest.raises(UserError, match="even_ages"):
        next(phantom.exams(1, 0, SIZE, even_ages=even_ages))
    with pytest.raises(UserError, match="--even_ages"):
        PhantomSource(1, even_ages=even_ages)


def test_even_ages_reach_the_records_and_the_title():
    source = PhantomSource(12, 7, even_ages=1.0)
    assert "even ages 1" in source.info.title
    drawn = [row.age_years for row in source.rows(1, False)]
    assert drawn == [
        exam.age_years for exam in phantom.exams(12, 7, SIZE, even_ages=1.0) for _ in exam.views
    ]
    assert drawn != [row.age_years for row in PhantomSource(12, 7).rows(1, False)]
