"""Two processes train one model together."""

import json
import os
import shutil
import signal
import time

import pytest

from tests.end_to_end.commands import CONFIG, run, succeed
from tests.end_to_end.processes import start_together, wait_for_step
from wristmir_jax.learning.inference import load_embedder

# Augmentation is drawn by place in the batch, which two processes fill in another order.
STILL = {
    f"config__augment__{name}": 0.0
    for name in (
        *("rotation_degrees", "scale", "shift", "gamma", "contrast", "brightness", "noise"),
    )
}


def losses(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_two_processes_train_and_checkpoint_together_and_one_goes_on(dataset, tmp_path):
    flags = {"config__dataset": dataset, "config__total_steps": 8} | STILL
    alone, together, logs = tmp_path / "alone", tmp_path / "together", tmp_path / "logs"
    succeed("train", config=CONFIG, workdir=alone, **flags)
    processes = start_together(together, logs, **flags)
    for number, process in enumerate(processes):
        assert process.wait(300) == 0, (logs / str(number)).read_text()[-3000:]

    def check_losses():
        assert len(losses(together)) == 8
        for ours, expected in zip(losses(together), losses(alone), strict=True):
            assert abs(ours - expected) < 1e-4

    check_losses()
    assert load_embedder(together).step == 8
    shutil.rmtree(together / "checkpoints" / "8")
    done = run("train", config=CONFIG, workdir=together, **flags)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "step 6 was saved by 2 processes and goes on with 1" in done.stderr
    check_losses()
    assert load_embedder(together).step == 8


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_frozen_process_is_named_in_time(dataset, tmp_path, frozen):
    workdir, logs = tmp_path / "workdir", tmp_path / "logs"
    stall_seconds = 12
    processes = start_together(
        workdir,
        logs,
        config__dataset=dataset,
        config__total_steps=100_000,
        config__recovery__stall_seconds=stall_seconds,
        config__recovery__heartbeat_seconds=1,
    )
    other = processes[1 - frozen]
    try:
        wait_for_step(workdir, 3, processes)
        processes[frozen].send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        assert other.wait(60) == 75
        assert time.monotonic() - begin <= stall_seconds + 3
        message = (logs / str(1 - frozen)).read_text()
        expected = f"process {frozen} (host {os.uname().nodename}, pid {processes[frozen].pid})"
        assert f"{expected} does not respond; run the same command again" in message
    finally:
        for process in processes:
            process.kill()
            process.wait()
