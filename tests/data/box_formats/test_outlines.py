"""Regions from outlines of whole bones: as the phantoms have them, whichever way the arm lies."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.box_formats.convert import convert
from wristmir_jax.data.box_formats.labels import BONE_LABELS
from wristmir_jax.data.box_formats.outlines import regions_of
from wristmir_jax.data.sources.fields import BadValue
from wristmir_jax.images import phantom_bones, phantom_carpals
from wristmir_jax.images.bone_outlines import blob_outline
from wristmir_jax.images.phantom_anatomy import sample_anatomy
from wristmir_jax.images.phantom_fractures import BoneInjury, Injury
from wristmir_jax.images.phantom_parts import Field
from wristmir_jax.images.phantom_scene import Extras, build, sample_pose, to_pixels

_SIZE = 512


def _phantom(age, view="pa", laterality="left", seed=0, turn=0.0):
    """Bones of an uninjured phantom as outlines in pixels, and its own boxes."""
    rng = np.random.default_rng(seed)
    anatomy = sample_anatomy(age, True, rng)
    pose = dataclasses.replace(
        sample_pose(anatomy, _SIZE, rng), rotation=math.radians(turn), shift_x=0.0, shift_y=0.0
    )
    none = BoneInjury()
    injury = Injury(none, none)
    scene, boxes = build(anatomy, injury, Extras(), view, laterality, pose, _SIZE)
    lateral = view == "lateral"
    radius, ulna = phantom_bones.long_bones(anatomy, view)
    radial, _, ulnar, styloid = phantom_bones.epiphyses(anatomy, injury, lateral, 1.0, radius, ulna)
    hand = phantom_carpals.carpals(anatomy, injury, lateral, 1.0)[:1]
    bones = {"radius": [_tube(radius)], "ulna": [_tube(ulna)], "hand": [blob_outline(hand[0])]}
    if anatomy.radial_epiphysis > 0:
        bones["radius_epiphysis"] = [blob_outline(radial)]
    if anatomy.ulnar_epiphysis > 0:
        parts = (ulnar, styloid) if anatomy.styloid > 0 else (ulnar,)
        bones["ulna_epiphysis"] = [blob_outline(part) for part in parts]
    field = Field(*scene.field)
    pixels = {
        name: [np.stack(to_pixels(*polygon.T, field, _SIZE), 1) for polygon in polygons]
        for name, polygons in bones.items()
    }
    return pixels, boxes


def _tube(bone) -> np.ndarray:
    """Outline of a long bone, mm, 60 mm of it."""
    along = np.linspace(0.0, 60.0, 40)
    half = np.array([bone.half_at(place) for place in along])
    axis = np.array([math.sin(bone.tilt), math.cos(bone.tilt)])
    across = np.array([axis[1], -axis[0]])
    middle = np.array([bone.end_x, bone.end_y]) - along[:, None] * axis
    sides = [middle + sign * half[:, None] * across for sign in (-1.0, 1.0)]
    return np.concatenate([sides[0], sides[1][::-1]])


def _overlap(first, second) -> float:
    """Intersection over union."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    both = np.prod(np.maximum(high - low, 0))
    return both / (np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - both)


@pytest.mark.parametrize("laterality", ["left", "right"])
@pytest.mark.parametrize("view", ["pa", "lateral", "oblique"])
# At 7 the styloid's tip is cartilage still, which nobody can outline.
@pytest.mark.parametrize(
    ("age", "least", "mean"), [(3.0, 0.7, 0.8), (7.0, 0.65, 0.7), (9.0, 0.7, 0.8), (13.0, 0.7, 0.8)]
)
def test_boxes_are_those_of_the_phantoms(age, least, mean, view, laterality):
    overlaps = {region: [] for region in REGION_NAMES}
    for seed in range(4):
        bones, expected = _phantom(age, view, laterality, seed)
        found = regions_of(bones, (_SIZE, _SIZE), age, True)
        for region, box, wanted in zip(REGION_NAMES, found.boxes_Rx4, expected, strict=True):
            assert np.isfinite(box).all() == np.isfinite(wanted).all(), region
            if np.isfinite(box).all():
                overlaps[region].append(_overlap(box, wanted))
        assert abs(found.axis_degrees) < 4.0
    for region, values in overlaps.items():
        assert not values or (min(values) > least and np.mean(values) > mean), (region, values)


