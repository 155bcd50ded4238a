"""`mine`: reports in, findings out."""

import contextlib
import json
import os
import signal
import sqlite3
import time

import pytest

from tests.end_to_end.commands import refuse, run, start, succeed

NAME = "Xanthippe Quillfeather"
REPORT = f"Patient {NAME}. Left wrist: buckle fracture of the distal radius. Ulna intact."


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_findings_and_rejections_are_written_in_order_and_hold_no_text(tmp_path):
    reports = write(
        tmp_path / "reports.jsonl",
        [
            {"exam_id": "0007", "report": REPORT, "laterality": "right"},
            {"exam_id": ["0008", "0009"], "report": "Right wrist. No fracture."},
            {
                "exam_id": "0010",
                "report": "Both wrists. Left: normal. Right: torus fracture radius.",
            },
            {"exam_id": "0011", "report": "Keine Fraktur des Handgelenks, keine Luxation."},
            {"exam_id": "0012", "report": "  "},
            {"exam_id": 13, "report": REPORT},
            {"exam_id": [], "report": REPORT},
            {"exam_id": "0014", "report": "half \ud83d"},
        ],
    )
    output = tmp_path / "findings.jsonl"
    done = run("mine", reports=reports, output=output)
    assert done.returncode == 0, done.stderr
    found = lines(output)
    assert [line["exam_id"] for line in found] == ["0007", "0008", "0009", "0010", "0010"]
    assert found[0]["flags"] == ["side differs from the exam's"]
    assert [line["findings"]["laterality"] for line in found[3:]] == ["left", "right"]
    rejected = lines(tmp_path / "findings.rejected.jsonl")
    assert [line["exam_id"] for line in rejected] == ["0011", "0012", "", "", "0014"]
    assert "rejected 5" in done.stdout
    written = "".join(path.read_text(errors="replace") for path in tmp_path.glob("findings*"))
    assert NAME.split()[1] not in written + done.stdout + done.stderr


def test_a_killed_run_goes_on_and_gives_the_same_file(tmp_path):
    reports = write(
        tmp_path / "reports.jsonl",
        [{"exam_id": str(n), "report": f"{REPORT} Film {n}."} for n in range(6_000)],
    )
    output, log = tmp_path / "findings.jsonl", tmp_path / "log"
    process = start("mine", log, reports=reports, output=output, num_workers=1)
    cache = tmp_path / "findings.jsonl.answers"
    deadline = time.monotonic() + 120
    while len(rows(cache)) < 256:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = rows(cache)
    assert 0 < len(kept) < 6_000
    assert not output.exists()
    succeed("mine", reports=reports, output=output)
    # Asked again, an answer would stand in another row.
    assert kept.items() <= rows(cache).items()
    undisturbed = tmp_path / "undisturbed.jsonl"
    succeed("mine", reports=reports, output=undisturbed)
    assert output.read_bytes() == undisturbed.read_bytes()
    assert len(lines(output)) == 6_000


def rows(cache):
    """Row of each answer by its key."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{cache}?mode=ro", uri=True)) as connection:
            return dict(connection.execute("SELECT key, rowid FROM answers"))
    except sqlite3.OperationalError:
        return {}


def test_two_files_of_findings_are_compared(tmp_path):
    files = []
    for name, text in (("a", "Left wrist. No fracture."), ("b", REPORT)):
        reports = write(tmp_path / f"{name}.jsonl", [{"exam_id": "1", "report": text}])
        files.append(tmp_path / f"{name}.findings.jsonl")
        succeed("mine", reports=reports, output=files[-1])
    table = succeed("mine", compare=",".join(map(str, files)))
    assert "| distal_radius status | 0 | 1 | 0 | 0 |" in table
    assert "| distal_radius fracture_type | 0 | 0 | 0 | 1 |" in table


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(tmp_path):
    reports = write(tmp_path / "reports.jsonl", [{"exam_id": "1", "report": REPORT}] * 50)
    line = succeed("mine", reports=reports, dry_run=True)
    assert line.startswith("50 reports, about ")
    assert " reports/s " in line and " hours" in line
    assert [path.name for path in tmp_path.iterdir()] == ["reports.jsonl"]


def test_files_that_would_overwrite_each_other_are_refused(tmp_path):
    reports = write(tmp_path / "reports.jsonl", [{"exam_id": "1", "report": REPORT}])
    for flags, expected in (
        ({"output": reports}, "must be four files"),
        ({"output": tmp_path / "f.jsonl", "cache": reports}, "must be four files"),
        ({"output": tmp_path}, "is a folder"),
        ({"output": tmp_path / "f.jsonl", "cache": tmp_path / "no" / "cache"}, "no folder"),
    ):
        assert expected in refuse("mine", reports=reports, **flags)
    assert REPORT in reports.read_text()
    other = tmp_path / "text"
    other.write_text("no SQLite file" * 100)
    message = refuse("mine", reports=reports, output=tmp_path / "f.jsonl", cache=other)
    assert "--cache=" in message and "only one run" in message


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, "--reports is missing"),
        ({"reports": "nowhere.jsonl"}, "--output is missing"),
        ({"reports": "nowhere.jsonl", "output": "x.jsonl"}, "nowhere.jsonl does not exist"),
        ({"compare": "a.jsonl"}, "--compare=a.jsonl: give two files"),
    ],
)
def test_bad_flags_end_with_one_line(flags, expected):
    assert expected in refuse("mine", **flags)
