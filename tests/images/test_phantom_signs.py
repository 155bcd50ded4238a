"""Signs of fractures: as large as the table says, larger in worse fractures, where they belong."""

from dataclasses import replace

import numpy as np
import pytest

from tests.images.test_phantom_drawing import SIZE, draw, share_inside, wrist
from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.images.phantom_anatomy import CARPALS
from wristmir_jax.images.phantom_bones import broken, long_bones, motion_of
from wristmir_jax.images.phantom_findings import displacement_class
from wristmir_jax.images.phantom_fractures import (
    COMPLETE_KINDS,
    RADIUS,
    SIGNS,
    ULNA,
    Broken,
    Injury,
    bone_injury,
    injure,
)
from wristmir_jax.images.phantom_parts import Blob, Field
from wristmir_jax.images.phantom_scene import Extras, build, to_pixels

BROKEN = {kind: Broken(radius=kind) for kind in SIGNS}
BROKEN |= {"styloid": Broken(styloid=True), "scaphoid": Broken(scaphoid=True)}
SEVERITIES = np.linspace(0.0, 1.0, 21)


def injured(what, severity, anatomy, seed):
    """Without swelling, which is chance."""
    injury = injure(BROKEN[what], anatomy, np.random.default_rng(seed), severity)
    return replace(injury, swelling=0.0)


@pytest.mark.parametrize("bone", [RADIUS, ULNA])
@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("kind", SIGNS)
def test_no_sign_is_smaller_in_a_worse_fracture_and_all_keep_to_the_table(kind, free, bone):
    anatomy, _ = wrist()
    anatomy = replace(anatomy, width=24.0)
    share = 1.0 if bone == RADIUS else 0.63
    sign = SIGNS[kind]
    for seed in range(30):
        series = [
            bone_injury(kind, s, anatomy, bone, np.random.default_rng(seed), free)
            for s in SEVERITIES
        ]
        sizes = np.array(
            [
                (b.bulge, b.gap, b.corner, b.displacement, b.shortening, abs(b.tilt_dorsal),
                 abs(b.tilt_radial))
                for b in series
            ]
        )  # fmt: skip
        assert (np.diff(sizes, axis=0) >= -1e-9).all()
        assert len({(b.location, b.slope, b.jag_phase) for b in series}) == 1
        for column, ends in ((0, sign.bulge), (1, sign.gap)):
            np.testing.assert_allclose(sizes[[0, -1], column], np.array(ends) * share, atol=1e-9)
        assert sizes[:, 5].max() <= max(1.1 * sign.tilt, sign.least_tilt) + 4.1
        shaft = anatomy.shaft_width * share
        assert sizes[:, 3].max() <= (0.96 if free else 0.46) * shaft
        assert kind not in COMPLETE_KINDS or displacement_class(sizes[0, 3], shaft) == "none"


@pytest.mark.parametrize("kind", ["buckle", "incomplete", "greenstick", "complete", "sh1", "sh2"])
def test_the_mildest_are_about_a_pixel_and_the_worst_millimetres(kind):
    """Pixels of the public films are .144 mm."""
    anatomy, _ = wrist()
    for severity, low, high in ((0.1, 0.25, 0.55), (0.9, 1.3, 2.5)):
        bone = bone_injury(kind, severity, anatomy, RADIUS, np.random.default_rng(0))
        assert low < max(bone.bulge, bone.gap) * 24.0 / anatomy.width < high


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_drawn_grows_with_severity(what):
    anatomy, pose = wrist()
    changes = []
    for seed in (1, 2):
        injuries = [Injury(), *(injured(what, s, anatomy, seed) for s in (0.1, 0.5, 0.9))]
        scenes = [
            build(anatomy, injury, Extras(), view, "left", pose, SIZE)[0]
            for injury in injuries
            for view in ("pa", "lateral")
        ]
        films = draw(scenes).reshape(4, 2, SIZE, SIZE)
        changes.append(np.abs(films[1:] - films[0]).mean((1, 2, 3)))
    barely, medium, severe = np.mean(changes, 0)
    assert 0.0 < barely < medium < severe
    # Away from its place a small fragment changes no more, however far it goes.
    assert barely < (0.75 if what == "styloid" else 0.5) * severe


@pytest.mark.parametrize("what", BROKEN)
def test_signs_are_where_the_bone_is_broken(what):
    """Lines, bulges and bows alone: displaced bones take the hand with them."""
    anatomy, pose = wrist()
    injury = injured(what, 0.9, anatomy, 1)
    straight = dict(dorsal=0.0, radial=0.0, shortening=0.0)
    if what != "bowing":
        straight |= dict(tilt_dorsal=0.0, tilt_radial=0.0)
    injury = replace(injury, radius=replace(injury.radius, **straight))
    scenes, places = [], []
    for view in ("pa", "lateral"):
        for one in (Injury(), injury):
            scene, boxes = build(anatomy, one, Extras(), view, "left", pose, SIZE)
            scenes.append(scene)
        places.append(_place(what, injury, anatomy, scene, boxes))
    intact, pa, intact_lateral, lateral = draw(scenes)
    assert share_inside(pa - intact, places[0]) > 0.9
    assert np.abs(pa - intact).max() > 0.02
    if what not in ("styloid", "scaphoid"):
        assert share_inside(lateral - intact_lateral, places[1]) > 0.9


def _place(what, injury, anatomy, scene, boxes):
    """x0 y0 x1 y1 in pixels of where the sign may be."""
    if what == "styloid":
        return boxes[REGION_NAMES.index("ulnar_styloid")]
    field = Field(*scene.field.tolist())
    radius = injury.radius
    reach = radius.location if what == "bowing" else 8.0
    x, y, across = 0.0, -radius.location, 0.75 * anatomy.width
    # What breaks off with a physis goes as far as it is wider, with the hand.
    up = 400.0 if what.startswith("sh") and not what.startswith("shaft") else reach
    if what == "scaphoid":
        names = [bone.name for bone in CARPALS]
        bone = Blob(*scene.blobs[4 + names.index("scaphoid")].tolist())
        x, y, across, reach = bone.center_x, bone.center_y, bone.half_length, bone.half_length
        up = reach
    elif up > 100.0:
        across, reach = 400.0, 16.0
    px, py = to_pixels(
        np.array([x - across, x + across]), np.array([y + up, y - reach]), field, SIZE
    )
    return px[0] - 2.0, py[0] - 2.0, px[1] + 2.0, py[1] + 2.0


@pytest.mark.parametrize("lateral", [True, False])
def test_the_cortex_beyond_the_hinge_of_a_greenstick_is_whole(lateral):
    """The two pieces share their line there, so that they add up to the bone."""
    anatomy, _ = wrist()
    bone, _ = long_bones(anatomy, "lateral" if lateral else "pa")
    injury = bone_injury("greenstick", 0.9, anatomy, RADIUS, np.random.default_rng(1))
    injury = replace(injury, tilt_dorsal=0.0, tilt_radial=0.0)
    near, far = broken(
        bone, bone.tube(anatomy, 1.0), injury, lateral, motion_of(bone, injury, lateral)
    )
    half = bone.half_at(injury.location)

    def line(piece, across):
        bent = max(piece.cut_hinge * (across - piece.cut_hinge_at), 0.0)
        return piece.cut_at + piece.cut_slope * across - bent

    assert line(far, -half) == line(near, -half)
    assert line(far, half) - line(near, half) == pytest.approx(injury.gap)