@pytest.mark.parametrize("turn", [-170.0, -90.0, -30.0, 12.0, 45.0, 90.0, 180.0])
@pytest.mark.parametrize("laterality", ["left", "right"])
def test_a_turned_arm_has_its_boxes_turned(turn, laterality):
    upright, _ = _phantom(11.0, laterality=laterality)
    straight = regions_of(upright, None, 11.0, True)
    middle = np.array([_SIZE / 2, _SIZE / 2])
    # Counter-clockwise as seen; y points down on a film.
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    matrix = np.array([[cos, -sin], [sin, cos]])
    turned = {
        name: [(polygon - middle) @ matrix + middle for polygon in polygons]
        for name, polygons in upright.items()
    }
    found = regions_of(turned, None, 11.0, True)
    difference = (found.axis_degrees - straight.axis_degrees - turn + 180) % 360 - 180
    assert abs(difference) < 1e-6
    assert -180 < found.axis_degrees <= 180
    # The hull of what was turned: the middle goes along, and no box is left behind.
    for before, after in zip(straight.boxes_Rx4, found.boxes_Rx4, strict=True):
        center = (before[:2] + before[2:]) / 2
        expected = (center - middle) @ matrix + middle
        np.testing.assert_allclose((after[:2] + after[2:]) / 2, expected, atol=1.0)


def test_no_ulnar_epiphysis_no_styloid():
    bones, _ = _phantom(11.0)
    assert np.isfinite(regions_of(bones, None).boxes_Rx4).all()
    del bones["ulna_epiphysis"]
    for age in (math.nan, 5.0, 11.0):
        present = np.isfinite(regions_of(bones, None, age).boxes_Rx4).all(axis=1)
        assert present.tolist() == [True, True, False]


def test_fused_bones_have_their_styloid_where_the_age_is_known():
    bones, _ = _phantom(17.0)
    bones = {"radius": bones["radius"], "ulna": bones["ulna"], "hand": bones["hand"]}
    for age, styloid in ((17.0, True), (0.5, False), (math.nan, False)):
        present = np.isfinite(regions_of(bones, None, age).boxes_Rx4).all(axis=1)
        assert present.tolist() == [True, True, styloid]


def test_a_bone_in_pieces_is_one_bone():
    bones, _ = _phantom(11.0)
    whole = regions_of(bones, None, 11.0, True)
    outline = bones["radius"][0]
    half = len(outline) // 2
    bones["radius"] = [
        np.concatenate([outline[:6], outline[-6:]]),
        np.concatenate([outline[5:half], outline[half:-5]]),
    ]
    pieces = regions_of(bones, None, 11.0, True)
    np.testing.assert_allclose(pieces.boxes_Rx4, whole.boxes_Rx4, atol=3.0)
    assert abs(pieces.axis_degrees - whole.axis_degrees) < 1.0


def test_what_cannot_be_told_is_set_aside():
    bones, _ = _phantom(11.0)
    with pytest.raises(BadValue, match="neither radius nor ulna"):
        regions_of({"hand": bones["hand"]}, None)
    rectangle = np.array([(0.0, 0.0), (20.0, 0.0), (20.0, 90.0), (0.0, 90.0)])
    with pytest.raises(BadValue, match="distal from proximal"):
        regions_of({"radius": [rectangle]}, None)
    both = [bones["radius"][0] + (offset, 0.0) for offset in (0.0, 600.0)]
    with pytest.raises(BadValue, match="several forearms"):
        regions_of(bones | {"radius": both}, None)


_POINT = st.tuples(st.integers(-50, 250), st.integers(-50, 250))
_POLYGONS = st.lists(st.lists(_POINT, min_size=3, max_size=8), max_size=2)


@given(st.fixed_dictionaries({name: _POLYGONS for name in BONE_LABELS}), st.floats(0, 18))
def test_whatever_is_outlined_gives_boxes_on_the_film_or_a_reason(drawn, age):
    bones = {
        name: [np.array(polygon, float) for polygon in polygons] for name, polygons in drawn.items()
    }
    try:
        found = regions_of(bones, (200, 180), age, False)
    except BadValue as error:
        assert error.reason
        return
    assert -180 < found.axis_degrees <= 180
    for box in found.boxes_Rx4:
        if np.isfinite(box).any():
            assert (box[:2] >= 0).all()
            assert (box[2:] <= (200, 180)).all()
            assert (box[2:] - box[:2] >= 4).all()


