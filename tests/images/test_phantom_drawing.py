"""What is drawn: bones inside their boxes, injuries that grow with severity, sides that mirror."""

from dataclasses import replace

import numpy as np
import pytest

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.images.phantom_anatomy import sample_anatomy
from wristmir_jax.images.phantom_fractures import Injury, follow_up, sample_injury
from wristmir_jax.images.phantom_parts import Blob, Field, Scene, Tube
from wristmir_jax.images.phantom_render import render
from wristmir_jax.images.phantom_scene import Extras, build, sample_pose

SIZE = 128
RADIUS, ULNA, STYLOID = (REGION_NAMES.index(name) for name in REGION_NAMES)
BATCH = 16


def draw(scenes):
    """Float films (N, S, S); padded to one batch size, so that one compilation serves all tests."""
    filled = [*scenes, *[scenes[-1]] * (BATCH - len(scenes))]
    films = render(Scene(*map(np.stack, zip(*filled, strict=True))), SIZE)
    return films[: len(scenes)].astype(np.float64) / 65_535


def wrist(age=11.0, seed=0):
    rng = np.random.default_rng(seed)
    anatomy = sample_anatomy(age, True, rng)
    return anatomy, replace(sample_pose(anatomy, SIZE, rng), noise=0.0, rotation=0.03)


def without(scene, part, index):
    """The scene with one tube or blob made invisible."""
    scene = Scene(*(array.copy() for array in scene))
    if part == "tubes":
        scene.tubes[index, Tube._fields.index("opacity")] = 0.0
    else:
        for name in ("mu_rim", "mu_inside"):
            scene.blobs[index, Blob._fields.index(name)] = 0.0
    return scene


def share_inside(difference, box):
    x0, y0, x1, y1 = box
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    inside = (columns >= x0) & (columns <= x1) & (rows >= y0) & (rows <= y1)
    return np.abs(difference)[inside].sum() / np.abs(difference).sum()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("codes", [(), ("23-M/3", "23u-E/7"), ("23r-E/2", "23u-E/7")])
def test_boxes_hold_the_bones_wherever_they_went(side, codes):
    anatomy, pose = wrist()
    injury = sample_injury(codes, anatomy, np.random.default_rng(5), severity=0.8)
    scene, boxes = build(anatomy, injury, Extras(), "pa", side, pose, SIZE)
    films = draw([scene, without(scene, "blobs", 0), without(scene, "blobs", 2),
                  without(scene, "blobs", 3)])  # fmt: skip
    for film, region in zip(films[1:], (RADIUS, ULNA, STYLOID), strict=True):
        assert np.abs(films[0] - film).max() > 0.03
        assert share_inside(films[0] - film, boxes[region]) > 0.9


def test_metaphyses_lie_in_their_boxes():
    anatomy, pose = wrist()
    for view in ("pa", "lateral"):
        scene, boxes = build(anatomy, Injury(), Extras(), view, "left", pose, SIZE)
        whole, no_radius, no_ulna = draw([
            scene,
            without(without(scene, "tubes", 0), "tubes", 1),
            without(without(scene, "tubes", 2), "tubes", 3),
        ])  # fmt: skip
        for film, region in ((no_radius, RADIUS), (no_ulna, ULNA)):
            x0, y0, x1, y1 = boxes[region]
            difference = np.abs(whole - film)
            # The shaft leaves the box downwards only.
            assert difference[: int(y0)].sum() < 0.01 * difference.sum()
            rows = difference[int(y0) : int(y1)]
            assert rows[:, int(x0) : int(np.ceil(x1))].sum() > 0.97 * rows.sum()


def test_an_avulsed_styloid_moves_and_only_the_front_shows_it():
    anatomy, pose = wrist()
    none, far = Injury(), Injury(styloid_gap=4.0)
    scenes = [
        build(anatomy, injury, Extras(), "pa", "left", pose, SIZE)[0] for injury in (none, far)
    ]
    films = draw(scenes)
    _, boxes = build(anatomy, far, Extras(), "pa", "left", pose, SIZE)
    assert np.abs(films[0] - films[1]).max() > 0.05
    assert share_inside(films[0] - films[1], boxes[STYLOID]) > 0.9


