"""The localiser through the commands: trained, taken up again, asked about films in files."""

import csv
import json
import signal
import time

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.commands import refuse, run_tool, start, succeed
from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.sources.fracatlas import COLUMNS
from wristmir_jax.images import phantom
from wristmir_jax.models.localizer_file import read_localizer

CONFIG = "configs/localizer.py"
SMALL = dict(
    config__localizer__size=64,
    config__localizer__widths="(8,8,16,16)",
    config__localizer__blocks="(1,1,1,1)",
    config__localizer__joint=8,
    config__batch_size=8,
    config__total_steps=4,
    config__log_every_steps=1,
    config__checkpoint_every_steps=2,
    config__optimizer__warmup_steps=1,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    succeed("prepare", source="phantom", num_exams=16, image_size=64, crop_size=16,
            disturbance=1, num_phrasings=1, output=folder / "data")  # fmt: skip
    return folder / "data"


def metrics(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_that_was_cut_off_goes_on_as_if_it_was_not(dataset, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    succeed("train", config=CONFIG, workdir=whole, config__dataset=dataset, **SMALL)
    # The schedule depends on the total, so the run is cut off by a signal, not by its end.
    log = tmp_path / "log"
    process = start("train", log, config=CONFIG, workdir=parts, config__dataset=dataset, **SMALL)
    for _ in range(600):
        if (parts / "metrics.jsonl").exists() and metrics_so_far(parts) >= 1:
            break
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    succeed("train", config=CONFIG, workdir=parts, config__dataset=dataset, **SMALL)
    assert metrics(parts) == metrics(whole)
    assert [line["step"] for line in metrics(whole)] == [1, 2, 3, 4]

    # Another run may start from it, if its network is the same.
    other = SMALL | {"config__localizer__joint": 16}
    line = refuse("train", config=CONFIG, workdir=tmp_path / "other", config__dataset=dataset,
                  config__pretrained__localizer=whole, **other)  # fmt: skip
    assert "config.pretrained.localizer" in line and "joint=8" in line

    # Both have the same localiser; its file says how sure it may be.
    files = [tmp_path / f"{workdir.name}.safetensors" for workdir in (whole, parts)]
    for workdir, file in zip((whole, parts), files, strict=True):
        done = run_tool("export_localizer", workdir=workdir, dataset=dataset, output=file)
        assert done.returncode == 0, done.stderr
        assert "synthetic" in done.stdout and "| confidence |" in done.stdout
    one, other = map(read_localizer, files)
    np.testing.assert_array_equal(one.calibration, other.calibration)
    assert one.calibration is not None
    for name, value in one.parameters.items():
        np.testing.assert_array_equal(other.parameters[name], value)


def metrics_so_far(workdir) -> int:
    return (workdir / "metrics.jsonl").read_text().count("\n")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Eight tidy films, one that is damaged, and their boxes by name."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "a").mkdir()
    truth = {}
    for exam in phantom.exams(30, seed=77, image_size=256):
        view = exam.views[0]
        if view.view == "pa" and len(truth) < 8:
            name = f"a/{exam.exam_id}.png"
            Image.fromarray(view.pixels).save(folder / name)
            truth[name] = view.boxes
    data = (folder / name).read_bytes()
    (folder / "broken.png").write_bytes(data[: len(data) // 2])
    return folder, truth


def read(path):
    return {row["image_path"]: row for row in map(json.loads, path.read_text().splitlines())}


def test_bones_are_found_on_files(films, tmp_path):
    folder, truth = films
    said = succeed("localize", input=folder, output=tmp_path / "boxes.jsonl",
                   preview=tmp_path / "look", num_workers=1)  # fmt: skip
    assert "read 9  written 8  rejected 1" in said
    lines = read(tmp_path / "boxes.jsonl")
    assert list(lines) == sorted(truth)
    rejected = read(tmp_path / "boxes.jsonl.rejected.jsonl")
    assert set(rejected) == {"broken.png"} and rejected["broken.png"]["reason"] == "truncated image"
    assert not list(tmp_path.glob("*.partial*"))
    pictures = sorted(path.name for path in (tmp_path / "look").iterdir())
    assert pictures == sorted(f"{name.replace('/', '__')}.png" for name in truth)

    right = {region: [] for region in REGION_NAMES}
    for name, boxes in truth.items():
        assert lines[name]["view"] == "pa"
        assert abs(lines[name]["axis_degrees"]) < 40
        for region, box in zip(REGION_NAMES, boxes, strict=True):
            if not np.isnan(box).any():
                right[region].append(agree(lines[name]["boxes"][region], box))
    assert np.mean(right["distal_radius"]) >= 0.85
    assert np.mean(right["distal_ulna"]) >= 0.85
    # The smallest of them.
    assert np.mean(right["ulnar_styloid"]) >= 0.5


def agree(found, box) -> bool:
    """Whether a box was found that overlaps the true one by an intersection over union of .5."""
    if found is None:
        return False
    low, high = np.maximum(found[:2], box[:2]), np.minimum(found[2:], box[2:])
    common = np.prod(np.maximum(high - low, 0))
    areas = [np.prod(np.subtract(corners[2:], corners[:2])) for corners in (found, box)]
    return bool(common / (sum(areas) - common) >= 0.5)


def test_localising_goes_on_where_it_was_killed(films, tmp_path):
    folder, _ = films
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    succeed("localize", input=folder, output=whole, num_workers=1)
    journal = tmp_path / "parts.jsonl.partial"
    log = tmp_path / "log"
    process = start("localize", log, input=folder, output=parts, num_workers=1)
    for _ in range(600):
        if journal.exists() and journal.read_text().count("\n") > 2:
            break
        time.sleep(0.05)
    process.kill()
    process.wait(60)
    if not parts.exists():
        # What a kill in the middle of a line leaves.
        with journal.open("a") as file:
            file.write('{"image_path": "a/ph')
    said = succeed("localize", input=folder, output=parts, num_workers=1)
    assert parts.read_text() == whole.read_text()
    assert parts.exists() and not journal.exists()
    assert "of an earlier run" in said or "read 9" in said


def test_bad_input_is_told_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    out = tmp_path / "boxes.jsonl"
    assert "holds no .png" in refuse("localize", input=tmp_path / "empty", output=out)
    assert "does not exist" in refuse("localize", input=tmp_path / "none", output=out)
    (tmp_path / "no.safetensors").write_bytes(b"no")
    line = refuse(
        "localize", input=tmp_path / "empty", output=out, localizer=tmp_path / "no.safetensors"
    )
    assert "no.safetensors" in line
    assert "--output" in refuse("localize", input=tmp_path / "empty", output=tmp_path / "x" / "y")


def test_films_that_nobody_drew_on_become_films_to_train_on(films, tmp_path):
    """`tools.fracatlas_boxes` on a set of the same layout: arms are phantoms, legs are stripes."""
    folder, truth = films
    atlas = tmp_path / "atlas"
    (atlas / "images" / "Fractured").mkdir(parents=True)
    (atlas / "images" / "Non_fractured").mkdir()
    rows, true_box = [], {}
    for name, boxes in truth.items():
        stem = f"arm{len(rows)}"
        film = Image.open(folder / name)
        film.point(lambda level: level / 257).convert("L").save(
            atlas / "images" / "Non_fractured" / f"{stem}.jpg"
        )
        rows.append({"image_id": f"{stem}.jpg", "hand": 1})
        true_box[stem] = boxes[0]
    copy = Image.open(atlas / "images" / "Non_fractured" / "arm0.jpg")
    copy.save(atlas / "images" / "Non_fractured" / "copy.jpg", quality=60)
    rows.append({"image_id": "copy.jpg", "hand": 1})
    rows[-2]["multiscan"] = 1
    for place in range(12):
        pattern = np.sin(np.arange(200) * (place + 1) / 40)[:, None] * np.cos(np.arange(150) / 9)
        leg = Image.fromarray((127 + 100 * pattern).astype(np.uint8)).rotate(13 * place)
        leg.save(atlas / "images" / "Non_fractured" / f"leg{place}.jpg")
        rows.append({"image_id": f"leg{place}.jpg", "leg": 1})
    with (atlas / "dataset.csv").open("w") as file:
        writer = csv.DictWriter(file, COLUMNS, restval=0)
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "judged.csv").write_text("image,wrist,right\narm0.jpg,yes,\n")

    output = tmp_path / "films"
    done = run_tool("fracatlas_boxes", input=atlas, output=output, without=tmp_path / "judged.csv")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = {
        line["image_id"]: line["boxes"]
        for line in map(json.loads, (output / "boxes.jsonl").read_text().splitlines())
    }
    arms = {name for name in lines if name.startswith("arm")}
    legs = {name for name in lines if name.startswith("leg")}
    assert set(lines) == arms | legs
    # arm0 is judged, and the last arm has several exposures.
    assert not arms & {"arm0", f"arm{len(truth) - 1}"} and len(arms) >= 4
    assert len(legs) == len(arms)
    assert all(box is None for name in legs for box in lines[name].values())
    # Boxes that most poses agree on are right where they are said.
    said = [name for name in arms if lines[name]["distal_radius"] != "unknown"]
    right = [agree(lines[name]["distal_radius"], true_box[name]) for name in said]
    assert len(said) >= 3 and np.mean(right) >= 0.75

    account = succeed("prepare", source="folder", input=output, boxes=output / "boxes.jsonl",
                      image_size=64, crop_size=16, output=tmp_path / "data")  # fmt: skip
    assert f"written {len(lines)}" in account

    # What was left out would have been found.
    assert run_tool("fracatlas_boxes", input=atlas, output=output).returncode == 0
    whole = (output / "boxes.jsonl").read_text()
    assert '"arm0"' in whole or '"copy"' in whole

    (tmp_path / "judged.csv").write_text("image\nelsewhere.jpg\n")
    refused = run_tool(
        "fracatlas_boxes", input=atlas, output=output, without=tmp_path / "judged.csv"
    )
    assert refused.returncode == 2 and "elsewhere" in refused.stderr
    assert (output / "boxes.jsonl").read_text() == whole
