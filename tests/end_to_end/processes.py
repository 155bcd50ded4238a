"""Two processes, of four fake devices each, that train one model together."""

import os
import socket
import subprocess
import time
from pathlib import Path

from tests.end_to_end.commands import CONFIG, start

NUM_PROCESSES = 2


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_together(
    workdir: Path, logs: Path, devices: int = 1, **flags: object
) -> list[subprocess.Popen[bytes]]:
    """`train` in two processes of `devices` fake devices; process p writes to `logs`/p."""
    logs.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_port()}"
    before = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    try:
        return [
            start(
                "train",
                logs / str(process),
                config=CONFIG,
                workdir=workdir,
                coordinator_address=address,
                num_processes=NUM_PROCESSES,
                process_id=process,
                **flags,
            )
            for process in range(NUM_PROCESSES)
        ]
    finally:
        if before is None:
            del os.environ["XLA_FLAGS"]
        else:
            os.environ["XLA_FLAGS"] = before


def wait_for_step(workdir: Path, step: int, processes: list[subprocess.Popen[bytes]]) -> None:
    """Return once `step` was logged.

    Raises:
        RuntimeError: a process has ended before.
    """
    path = workdir / "metrics.jsonl"
    while not path.exists() or len(path.read_text().splitlines()) < step:
        if any(process.poll() is not None for process in processes):
            raise RuntimeError(f"a process ended before step {step}")
        time.sleep(0.02)
