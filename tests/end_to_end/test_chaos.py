"""Processes of a run are killed at random, again and again; the run must not notice."""

import json
import random
import signal
import subprocess
import time

import pytest

from tests.end_to_end.processes import NUM_PROCESSES, start_together
from wristmir_jax.learning.inference import load_embedder

ROUNDS = 20
STEPS_A_ROUND = 9
CHECKPOINT_EVERY = 3
STALL_SECONDS, START_SECONDS = 15, 180


def logged_steps(workdir):
    path = workdir / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def is_writing(workdir):
    return any(".orbax-checkpoint-tmp" in path.name for path in (workdir / "checkpoints").iterdir())


def until(condition, processes):
    """Wait; no longer than the run lasts."""
    while not condition() and all(process.poll() is None for process in processes):
        time.sleep(0.005)


def end_of(processes, logs, may_hang):
    """Exit statuses. Who has not ended long after the stall time is killed, which is a failure; but
    before its first steps, of which the first compiles, a run waits for minutes."""
    deadline = time.monotonic() + 3 * STALL_SECONDS
    statuses = []
    for number, process in enumerate(processes):
        try:
            statuses.append(process.wait(max(1, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            process.kill()
            statuses.append(process.wait())
            if not may_hang:
                pytest.fail(f"process {number} hung: {(logs / str(number)).read_text()[-3000:]}")
    return statuses


def disturb(processes, victims, number):
    for victim in victims:
        # After the other's death the second may be gone already.
        if processes[victim].poll() is None:
            processes[victim].send_signal(number)


@pytest.mark.slow
def test_twenty_rounds_of_kills_change_no_bit(dataset, tmp_path):
    flags = {
        "devices": 4,
        "config__dataset": dataset,
        "config__total_steps": ROUNDS * STEPS_A_ROUND,
        "config__checkpoint_every_steps": CHECKPOINT_EVERY,
        "config__recovery__stall_seconds": STALL_SECONDS,
        "config__recovery__start_seconds": START_SECONDS,
        "config__recovery__heartbeat_seconds": 1,
    }
    undisturbed, workdir = tmp_path / "undisturbed", tmp_path / "workdir"
    assert end_of_run(start_together(undisturbed, tmp_path / "logs", **flags)) == [0, 0]

    seed = random.randrange(10**6)
    rng = random.Random(seed)
    told = []
    for turn in range(ROUNDS):
        logs = tmp_path / f"logs{turn}"
        processes = start_together(workdir, logs, **flags)
        number = rng.choice([signal.SIGKILL, signal.SIGTERM])
        victims = rng.choice([[0], [1], [0, 1]])
        in_write, in_start = turn % 4 == 0, turn % 5 == 4
        if in_start:
            # While it starts, restores or compiles.
            time.sleep(rng.uniform(1, 20))
        else:
            goal = logged_steps(workdir) + rng.randint(3, STEPS_A_ROUND)
            until(lambda goal=goal: logged_steps(workdir) >= goal, processes)
            if in_write:
                until(lambda: is_writing(workdir), processes)
        disturb(processes, victims, number)
        statuses = end_of(processes, logs, may_hang=in_start)
        told.append((turn, number.name, victims, in_write, statuses, logged_steps(workdir)))
        print(told[-1], flush=True)
    assert end_of_run(start_together(workdir, tmp_path / "last", **flags)) == [0, 0], (seed, told)

    ours, expected = load_embedder(workdir), load_embedder(undisturbed)
    assert ours.step == expected.step == ROUNDS * STEPS_A_ROUND
    assert ours.model_fingerprint == expected.model_fingerprint, (seed, told)
    lines = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (workdir, undisturbed)
    ]
    assert lines[0] == lines[1], (seed, told)


def end_of_run(processes):
    assert len(processes) == NUM_PROCESSES
    return [process.wait(1200) for process in processes]
