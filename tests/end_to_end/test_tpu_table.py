"""The table of what recipes take, on fake devices."""

import subprocess
import sys

from tests.end_to_end.commands import CONFIG, ROOT, environment


def table(**flags):
    given = [f"--{name}={value}" for name, value in flags.items()]
    return subprocess.run(
        [sys.executable, "tools/tpu_table.py", *given],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_for_every_step_loss_and_search():
    done = table(
        configs=CONFIG, topologies="cpu:4", batch_size=16, micro_batches=2, loss_pairs=8192
    )
    assert done.returncode == 0, done.stderr[-2000:]
    steps, losses, searches = (part.splitlines() for part in done.stdout.strip().split("\n\n"))
    step = dict(zip(cells(steps[0]), cells(steps[2]), strict=True))
    assert step["topology"] == "cpu:4" and step["devices"] == "4"
    assert step["global batch"] == "16" and step["micro-batches"] == "2"
    assert "all-reduce" in step["collectives: executed, sent a device"]
    assert step["unexpected"] == "0"
    once, twice = (dict(zip(cells(losses[0]), cells(line), strict=True)) for line in losses[2:])
    # CPUs keep everything in the memory that is counted: linear from the start.
    growth = float(twice["loss MiB a device"]) / float(once["loss MiB a device"])
    assert 1 < growth < 2.1
    assert [cells(line)[1] for line in searches[2:]] == ["exact search", "rerank"]


def test_a_setting_that_no_recipe_has_is_one_line():
    done = table(configs=CONFIG, topologies="cpu:4", set="loss.tail=8")
    assert done.returncode == 2
    assert "error: --set=loss.tail=8" in done.stderr and "Traceback" not in done.stderr
