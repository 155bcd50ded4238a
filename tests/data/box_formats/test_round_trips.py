"""What was drawn in another tool is what `boxes.jsonl` holds, and our COCO files come back."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from etils import epath
from hypothesis import given
from hypothesis import strategies as st

from tests.data.box_formats import writers
from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.box_formats import coco
from wristmir_jax.data.box_formats.boxed_films import BoxedFilm
from wristmir_jax.data.box_formats.convert import convert
from wristmir_jax.data.box_formats.films import ReadOptions
from wristmir_jax.data.sources.boxes import read_boxes

_KINDS = [
    *((writers.coco, kind) for kind in ("box", "polygon", "runs", "coded runs")),
    *((writers.yolo, kind) for kind in ("box", "polygon")),
    *((writers.cvat, kind) for kind in ("box", "polygon", "mask", "turned box")),
    (writers.voc, None),
]


def _lines(path) -> dict[str, dict]:
    """Lines of boxes.jsonl by the film's path."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["image_path"]: line for line in lines}


def _check(path, tolerance=1e-4):
    lines = _lines(path)
    assert set(lines) == set(writers.BOXES)
    for name, boxes in writers.BOXES.items():
        assert lines[name]["image_id"] == name.removesuffix(".png")
        for region, expected in zip(REGION_NAMES, boxes, strict=True):
            found = lines[name]["boxes"][region]
            assert (found is None) == (expected is None)
            if expected is not None:
                np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.parametrize(("write", "kind"), _KINDS)
def test_every_format_gives_the_boxes_that_were_drawn(write, kind, tmp_path):
    source = write(tmp_path / "in", kind) if kind else write(tmp_path / "in")
    output = tmp_path / "boxes.jsonl"
    account = convert(source, output, labels=writers.MAPPED, progress=False)
    # Six decimals of YOLO are the coarsest.
    _check(output, 0.02)
    assert account.lines()[-1] == "read 3  written 3  rejected 0"
    assert account.boxes == {"distal_radius": 2, "distal_ulna": 3, "ulnar_styloid": 1}
    assert not account.rejected
    # Joined to films under either name.
    assert {"a", "a.png"} <= set(read_boxes(epath.Path(output)))


def test_our_coco_comes_back_through_the_command(tmp_path):
    """Pascal VOC to boxes.jsonl to COCO to boxes.jsonl."""
    images = writers.films(tmp_path / "films")
    steps = (
        ("voc", "boxes.jsonl", (f"--labels={writers.MAPPED[0]}",)),
        ("boxes.jsonl", "coco.json", ("--export=coco",)),
        ("coco.json", "again.jsonl", ()),
    )
    writers.voc(tmp_path / "voc")
    for source, target, flags in steps:
        done = subprocess.run(
            [
                sys.executable, "-m", "wristmir_jax.boxes", f"--input={tmp_path / source}",
                f"--output={tmp_path / target}", f"--images={images}", *flags,
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "read 3  written 3  rejected 0"
    _check(tmp_path / "again.jsonl")
    assert not list(tmp_path.glob("*.partial*"))


def test_what_nobody_can_say_stays_unknown(tmp_path):
    boxes = {"distal_radius": [1, 2, 30, 40], "distal_ulna": "unknown", "ulnar_styloid": None}
    lines = [
        {"image_id": "a", "boxes": boxes},
        {"image_id": "b", "boxes": dict.fromkeys(boxes, "unknown")},
    ]
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    account = convert(source, output, source_format="boxes", progress=False)
    (line,) = [json.loads(line) for line in output.read_text().splitlines()]
    assert line["boxes"] == boxes
    assert +account.boxes == {"distal_radius": 1}
    again = read_boxes(epath.Path(output))["a"].boxes
    assert again is not None
    assert np.isinf(again[1]).all() and np.isnan(again[2]).all()
    # COCO has no word for it.
    films = writers.films(tmp_path / "films")
    convert(output, tmp_path / "coco.json", images=films, export="coco", progress=False)
    content = json.loads((tmp_path / "coco.json").read_text())
    assert [item["bbox"] for item in content["annotations"]] == [[1, 2, 29, 38]]


@given(st.integers(1, 12), st.integers(1, 12), st.randoms(use_true_random=False))
def test_any_mask_has_the_hull_of_its_pixels(tmp_path_factory, height, width, random):
    mask = np.array([[random.random() < 0.2 for _ in range(width)] for _ in range(height)])
    mask[random.randrange(height), random.randrange(width)] = True
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": width, "height": height}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}
            for segmentation in (
                writers.coded_runs(mask.astype(np.uint8)),
                {"size": [height, width], "counts": writers.runs(mask.ravel(order="F"))},
            )
        ],
        "categories": [{"id": 1, "name": "distal_radius"}],
    }
    path = epath.Path(tmp_path_factory.mktemp("coco") / "coco.json")
    path.write_text(json.dumps(content))
    (film,) = coco.read(path, ReadOptions())
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    hull = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    for shape in film.shapes:
        np.testing.assert_allclose(shape.hull, hull, atol=1e-6)


_SIDE = st.floats(0, 400, allow_subnormal=False)
_BOX = st.tuples(_SIDE, _SIDE, st.floats(1, 400), st.floats(1, 400))
_FILM = st.tuples(
    st.lists(st.none() | _BOX, min_size=len(REGION_NAMES), max_size=len(REGION_NAMES)),
    st.just(math.nan) | st.floats(-179.99, 180),
)


@given(st.lists(_FILM, min_size=1, max_size=5))
def test_any_boxes_survive_coco(tmp_path_factory, drawn):
    films = []
    for place, (boxes, axis) in enumerate(drawn):
        array = np.full((len(REGION_NAMES), 4), np.nan)
        for row, box in zip(array, boxes, strict=True):
            if box is not None:
                x, y, width, height = box
                row[:] = x, y, x + width, y + height
        films.append(BoxedFilm(f"{place}.png", str(place), (800, 801), array, axis))
    path = epath.Path(tmp_path_factory.mktemp("coco") / "coco.json")
    path.write_text(json.dumps(coco.content_of(films)))
    back = list(coco.read(path, ReadOptions()))
    assert [film.name for film in back] == [film.name for film in films]
    for film, before in zip(back, films, strict=True):
        assert film.size == before.size
        np.testing.assert_allclose(film.axis_degrees, before.axis_degrees, atol=0.01)
        hulls = {shape.label: shape.hull for shape in film.shapes}
        for region, box in zip(REGION_NAMES, before.boxes_Rx4, strict=True):
            assert (region in hulls) == bool(np.isfinite(box).all())
            if region in hulls:
                np.testing.assert_allclose(hulls[region], box, atol=0.01)
