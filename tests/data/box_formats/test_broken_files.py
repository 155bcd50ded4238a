"""What is broken is named by file and place; what cannot be used is set aside and counted."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.data.box_formats import writers
from wristmir_jax.data.box_formats.convert import convert
from wristmir_jax.errors import UserError

_IMAGE = {"id": 1, "file_name": "a.png", "width": 90, "height": 120}
_BOX = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}


def _coco(images=(_IMAGE,), annotations=(_BOX,), name="distal_radius") -> str:
    categories = [{"id": 1, "name": name}]
    return json.dumps(
        {"images": list(images), "annotations": list(annotations), "categories": categories}
    )


def _box(**changes) -> str:
    return _coco(annotations=[_BOX | changes])


def _cvat(shape, head='<image name="a.png" width="90" height="120">') -> str:
    return f"<annotations>\n{head}\n{shape}\n</image>\n</annotations>"


def _voc(xmin="1", xmax="20", name="<name>distal_radius</name>") -> str:
    return (
        f"<annotation>\n<size><width>90</width><height>120</height></size>\n<object>{name}\n"
        f"<bndbox><xmin>{xmin}</xmin><ymin>3</ymin><xmax>{xmax}</xmax><ymax>9</ymax></bndbox>\n"
        "</object>\n</annotation>"
    )


def _bones(points) -> str:
    film = {"width": 90, "height": 120, "polygons": [{"bone": "Radius", "points": points}]}
    return json.dumps({"film_a": film})


_CUT = _coco()[:-30].replace(",", ",\n")
_DOCTYPE = '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "bb">]>\n<annotations>&b;</annotations>'
_CVAT_BOX = '<box label="distal_radius" xtl="1" ytl="2" xbr="{}" ybr="9"/>'
_MASK = '<mask label="distal_radius" rle="2, 2" left="1" top="2" width="5" height="9"/>'

BROKEN = {
    "cut off JSON": ("x.json", _CUT, f"line {_CUT.count(chr(10)) + 1}", "cut off"),
    "not COCO": ("x.json", '{"images": [], "annotations": []}', "categories", "missing"),
    "NaN": ("x.json", _box(bbox=[1, 2, float("nan"), 4]), "annotation 7", "not a finite"),
    "infinite": ("x.json", _box(bbox=[1, 2, 10**400, 4]), "annotation 7", "not a number"),
    "three numbers": ("x.json", _box(bbox=[1, 2, 3]), "annotation 7", "bbox must be"),
    "words": ("x.json", _box(bbox=[1, 2, "wide", 4]), "annotation 7", "not a number"),
    "empty box": ("x.json", _box(bbox=[1, 2, 0, 4]), "annotation 7", "empty"),
    "turned over": ("x.json", _box(bbox=[9, 9, -4, 4]), "annotation 7", "empty"),
    "outside": ("x.json", _box(bbox=[80, 2, 40, 4]), "annotation 7", "outside"),
    "odd polygon": ("x.json", _box(bbox=None, segmentation=[[1] * 7]), "annotation 7", "pairs"),
    "short mask": (
        "x.json", _box(bbox=None, segmentation={"size": [120, 90], "counts": "0"}),
        "annotation 7", "add up",
    ),
    "mask of another film": (
        "x.json", _box(bbox=None, segmentation={"size": [90, 120], "counts": [10800]}),
        "annotation 7", "disagrees",
    ),
    "empty mask": (
        "x.json", _box(bbox=None, segmentation={"size": [120, 90], "counts": [10800]}),
        "annotation 7", "empty",
    ),
    "no id": ("x.json", _coco(images=[{"file_name": "a.png"}]), "images: entry 1", "'id'"),
    "same id": ("x.json", _coco(images=[_IMAGE, _IMAGE]), "image 1", "twice"),
    "no film": ("x.json", _box(image_id=5), "annotation 7", "not listed"),
    "film of no size": ("x.json", _coco(images=[_IMAGE | {"width": 0}]), "image 1", "0 x 120"),
    "unmapped": ("x.json", _coco(name="bone"), "bone", "--labels=LABEL:region"),
    "cut off XML": ("x.xml", "<annotations>\n<image", "line 2", "cut off"),
    "entities": ("x.xml", _DOCTYPE, "line 2", "DOCTYPE"),
    "another XML": ("x.xml", "<svg></svg>", "line 1", "<svg>"),
    "video": ("x.xml", "<annotations>\n<track id='0'/></annotations>", "line 2", "for images"),
    "CVAT not finite": ("x.xml", _cvat(_CVAT_BOX.format("inf")), "line 3", "xbr is not a finite"),
    "CVAT empty": ("x.xml", _cvat(_CVAT_BOX.format("1")), "line 3", "empty"),
    "CVAT mask": ("x.xml", _cvat(_MASK), "line 3", "add up to 5 x 9"),
    "CVAT no size": ("x.xml", _cvat("", '<image name="a.png">'), "line 2", "width is not"),
    "CVAT no label": ("x.xml", _cvat('<box xtl="1"/>'), "line 3", "no label"),
    "CVAT points": ("x.xml", _cvat('<points points="1,2"/>'), "line 3", "neither box"),
    "VOC not finite": ("x.xml", _voc(xmax="nan"), "line 4", "xmax is not a finite"),
    "VOC turned over": ("x.xml", _voc(xmin="30"), "line 4", "empty"),
    "VOC no name": ("x.xml", _voc(name=""), "line 3", "no <name>"),
    "two points": ("x.json", _bones([[1, 2], [3, 4]]), "film film_a, polygon 1", "three"),
    "bone not finite": (
        "x.json", _bones([[1, 2], [3, 4], [5, float("inf")]]), "film_a, polygon 1", "finite",
    ),
    "lines": ("x.jsonl", '{"image_id": "a", "boxes": {}}\nno', "line 2", "not a JSON"),
    "unknown": ("x.bmp", "BM", "x.bmp", "--format"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_line_with_the_place_and_the_reason(case, tmp_path):
    name, content, place, reason = BROKEN[case]
    source, output = tmp_path / name, tmp_path / "boxes.jsonl"
    source.write_text(content)
    with pytest.raises(UserError) as raised:
        convert(source, output, progress=False)
    message = str(raised.value)
    assert "\n" not in message
    assert str(source) in message
    assert place in message
    assert reason in message
    assert [path.name for path in tmp_path.iterdir()] == [name], "something half-written is left"


@pytest.mark.parametrize("case", ["cut off JSON", "entities", "VOC not finite", "empty box"])
def test_the_command_ends_with_status_2(case, tmp_path):
    name, content, place, reason = BROKEN[case]
    (tmp_path / name).write_text(content)
    line = _refused(f"--input={tmp_path / name}", f"--output={tmp_path / 'out.jsonl'}")
    assert place in line
    assert reason in line


def _refused(*flags: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "wristmir_jax.boxes", *flags],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    *progress, line = done.stderr.strip().splitlines()
    assert all(entry.startswith("read boxes:") for entry in progress), done.stderr
    assert line.startswith("error: ") or "error: " in line
    return line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"export": "yolo"}, "--export=yolo"),
        ({"source_format": "pdf"}, "--format=pdf"),
        ({"labels": ["radius"]}, "--labels=radius"),
        ({"labels": ["radius:distal_tibia"]}, "distal_tibia"),
        ({"labels": ["tibia:tibia"], "outlines": True}, "unknown bone"),
        ({"images": "nowhere"}, "--images=nowhere"),
        ({"export": "coco"}, ""),
    ],
)
def test_wrong_arguments_are_named(changes, words, tmp_path):
    source = tmp_path / "x.json"
    source.write_text(_coco())
    if not words:
        convert(source, tmp_path / "out", progress=False, **changes)
        assert json.loads((tmp_path / "out").read_text())["images"][0]["width"] == 90
        return
    with pytest.raises(UserError, match=words):
        convert(source, tmp_path / "out", progress=False, **changes)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("0 0.5 0.5 0.2 0.2\n0 0.5 nan 0.2 0.2", ("line 2", "finite")),
        ("0 0.5 0.5 0.2", ("line 1", "3 numbers")),
        ("\n9 0.5 0.5 0.2 0.2", ("line 2", "class '9'")),
        ("0 0.5 0.5 0 0.2", ("line 1", "empty")),
        ("0 1.5 0.5 0.2 0.2", ("line 1", "outside")),
    ],
)
def test_broken_lines_of_yolo(lines, words, tmp_path):
    labels = writers.yolo(tmp_path)
    for file in labels.glob("*.txt"):
        file.write_text("")
    (labels / "a.txt").write_text(lines)
    with pytest.raises(UserError) as raised:
        convert(labels, tmp_path / "out.jsonl", progress=False)
    for word in (*words, str(labels / "a.txt")):
        assert word in str(raised.value)


def test_yolo_without_names_says_what_to_give(tmp_path):
    labels = writers.yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(UserError, match="--names"):
        convert(labels, tmp_path / "out.jsonl", progress=False)
    names = writers.LABELS
    account = convert(labels, tmp_path / "out.jsonl", names=names, progress=False)
    assert account.written == 3
    assert account.unmapped == {"styloid": 1}


def test_bad_records_are_set_aside_and_counted(tmp_path):
    films = [_IMAGE | {"id": number, "file_name": f"{number}.png"} for number in range(1, 8)]
    films[5]["file_name"] = "1.png"
    films[2] |= {"width": 120, "height": 90}
    films[3] |= {"width": 180, "height": 240}
    boxes = [
        _BOX | {"id": 10 + film, "image_id": film, "bbox": box}
        for film, box in (
            (1, [1, 2, 30, 40]),
            (2, [-5, 100, 30, 30]),
            (3, [1, 2, 30, 40]),
            (4, [10, 20, 30, 40]),
            (5, [500, 20, 30, 40]),
            (6, [1, 2, 3, 4]),
        )
    ]
    boxes.append(_BOX | {"id": 30, "image_id": 1, "category_id": 4})
    boxes.append(_BOX | {"id": 31, "image_id": 4, "bbox": [20, 40, 40, 40]})
    source, output = tmp_path / "x.json", tmp_path / "boxes.jsonl"
    source.write_text(_coco(films, boxes))
    images = tmp_path / "films"
    images.mkdir()
    for number in (1, 2, 3, 4, 5):
        Image.fromarray(np.zeros((120, 90), np.uint8)).save(images / f"{number}.png")
    account = convert(source, output, images=images, progress=False)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert {line["image_path"]: line["boxes"]["distal_radius"] for line in lines} == {
        "1.png": [1, 2, 31, 42],
        # The overhang is cut off.
        "2.png": [0, 100, 25, 120],
        # Stated twice as large as the film is, and drawn in two parts.
        "4.png": [5, 10, 30, 40],
    }
    assert account.rejected == {
        "the box lies outside the film": 1,
        "the stated size disagrees with the film": 1,
        "the film stands twice": 1,
        "category that is not listed": 1,
    }
    assert (account.cut, account.scaled, account.merged, account.not_in_images) == (1, 1, 1, 1)
    assert account.first_merged == "4.png"
    assert account.lines()[-1] == "read 7  written 3  rejected 4"
    rejected = [
        json.loads(line) for line in (tmp_path / "boxes.rejected.jsonl").read_text().splitlines()
    ]
    places = {line["reason"]: line["detail"] for line in rejected}
    assert places["category that is not listed"].endswith("annotation 30")
    assert "image 6" in places["the film stands twice"]
    assert "image 3: 120 x 90, film 90 x 120" in places["the stated size disagrees with the film"]


def test_films_of_one_name_in_two_folders_keep_their_paths(tmp_path):
    films = [
        _IMAGE | {"id": n, "file_name": f"{folder}/a.png"} for n, folder in ((1, "x"), (2, "y"))
    ]
    source, output = tmp_path / "x.json", tmp_path / "boxes.jsonl"
    source.write_text(_coco(films, [_BOX, _BOX | {"id": 8, "image_id": 2}]))
    convert(source, output, progress=False)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["image_path"] for line in lines] == ["x/a.png", "y/a.png"]
    assert not any("image_id" in line for line in lines)
