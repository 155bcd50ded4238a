"""Runs the commands as a user does."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIG = "tests/end_to_end/config.py"


def arguments(command: str, **flags: object) -> list[str]:
    """The command line of `python -m wristmir_jax.<command>`; `config__key` is --config.key."""
    return module_arguments(f"wristmir_jax.{command}", **flags)


def module_arguments(module: str, **flags: object) -> list[str]:
    given = [f"--{name.replace('__', '.')}={value}" for name, value in flags.items()]
    return [sys.executable, "-m", module, *given]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}


def run(command: str, **flags: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return run_module(f"wristmir_jax.{command}", **flags)


def run_tool(tool: str, **flags: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m tools.<tool>` to its end."""
    return run_module(f"tools.{tool}", **flags)


def run_module(module: str, **flags: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        module_arguments(module, **flags),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def start(command: str, log: Path, **flags: object) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, its output going to `log`."""
    with log.open("wb") as file:
        return subprocess.Popen(
            arguments(command, **flags),
            cwd=ROOT,
            env=environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def succeed(command: str, **flags: object) -> str:
    """Run a command that must succeed; its standard output."""
    done = run(command, **flags)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def refuse(command: str, **flags: object) -> str:
    """Run a command that must fail with exit status 2 and one line; that line."""
    done = run(command, **flags)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr[-3000:]
    assert len(lines) == 1, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return lines[0]
