"""`prepare` asks a localiser for the regions of films that come without boxes."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.data.wrists import row, write_folder, write_lines
from tests.images.localizers import SquareLocalizer
from wristmir_jax import anatomy
from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data import localized
from wristmir_jax.data.dataset import Dataset
from wristmir_jax.data.prepare import prepare
from wristmir_jax.data.sources.folder import FolderSource
from wristmir_jax.data.sources.phantom import PhantomSource
from wristmir_jax.errors import UserError
from wristmir_jax.images.crops import crop
from wristmir_jax.images.localizing import MAX_SIDE, read_record, record_of
from wristmir_jax.images.prior import prior_boxes
from wristmir_jax.images.reading import read_radiograph


def _write_film(path, x, y, side=60, height=900, width=700):
    """A noisy film with one white square."""
    film = np.random.default_rng(x + 1000 * y).normal(0.4, 0.05, (height, width))
    if side:
        film[y : y + side, x : x + side] = 3.0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((film.clip(0, 3) * 20000).astype(np.uint16)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Films 0 to 6 with a square, 7 without; 5 is lateral, 6 of a young child, 3 has spacing."""
    rows = [row(place) for place in range(8)]
    rows[5]["view"] = "lateral"
    rows[6]["age_years"] = "3"
    rows[3]["pixel_spacing_mm"] = "0.3"
    for place in range(8):
        path = tmp_path / f"in/films/{place}.png"
        _write_film(path, 250 + 20 * place, 300 + 30 * place, 0 if place == 7 else 60)
    return write_folder(tmp_path / "in", rows)


def _prepare(source, output, localizer, **options):
    account = prepare(
        source, output, image_size=64, crop_size=32, localizer=localizer, progress=False, **options
    )
    records = Dataset(output).source("all")
    return account, {
        record["image_id"]: record for record in (records[i] for i in range(len(records)))
    }


def test_boxes_are_in_pixels_of_the_film_and_crops_are_turned(folder, tmp_path):
    account, records = _prepare(FolderSource(folder), tmp_path / "out", SquareLocalizer())
    for place in range(7):
        record = records[f"films/{place}"]
        x, y = 250 + 20 * place, 300 + 30 * place
        np.testing.assert_allclose(record["boxes"][0], [x, y, x + 60, y + 60], atol=3)
        assert record["axis_degrees"] == 20
        film = read_radiograph(folder / f"films/{place}.png").pixels
        side = anatomy.region("distal_radius").crop_mm / 0.3 if place == 3 else None
        np.testing.assert_array_equal(
            record["crops"][0], crop(film, record["boxes"][0], 32, 20, side)
        )
    nothing = records["films/7"]
    assert nothing["crop_present"].tolist() == [0, 0, 0]
    assert np.isnan(nothing["boxes"]).all()
    assert np.isnan(nothing["axis_degrees"])
    assert nothing["image"].std() > 0, "the film itself is kept"
    assert account.written == 8
    assert account.lines()[-4:] == [
        "distal_radius: 7 cropped, 1 not found",
        "distal_ulna: 7 cropped, 1 not found",
        "ulnar_styloid: 0 cropped, 6 not found, 1 not scored in this view, "
        "1 not ossified at this age",
        "read 8  written 8  rejected 0",
    ]
    dataset = Dataset(tmp_path / "out")
    assert dataset.info.localizer == "custom:f00df00d"
    axes = {
        labels["image_id"]: labels["axis_degrees"] for labels in dataset.index("all").to_pylist()
    }
    assert axes["films/0"] == 20
    assert np.isnan(axes["films/7"])


