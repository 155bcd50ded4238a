"""Starts the faulty server, and writes the reports that it can read."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import portpicker

from tests.end_to_end.commands import ROOT, environment

REGIONS = ("distal radius", "distal ulna")


@contextlib.contextmanager
def server(**options: object) -> Iterator[str]:
    """A server on loopback; its address."""
    port = portpicker.pick_unused_port()
    given = [f"--{name}={value}" for name, value in options.items()]
    module = "tests.reports.language_models.faulty_server"
    with running([sys.executable, "-m", module, f"--port={port}", *given], port) as address:
        yield address


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[str]:
    """A server that a command starts on a port of loopback; its address."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment())
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("the server does not start")


def report(number: int) -> dict:
    """Of exam `number`: a fracture of the radius or of the ulna, on either side."""
    side = "Left" if number % 2 else "Right"
    text = f"{side} wrist. Buckle fracture of the {REGIONS[number % 3 % 2]}. Film {number}."
    return {"exam_id": f"{number:06d}", "report": text}


def write(path: Path, lines: list[dict]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]
