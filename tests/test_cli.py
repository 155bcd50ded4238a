"""What a command answers to a wrong command line, to --help and to an interrupt."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

COMMAND = '''
"""Counts bones.

Reads 100 % of them.
"""
import time
from absl import flags
from ml_collections import config_flags
from wristmir_jax import cli
from wristmir_jax.errors import UserError

CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe.", lock_config=True)
NUMBER = flags.DEFINE_integer("number", 3, "Bones to count.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "Where to.", required=True)

def main():
    if NUMBER.value == 13:
        raise UserError("row 13 of 'bones.csv':\\nno such bone; \\"mend\\" it")
    if NUMBER.value == 14:
        raise RuntimeError("a defect")
    if NUMBER.value == 15:
        print("ready", flush=True)
        time.sleep(60)
    print(NUMBER.value, CONFIG.value.tower.width if CONFIG.value else None)

if __name__ == "__main__":
    cli.run(main)
'''

CONFIG = """
import ml_collections

def get_config():
    return ml_collections.ConfigDict({"total_steps": 10, "tower": {"width": 64, "depth": 2}})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    # The space is on purpose: paths are not split at it.
    folder = tmp_path_factory.mktemp("a command")
    (folder / "count_bones.py").write_text(COMMAND)
    (folder / "recipe.py").write_text(CONFIG)
    (folder / "raises.py").write_text("def get_config():\n    return {}['width']\n")
    (folder / "refuses.py").write_text(
        'def get_config(tower):\n    raise ValueError(f"no tower {tower}")\n'
    )
    (folder / "syntax.py").write_text("def get_config(:\n")
    return folder


@pytest.fixture
def call(folder):
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "count_bones.py", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call


def test_a_right_command_line_reaches_main(call, folder):
    done = call("--output=x", f"--config={folder}/recipe.py", "--config.tower.width=32")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 32\n", "")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--output=x", "--nubmer=1"], "'nubmer'"),
        (["--output=x", "--number=none"], "--number=none"),
        (["--output=x", "--number=0"], "--number=0"),
        ([], "--output is missing"),
        (["--output=x", "bones.csv"], "'bones.csv'"),
        (["--output=x", "--config=absent.py"], "--config=absent.py"),
        (["--output=x", "--config=absent.py", "--config.tower.width=1"], "--config=absent.py"),
        (["--output=x", "--config=recipe.py", "--config.foo=1"], "--config.foo"),
        (["--output=x", "--config=recipe.py", "--config.tower.widht=1"], "--config.tower.widht"),
        (
            ["--output=x", "--config=recipe.py", "--config.total_steps.x=1"],
            "--config.total_steps.x",
        ),
        (["--output=x", "--config=recipe.py", "--config.tower.width=a"], "--config.tower.width=a"),
        (["--output=x", "--config=raises.py"], "--config=raises.py: line 2"),
        (
            ["--output=x", "--config=refuses.py:oops"],
            "--config=refuses.py: line 2: ValueError: no tower oops\n",
        ),
        (["--output=x", "--config=syntax.py"], "--config=syntax.py: line 1"),
    ],
)
def test_a_wrong_command_line_is_named_in_one_line(call, arguments, named):
    done = call(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert named in done.stderr
    assert done.stdout == ""


def test_an_unknown_key_is_answered_with_the_known_ones(call):
    done = call("--output=x", "--config=recipe.py", "--config.tower.widht=1")
    assert "depth, width" in done.stderr


def test_a_user_error_is_one_line_as_it_was_worded(call):
    done = call("--output=x", "--number=13")
    assert done.returncode == 2
    assert done.stderr == "error: row 13 of 'bones.csv': no such bone; \"mend\" it\n"


def test_a_defect_keeps_its_traceback(call):
    done = call("--output=x", "--number=14")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "RuntimeError: a defect" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--config=absent.py", "--help"]])
def test_help_shows_the_description_and_the_flags(call, arguments):
    done = call(*arguments)
    assert done.returncode == 0
    assert "Counts bones." in done.stdout
    assert "100 % of them" in done.stdout
    for name in ("--config", "--number", "--output"):
        assert name in done.stdout
    # Flags of the libraries would bury the command's own.
    assert "--stderrthreshold" not in done.stdout


@pytest.fixture
def heard_interrupts():
    """Tests started in the background ignore SIGINT, and what they start inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_interrupts")
def test_an_interrupt_ends_without_traceback(folder):
    with subprocess.Popen(
        [sys.executable, "count_bones.py", "--output=x", "--number=15"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "interrupted\n"


@pytest.mark.parametrize("arguments", [["--output=x"], ["--help"]])
def test_a_reader_that_has_left_is_no_defect(folder, arguments):
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "count_bones.py", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (141, "")