def test_a_right_wrist_is_the_mirrored_left_one_but_for_its_marker():
    anatomy, pose = wrist()
    pose = replace(pose, film_rotation=0.0)
    built = [build(anatomy, Injury(), Extras(), "pa", s, pose, SIZE) for s in ("left", "right")]
    scenes = [scene for scene, _ in built]
    for scene in scenes:
        scene.segments[:] = 0.0
        scene.segments[:, 4] = 1.0
        scene.field[Field._fields.index("bone_texture")] = 0.0
    left, right = draw(scenes)
    # Windows of the coarse texture in the soft tissue are not mirrored.
    assert np.abs(left - right[:, ::-1]).mean() < 0.4 * np.abs(left - right).mean()
    (_, boxes), (_, mirrored) = built
    np.testing.assert_allclose(boxes[:, [0, 2]], SIZE - mirrored[:, [2, 0]], atol=1e-3)
    np.testing.assert_allclose(boxes[:, [1, 3]], mirrored[:, [1, 3]], atol=1e-3)


def test_markers_tell_the_sides_apart_and_are_not_mirrored():
    anatomy, pose = wrist()
    left, right = (
        build(anatomy, Injury(), Extras(), "pa", side, pose, SIZE)[0].segments
        for side in ("left", "right")
    )
    # Lead, not the plastic that it sits on.
    assert (left[:, 5] > 0.5).sum() == 2
    assert (right[:, 5] > 0.5).sum() == 5
    # The foot of the L and the leg of the R point to the reader's right.
    assert left[1, 2] > left[1, 0]
    assert right[4, 2] > right[4, 0]


@pytest.mark.parametrize("male", [True, False])
def test_what_has_not_ossified_is_absent(male):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        child = sample_anatomy(3.0, male, rng)
        teen = sample_anatomy(13.5, male, rng)
        assert child.styloid == 0.0 and child.ulnar_epiphysis == 0.0
        assert teen.styloid > 0.5
        assert all(share > 0 for share in teen.carpals)
        assert sum(share > 0 for share in child.carpals) in (2, 3, 4)
        pose = sample_pose(child, SIZE, rng)
        for anatomy, view, there in ((child, "pa", False), (teen, "pa", True),
                                     (teen, "lateral", False)):  # fmt: skip
            _, boxes = build(anatomy, Injury(), Extras(), view, "left", pose, SIZE)
            assert np.isfinite(boxes[STYLOID]).all() == there
            assert np.isfinite(boxes[[RADIUS, ULNA]]).all()


def test_bones_grow_and_physes_close():
    rng = np.random.default_rng(0)
    widths = [
        np.mean([sample_anatomy(age, True, rng).width for _ in range(20)]) for age in (1, 5, 10, 15)
    ]
    assert widths == sorted(widths)
    assert sample_anatomy(6.0, True, rng).physis == "open"
    assert sample_anatomy(18.8, False, rng).physis == "closed"


def test_cast_wires_and_thin_bone_show():
    anatomy, pose = wrist()
    extras = [Extras(), Extras(cast=True), Extras(wires=2), Extras(osteopenia=True)]
    scenes, boxes = zip(
        *(build(anatomy, Injury(), extra, "pa", "left", pose, SIZE) for extra in extras),
        strict=True,
    )
    plain, _, wires, thin = draw(list(scenes))
    x0, y0, x1, y1 = boxes[0][RADIUS].astype(int)
    assert wires[y0:y1, x0:x1].max() > plain[y0:y1, x0:x1].max() + 0.05
    assert thin[y0:y1, x0:x1].mean() < plain[y0:y1, x0:x1].mean() - 0.01
    cast = Field._fields.index("cast_mu")
    assert [scene.field[cast] > 0 for scene in scenes] == [False, True, False, False]


def test_healing_adds_callus_and_takes_the_line_away():
    anatomy, _ = wrist()
    fresh = sample_injury(("23r-M/3",), anatomy, np.random.default_rng(1), severity=0.6)
    early, late = (follow_up(fresh, w, False, np.random.default_rng(2)) for w in (1.0, 12.0))
    assert early.radius.callus == 0.0 and late.radius.callus > 0.0
    assert late.radius.gap == 0.0 < fresh.radius.gap
    assert late.swelling < fresh.swelling
    reduced = follow_up(fresh, 1.0, True, np.random.default_rng(2))
    assert reduced.radius.displacement <= fresh.radius.displacement
