"""Two processes train one model together."""

import json
import socket

from tests.end_to_end.commands import CONFIG, start, succeed
from wristmir_jax.learning.checkpoints import Checkpoints
from wristmir_jax.learning.inference import load_embedder


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def losses(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_two_processes_train_and_checkpoint_together(dataset, tmp_path):
    # Augmentation is drawn by place in the batch, which two processes fill in another order.
    still = {
        f"config__augment__{name}": 0.0
        for name in (
            *("rotation_degrees", "scale", "shift", "gamma", "contrast", "brightness", "noise"),
        )
    }
    flags = {"config": CONFIG, "config__dataset": dataset, "config__total_steps": 6} | still
    alone, together = tmp_path / "alone", tmp_path / "together"
    succeed("train", workdir=alone, **flags)
    address = f"127.0.0.1:{free_port()}"
    processes = [
        start(
            "train",
            tmp_path / f"log{process}",
            workdir=together,
            coordinator_address=address,
            num_processes=2,
            process_id=process,
            **flags,
        )
        for process in range(2)
    ]
    for number, process in enumerate(processes):
        assert process.wait(300) == 0, (tmp_path / f"log{number}").read_text()[-3000:]
    assert len(losses(together)) == 6
    for ours, expected in zip(losses(together), losses(alone), strict=True):
        assert abs(ours - expected) < 1e-4
    with Checkpoints(together) as checkpoints:
        assert checkpoints.latest_step == 6
    assert load_embedder(together).step == 6