def test_masks_give_the_boxes_of_the_outlines(tmp_path):
    """Films and labels with underscores, parted by the labels that are known."""
    bones, _ = _phantom(11.0)
    words = {"radius": "radius", "ulna": "Ulna", "hand": "os_capitatum"}
    words |= {"radius_epiphysis": "radius_epiphysis", "ulna_epiphysis": "Epiphyse_Ulna"}
    folder = tmp_path / "masks"
    folder.mkdir()
    for bone, polygons in bones.items():
        mask = Image.new("L", (_SIZE, _SIZE))
        for polygon in polygons:
            ImageDraw.Draw(mask).polygon([tuple(point) for point in polygon], fill=255)
        mask.save(folder / f"exam_1_pa_{words[bone]}.png")
    output = tmp_path / "boxes.jsonl"
    convert(folder, output, progress=False)
    line = json.loads(output.read_text())
    assert line["image_id"] == "exam_1_pa"
    expected = regions_of(bones, (_SIZE, _SIZE))
    found = [line["boxes"][region] for region in REGION_NAMES]
    np.testing.assert_allclose(found, expected.boxes_Rx4, atol=4.0)
    assert abs(line["axis_degrees"] - expected.axis_degrees) < 0.5


def test_coco_outlines_of_whole_bones(tmp_path):
    bones, _ = _phantom(11.0, laterality="right")
    names = list(bones)
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": _SIZE, "height": _SIZE}],
        "categories": [{"id": n, "name": f"bone {n}"} for n in range(len(names))],
        "annotations": [
            {
                "id": n, "image_id": 1, "category_id": n, "bbox": [0, 0, 1, 1],
                "segmentation": [polygon.ravel().tolist() for polygon in bones[name]],
            }
            for n, name in enumerate(names)
        ],
    }  # fmt: skip
    (tmp_path / "coco.json").write_text(json.dumps(content))
    labels = [f"bone {n}:{name}" for n, name in enumerate(names)]
    output = tmp_path / "boxes.jsonl"
    convert(tmp_path / "coco.json", output, labels=labels, outlines=True, progress=False)
    line = json.loads(output.read_text())
    expected = regions_of(bones, (_SIZE, _SIZE))
    found = [line["boxes"][region] for region in REGION_NAMES]
    np.testing.assert_allclose(found, expected.boxes_Rx4, atol=0.01)


def test_outlines_of_real_wrists(shared_data, tmp_path):
    folder = shared_data / "grazpedwri"
    output = tmp_path / "boxes.jsonl"
    account = convert(folder / "bone_polygons.json", output, progress=False)
    # Three films have no outline of the radius.
    assert account.read == 77
    assert account.boxes["distal_radius"] == 74
    assert account.boxes["distal_ulna"] == 74
    assert account.unmapped == {"Sonstiges": 37}
    lines = {line["image_id"]: line for line in map(json.loads, output.read_text().splitlines())}
    outlines = json.loads((folder / "bone_polygons.json").read_text())
    with (folder / "dataset.csv").open(encoding="utf-8-sig") as file:
        rows = {row["filestem"]: row for row in csv.DictReader(file)}
    frontal = 0
    for name, line in lines.items():
        radius, ulna, styloid = (line["boxes"][region] for region in REGION_NAMES)
        assert abs(line["axis_degrees"]) < 45
        if radius is None or ulna is None or rows[name]["projection"] != "1":
            continue
        frontal += 1
        # On a left wrist, as films are hung, the ulna lies left of the radius.
        sign = 1 if rows[name]["laterality"] == "L" else -1
        assert sign * (radius[0] + radius[2] - ulna[0] - ulna[2]) > 0, name
        bones = {polygon["bone"] for polygon in outlines[name]["polygons"]}
        assert (styloid is not None) == (
            "Epiphyse Ulna" in bones
            or (float(rows[name]["age"]) > 13 and "Epiphyse Radius" not in bones)
        ), name
        if styloid is not None:
            assert sign * (ulna[0] + ulna[2] - styloid[0] - styloid[2]) > 0, name
        for polygon in outlines[name]["polygons"]:
            if polygon["bone"] == "Epiphyse Radius":
                points = np.array(polygon["points"])
                assert (points >= np.subtract(radius[:2], 1)).all(), name
                assert (points <= np.add(radius[2:], 1)).all(), name
    assert frontal > 50
