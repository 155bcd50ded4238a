"""`python -m wristmir_jax.prepare`, as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.data.wrists import row, write_film, write_folder
from wristmir_jax.data.dataset import Dataset
from wristmir_jax.data.prepare import prepare
from wristmir_jax.data.sources import open_source
from wristmir_jax.data.sources.folder import FolderSource
from wristmir_jax.errors import UserError


def _command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "wristmir_jax.prepare", *flags]


def _run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(*flags), check=False, capture_output=True, text=True, timeout=300
    )


def _refused(*flags: str) -> str:
    """The one line on stderr of a command that must exit with 2."""
    result = _run(*flags)
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_phantoms(tmp_path):
    output = tmp_path / "phantoms"
    result = _run(
        "--source=phantom", "--num_exams=6", f"--output={output}", "--num_workers=2",
        "--image_size=64", "--crop_size=32",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    dataset = Dataset(output)
    source = dataset.source("all")
    count = len(source)
    assert result.stdout.splitlines()[-1] == f"read {count}  written {count}  rejected 0"
    assert dataset.info.synthetic
    assert "synthetic" in dataset.info.title
    assert len({source[place]["exam_id"] for place in range(count)}) == 6
    for place in range(count):
        record = source[place]
        assert record["image"].shape == (64, 64)
        assert record["image"].std() > 5
        assert record["crops"].shape == (3, 32, 32)
        assert record["crop_present"][0] == 1
        assert record["caption"]
        assert len(record["caption_phrasings"]) == 6
        assert len(record["region_caption_phrasings"]) == 18
        assert record["cast"] in (0, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["phantoms"]
    stored = b"".join(path.read_bytes() for path in output.iterdir())
    assert b"IMPRESSION" not in stored.upper(), "report text does not belong in records"


def test_bad_rows_are_set_aside_and_counted(tmp_path):
    folder = write_folder(
        tmp_path / "in",
        [
            *(row(place) for place in range(5)),
            row(5, image_path="films/text.png"),
            row(6, image_path="films/gone.png"),
            row(7, view="swimmer"),
            row(8, age_years="ten"),
            row(9, patient_id=""),
            row(10, laterality="both"),
        ],
        films=False,
    )
    for place in (0, 1, 2, 3, 4, 7, 8, 9, 10):
        write_film(folder / f"films/{place}.png", place)
    (folder / "films/text.png").write_text("This is no picture.\n")
    output = tmp_path / "out"
    result = _run("--source=folder", f"--input={folder}", f"--output={output}", "--localizer=prior")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "read 11  written 5  rejected 6"
    lines = [json.loads(line) for line in (output / "rejected.jsonl").read_text().splitlines()]
    by_reason = {line["reason"]: line for line in lines}
    assert set(by_reason) == {
        "not a PNG or JPEG image",
        "no such file",
        "unknown view",
        "age_years is not a number in range",
        "patient_id is empty",
        "unknown laterality",
    }
    assert by_reason["unknown view"]["row"] == 8
    assert by_reason["not a PNG or JPEG image"]["image"] == "films/text"
    assert Dataset(output).info.rejected["no such file"] == 1
    assert "1  unknown view" in result.stdout


def test_a_missing_column_is_named(tmp_path):
    rows = [{name: value for name, value in row(0).items() if name != "laterality"}]
    folder = write_folder(tmp_path / "in", rows)
    output = tmp_path / "out"
    line = _refused("--source=folder", f"--input={folder}", f"--output={output}")
    assert "manifest.csv" in line
    assert "'laterality'" in line
    assert not output.exists()


def test_wrong_flags_are_one_line_each(tmp_path):
    folder = write_folder(tmp_path / "in", [row(0)])
    base = ("--source=folder", f"--input={folder}", f"--output={tmp_path / 'out'}")
    for flags, words in (
        (base[:2], "--output"),
        (("--source=dicomdir", *base[1:]), "source"),
        ((*base, "--test_fraction=1.5"), "--test_fraction"),
    ):
        assert words in _refused(*flags), flags
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_wrong_sources_are_refused_by_name(tmp_path):
    folder = str(write_folder(tmp_path / "in", [row(0)]))
    empty = tmp_path / "empty"
    empty.mkdir()
    for name, path, files, words in (
        ("dicomdir", folder, {}, "--source"),
        ("folder", None, {}, "--input"),
        ("folder", str(empty), {}, r"manifest\.csv"),
        ("folder", str(empty / "none.csv"), {}, r"none\.csv"),
        ("folder", folder, {"boxes": "none.jsonl"}, r"none\.jsonl.*--boxes"),
        ("folder", folder, {"findings": "none.jsonl"}, r"none\.jsonl.*--findings"),
        ("fracatlas", str(empty), {}, "images/Fractured"),
        ("grazpedwri", str(empty), {}, r"dataset\.csv"),
        ("grazpedwri", folder, {"findings": "F.jsonl"}, "--findings"),
        ("phantom", folder, {}, "--input"),
        ("phantom", None, {"num_exams": 0}, "--num_exams"),
    ):
        with pytest.raises(UserError, match=words):
            open_source(name, path, **files)


def test_wrong_arguments_write_nothing(tmp_path):
    source = FolderSource(write_folder(tmp_path / "in", [row(0)]))
    for arguments, words in (
        ({"image_size": 0}, "--image_size"),
        ({"crop_size": 2}, "--crop_size"),
        ({"num_phrasings": 0}, "--num_phrasings"),
        ({"output": "gs://bucket/out"}, "mount"),
    ):
        with pytest.raises(UserError, match=words):
            prepare(
                source,
                **(
                    {"output": tmp_path / "out", "localizer": "prior", "progress": False}
                    | arguments
                ),
            )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_nothing_usable_leaves_nothing(tmp_path):
    folder = write_folder(tmp_path / "in", [row(0)], films=False)
    with pytest.raises(UserError, match="1 no such file"):
        prepare(FolderSource(folder), tmp_path / "out", localizer="prior", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_an_existing_output_is_replaced_only_when_told(tmp_path):
    source = FolderSource(write_folder(tmp_path / "in", [row(place) for place in range(3)]))
    output = tmp_path / "out"
    prepare(source, output, localizer="prior", progress=False)
    before = (output / "wristmir.json").read_bytes()
    with pytest.raises(UserError, match="--overwrite"):
        prepare(source, output, image_size=64, localizer="prior", progress=False)
    assert (output / "wristmir.json").read_bytes() == before
    prepare(source, output, image_size=64, overwrite=True, localizer="prior", progress=False)
    assert Dataset(output).info.image_size == 64
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    # What prepare did not write is never deleted.
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="precious"):
        prepare(source, precious, overwrite=True, localizer="prior", progress=False)
    assert (precious / "thesis.txt").read_text() == "years of work"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="watches processes in /proc")
def test_a_kill_leaves_no_output_and_no_worker(tmp_path):
    folder = write_folder(tmp_path / "in", [row(place) for place in range(400)])
    output = tmp_path / "out"
    with subprocess.Popen(
        _command(
            "--source=folder", f"--input={folder}", f"--output={output}", "--num_workers=2",
            "--image_size=512", "--localizer=prior",
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("out.partial-*/*.unfinished")):
            assert process.poll() is None, "it ended before it wrote anything"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        children = _descendants(process.pid)
        os.kill(process.pid, signal.SIGKILL)
    assert children
    assert not output.exists()
    deadline = time.monotonic() + 30
    while any(_alive(child) for child in children):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.1)


def _descendants(pid: int) -> list[int]:
    children = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children += [int(child) for child in (task / "children").read_text().split()]
    return children


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_records_do_not_depend_on_the_number_of_workers(tmp_path):
    folder = write_folder(tmp_path / "in", [row(place) for place in range(30)])
    for workers in (1, 2):
        result = _run(
            "--source=folder", f"--input={folder}", f"--output={tmp_path / str(workers)}",
            f"--num_workers={workers}", "--localizer=prior",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "2").iterdir())
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


@pytest.mark.slow
def test_all_films_of_fracatlas_are_accounted_for(shared_data, tmp_path):
    result = _run(
        "--source=fracatlas", f"--input={shared_data / 'fracatlas'}", f"--output={tmp_path / 'out'}"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "read 3031  written 2985  rejected 46"
    dataset = Dataset(tmp_path / "out")
    assert dataset.info.regions == ()
    assert dataset.info.rejected == {"truncated image": 46}
    index = dataset.index("all")
    fractures = np.array(index["fracture"])
    assert (fractures == 1).sum() == 512


def test_the_public_wrists_that_are_here_are_prepared(shared_data, tmp_path):
    result = _run(
        "--source=grazpedwri", f"--input={shared_data / 'grazpedwri'}",
        f"--output={tmp_path / 'out'}", "--localizer=prior",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "read 20327  written 8  rejected 20319"
    assert "20319  no image file" in result.stdout
    assert len(result.stdout.splitlines()) < 40
    lines = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"reason": "no image file", "count": 20319}]
    dataset = Dataset(tmp_path / "out")
    assert "AO codes" in dataset.info.title
    records = [dataset.source("all")[place] for place in range(8)]
    by_id = {record["image_id"]: record for record in records}
    torus = by_id["0001_1297860395_01_WRI-L1_M014"]
    assert torus["exam_id"] == "1_1_left"
    assert torus["fracture"] == 1
    assert torus["cast"] == 0, "an empty flag is a no here"
    assert "distal radius" in torus["region_captions"][0]
    child = by_id["0004_0542630449_01_WRI-L1_M003"]
    assert child["crop_present"].tolist() == [1, 1, 0]
    assert child["region_captions"][2] == "", "at three years there is no ulnar styloid"
