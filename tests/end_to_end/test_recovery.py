"""A run that is killed and started again is the run that was never killed, bit for bit."""

import json
import os
import random
import signal
import time

import pytest

from tests.end_to_end.commands import CONFIG, start, succeed
from wristmir_jax.learning.inference import load_embedder


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def kill_after(process, workdir, step, log):
    """SIGKILL the whole process group once `step` was logged."""
    path = workdir / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not path.exists() or len(path.read_text().splitlines()) < step:
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_sigkill_and_resume_is_bit_exact(dataset, run_folder, tmp_path, num_workers):
    workdir, log = tmp_path / "workdir", tmp_path / "log"
    flags = {
        "config": CONFIG,
        "workdir": workdir,
        "config__dataset": dataset,
        "config__loader__num_workers": num_workers,
    }
    # Before the first checkpoint, and at a random step after one.
    for step in (1, random.randint(4, 10)):
        kill_after(start("train", log, **flags), workdir, step, log)
    succeed("train", **flags)
    resumed, undisturbed = lines(workdir), lines(run_folder)
    assert [line["step"] for line in resumed] == list(range(1, 13))
    assert resumed == undisturbed
    assert load_embedder(workdir).model_fingerprint == load_embedder(run_folder).model_fingerprint


def test_a_workdir_may_be_named_from_where_the_user_stands(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder.parent)
    relative = load_embedder(run_folder.name)
    assert relative.model_fingerprint == load_embedder(run_folder).model_fingerprint


def test_a_finished_run_is_left_alone_and_can_be_extended(dataset, run_folder, tmp_path):
    before = (run_folder / "metrics.jsonl").read_bytes()
    succeed("train", config=CONFIG, workdir=run_folder, config__dataset=dataset)
    assert (run_folder / "metrics.jsonl").read_bytes() == before