def test_what_is_not_ossified_is_left_out_whatever_is_found(folder, tmp_path):
    class Everything(SquareLocalizer):
        def _locate(self, film):
            found = super()._locate(film)
            found.boxes[2] = found.boxes[1]
            return found

    _, records = _prepare(FolderSource(folder), tmp_path / "out", Everything())
    present = [records[f"films/{place}"]["crop_present"].tolist() for place in range(8)]
    assert present == [*[[1, 1, 1]] * 5, [1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_half_boxes_and_boxes_beyond_the_film_are_not_found(folder, tmp_path):
    class Careless(SquareLocalizer):
        def _locate(self, film):
            found = super()._locate(film)
            found.boxes[0] += 5000
            found.boxes[1, 2] = np.nan
            found.boxes[2] = [40, 40, 30, 30]
            return found

    account, records = _prepare(FolderSource(folder), tmp_path / "out", Careless())
    assert account.written == 8
    assert not any(record["crop_present"].any() for record in records.values())


def test_localisers_see_small_films_in_even_batches(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(localized, "_BATCH", 3)
    boxes = write_lines(
        tmp_path / "boxes.jsonl",
        [{"image_id": "films/2", "boxes": {"distal_radius": [10, 20, 50, 70]}, "axis_degrees": -5}],
    )
    (folder / "films/4.png").write_text("no film")
    localizer = SquareLocalizer()
    account, records = _prepare(FolderSource(folder, None, boxes), tmp_path / "out", localizer)
    assert account.rejected == {"not a PNG or JPEG image": 1}
    assert [len(batch) for batch in localizer.batches] == [3, 3]
    for film in itertools.chain(*localizer.batches):
        assert film.dtype == np.uint8
        assert film.shape == (MAX_SIDE, round(700 * MAX_SIDE / 900))
    assert records["films/2"]["boxes"][0].tolist() == [10, 20, 50, 70]
    assert records["films/2"]["axis_degrees"] == -5


def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path):
    rows = [row(place) for place in range(70)]
    rows[11]["view"] = "swimmer"
    boxes = [
        {"image_id": f"films/{place}", "boxes": {"distal_radius": [10, 20, 50, 70]}}
        for place in range(20, 60, 3)
    ]
    for place in range(70):
        side = place % 7 * 3
        _write_film(tmp_path / f"in/films/{place}.png", 20 + place, 30, side, 160, 140)
    (tmp_path / "in/films/40.png").write_text("no film")
    folder = write_folder(tmp_path / "in", rows)
    source = FolderSource(folder, None, write_lines(tmp_path / "boxes.jsonl", boxes))
    batches = []
    for workers in (0, 2):
        localizer = SquareLocalizer()
        output = tmp_path / str(workers)
        account, _ = _prepare(source, output, localizer, num_workers=workers)
        assert account.written == 68
        batches.append([len(batch) for batch in localizer.batches])
    assert batches[0] == batches[1]
    assert batches[0][0] == 32
    names = sorted(path.name for path in (tmp_path / "0").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "2").iterdir())
    for name in names:
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


def test_prior_and_none(folder, tmp_path):
    account, records = _prepare(FolderSource(folder), tmp_path / "prior", "prior")
    film = read_radiograph(folder / "films/0.png").pixels
    expected = prior_boxes(film, "pa", "left", REGION_NAMES, 10.5)
    np.testing.assert_array_equal(records["films/0"]["boxes"], expected)
    assert Dataset(tmp_path / "prior").info.localizer == "prior"
    account, records = _prepare(FolderSource(folder), tmp_path / "none", "none")
    assert not any(record["crop_present"].any() for record in records.values())
    assert "distal_radius: 0 cropped, 8 not found" in account.lines()
    assert Dataset(tmp_path / "none").info.localizer == "none"


def test_a_source_with_boxes_opens_no_localiser(tmp_path, monkeypatch):
    def opened(name):
        raise AssertionError("phantoms know where their bones are")

    monkeypatch.setattr(localized, "open_localizer", opened)
    account, records = _prepare(PhantomSource(3, 0, 64), tmp_path / "out", "package")
    assert all(record["crop_present"][0] for record in records.values())
    assert account.regions["distal_radius"]["cropped"] == len(records)
    assert Dataset(tmp_path / "out").info.localizer == "package"


def test_a_localiser_that_is_not_there_is_told_in_one_line(folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "wristmir_jax.prepare", "--source=folder", f"--input={folder}",
         f"--output={tmp_path / 'out'}", "--localizer=/nowhere/weights"],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert "--localizer=/nowhere/weights" in lines[0]
    assert "prior" in lines[0]
    assert not (tmp_path / "out").exists()


def test_an_old_data_set_is_told_in_one_line(folder, tmp_path):
    _prepare(FolderSource(folder), tmp_path / "out", "none")
    path = tmp_path / "out" / "wristmir.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({**info, "record_version": 1}))
    with pytest.raises(UserError, match=r"record_version 1.*prepare the data set again"):
        Dataset(tmp_path / "out")


def test_records_of_localisers_are_read_back():
    localizer = SquareLocalizer("0a1b2c3d")
    for name in ("package", "gs://bucket/weights", "/models/a:b"):
        assert read_record(record_of(name)) == (name, "")
        assert read_record(record_of(name, localizer)) == (name, "0a1b2c3d")
    assert read_record("prior") == ("prior", "")
