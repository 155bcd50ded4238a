"""A run that is killed and started again is the run that was never killed, bit for bit."""

import json
import os
import random
import re
import shutil
import signal
import time

import pytest

from tests.end_to_end.commands import CONFIG, refuse, run, start, succeed
from wristmir_jax.learning.checkpoints import Checkpoints
from wristmir_jax.learning.inference import load_embedder


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def wait_for(process, workdir, step, log):
    """Return once `step` was logged."""
    path = workdir / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not path.exists() or len(path.read_text().splitlines()) < step:
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.01)


def kill_after(process, workdir, step, log):
    """SIGKILL the whole process group once `step` was logged."""
    wait_for(process, workdir, step, log)
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


def train_until(dataset, workdir, log, step, **flags):
    """A run that is still under way after `step` was logged; its process."""
    process = start("train", log, config=CONFIG, workdir=workdir, config__dataset=dataset, **flags)
    wait_for(process, workdir, step, log)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_stop_saves_and_goes_on(dataset, run_folder, tmp_path, number):
    workdir, log = tmp_path / "workdir", tmp_path / "log"
    # The whole group is told, loader workers too, as schedulers and terminals do.
    flags = {"config__loader__num_workers": 2, "config__checkpoint_every_steps": 1000}
    process = train_until(dataset, workdir, log, 2, **flags)
    os.killpg(process.pid, number)
    assert process.wait(60) == 128 + number, log.read_text()[-3000:]
    pattern = rf"stopped by {number.name} after step (\d+), which is saved"
    stopped = re.search(pattern, log.read_text())
    assert stopped and 2 <= int(stopped[1]) < 12, log.read_text()[-3000:]
    with Checkpoints(workdir) as checkpoints:
        assert checkpoints.latest_step == int(stopped[1])
    succeed("train", config=CONFIG, workdir=workdir, config__dataset=dataset)
    assert lines(workdir) == lines(run_folder)


def flip_a_byte(folder):
    largest = max((folder / "state").rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0x55
    largest.write_bytes(content)


def truncate(folder):
    largest = max((folder / "state").rglob("*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:1000])


def lose_metadata(folder):
    (folder / "state" / "_METADATA").unlink()


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, lose_metadata])
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(dataset, run_folder, tmp_path, damage):
    workdir = tmp_path / "workdir"
    shutil.copytree(run_folder, workdir)
    damage(workdir / "checkpoints" / "12")
    done = run("train", config=CONFIG, workdir=workdir, config__dataset=dataset)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "warning: " in done.stderr and "checkpoints/12 is damaged" in done.stderr
    assert "resumed after step 9" in done.stderr
    assert (workdir / "damaged_checkpoints" / "12").is_dir()
    assert lines(workdir) == lines(run_folder)
    assert load_embedder(workdir).model_fingerprint == load_embedder(run_folder).model_fingerprint


def test_a_damaged_checkpoint_is_never_embedded(dataset, run_folder, tmp_path):
    workdir = tmp_path / "workdir"
    shutil.copytree(run_folder, workdir)
    flip_a_byte(workdir / "checkpoints" / "12")
    message = refuse("embed", workdir=workdir, dataset=dataset, split="all", output=tmp_path / "e")
    assert "checkpoints/12 is damaged" in message


def test_a_run_goes_on_with_another_number_of_devices(dataset, run_folder, tmp_path, monkeypatch):
    workdir = tmp_path / "workdir"
    shutil.copytree(run_folder, workdir)
    shutil.rmtree(workdir / "checkpoints" / "12")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    flags = {"config__mesh__fsdp": 2}
    succeed("train", config=CONFIG, workdir=workdir, config__dataset=dataset, **flags)
    for ours, undisturbed in zip(lines(workdir), lines(run_folder), strict=True):
        assert ours["loss"] == pytest.approx(undisturbed["loss"], abs=2e-3)
    assert lines(workdir)[8] == lines(run_folder)[8]
    assert load_embedder(workdir).step == 12


def test_goodput_is_told_at_the_end(dataset, tmp_path):
    done = run(
        "train", config=CONFIG, workdir=tmp_path, config__dataset=dataset, config__total_steps=3
    )
    line = done.stderr.splitlines()[-1]
    match = re.fullmatch(
        r"goodput ([\d.]+) % of ([\d.]+) s: steps ([\d.]+) s, input ([\d.]+) s, "
        r"checkpoints ([\d.]+) s, validation ([\d.]+) s, start ([\d.]+) s, other ([\d.]+) s",
        line,
    )
    assert match, line
    share, total, steps, *others = map(float, match.groups())
    assert share == pytest.approx(100 * steps / total, abs=1)
    assert total == pytest.approx(steps + sum(others), abs=0.5)


def test_a_workdir_may_be_named_from_where_the_user_stands(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder.parent)
    relative = load_embedder(run_folder.name)
    assert relative.model_fingerprint == load_embedder(run_folder).model_fingerprint


def test_a_finished_run_is_left_alone_and_can_be_extended(dataset, run_folder, tmp_path):
    before = (run_folder / "metrics.jsonl").read_bytes()
    succeed("train", config=CONFIG, workdir=run_folder, config__dataset=dataset)
    assert (run_folder / "metrics.jsonl").read_bytes() == before
