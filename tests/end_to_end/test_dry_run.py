"""`train --dry_run`: the real step, compiled for devices that are not there."""

import dataclasses
import importlib.util
import re

import pytest

from tests.end_to_end.commands import CONFIG, refuse, run
from wristmir_jax.learning.collectives import Collective
from wristmir_jax.learning.dry_run import Memory, Report
from wristmir_jax.learning.topology import CHIPS

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)


def test_it_compiles_for_fake_devices_and_tells_what_a_step_takes():
    done = run("train", config=CONFIG, dry_run=True, topology="cpu:4")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "cpu:4: 4 devices, 8 exams a step in 1 micro-batches" in done.stdout
    assert re.search(r"a device: arguments [\d.]+ GiB, temporaries [\d.]+ GiB", done.stdout)
    assert re.search(r"all-reduce: \d+ \(\d+ executed\), [\d.,]+ MiB sent", done.stdout)
    assert "UNEXPECTED" not in done.stdout


def test_the_run_itself_tells_what_its_step_takes(dataset, tmp_path):
    flags = {"config": CONFIG, "workdir": tmp_path / "w", "config__total_steps": 1}
    done = run("train", **flags, config__dataset=dataset)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"compiled step, a device: arguments .* TFLOP of products", done.stderr)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"topology": "v9:8x8"}, "--topology=v9:8x8: give a TPU slice such as v5e:8x8"),
        ({"topology": "v5e:64"}, "--topology=v5e:64: give a TPU slice"),
        ({"topology": "cpu:0"}, "--topology=cpu:0"),
        ({}, "--dry_run needs --topology"),
        ({"topology": "cpu:3"}, "config.batch_size=8 is not a multiple of 3 devices"),
        ({"topology": "cpu:4", "config__task": "localizer"}, "config.task=localizer"),
    ],
)
def test_what_cannot_be_compiled_for_is_refused(flags, message):
    assert message in refuse("train", config=CONFIG, dry_run=True, **flags)


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed")
def test_without_libtpu_it_says_what_to_install():
    line = refuse("train", config=CONFIG, dry_run=True, topology="v5e:8x8")
    assert "pip install 'wristmir_jax[tpu]'" in line


@needs_libtpu
def test_it_compiles_for_a_tpu():
    flags = {"config__batch_size": 64, "config__loss__tile": 8}
    done = run("train", config=CONFIG, dry_run=True, topology="v5e:4x4", **flags)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "v5e:4x4: 16 devices" in done.stdout
    assert "fits the 15.75 GiB" in done.stdout
    assert "collective-permute" in done.stdout and "UNEXPECTED" not in done.stdout


GIB = 2**30
REPORT = Report(
    name="v5e:8x8",
    num_devices=64,
    chip=CHIPS["v5e"],
    batch_size=1000,
    micro_batches=2,
    memory=Memory(2 * GIB, 0, 4 * GIB, 6 * GIB),
    reason="",
    model_flops=64 * 197 * 10**12,
    computed_flops=2 * 64 * 197 * 10**12,
    collectives=[Collective("all-gather", ((8, 8),), 2 * 10**9, 2, 3)],
    unexpected=[],
)


def test_the_slowest_part_bounds_the_rate():
    assert REPORT.bounds() == pytest.approx(
        {"products": 2.0, "memory": 12 * GIB / 819e9, "interconnect": 3e9 / 200e9}
    )
    assert "at most 500 exams/s, limited by products" in str(REPORT)
    slow = dataclasses.replace(
        REPORT, collectives=[dataclasses.replace(REPORT.collectives[0], times=1000)]
    )
    assert "at most 200 exams/s, limited by interconnect" in str(slow)


def test_what_does_not_fit_says_so_and_what_to_change():
    large = dataclasses.replace(REPORT, memory=Memory(2 * GIB, 0, 15 * GIB, 17 * GIB))
    for report in (large, dataclasses.replace(REPORT, memory=None, reason="Ran out of memory")):
        assert not report.fits
        assert "DOES NOT FIT the 15.75 GiB" in str(report)
        assert "config.micro_batches" in str(report)
    assert REPORT.fits and "fits the 15.75 GiB of a device" in str(REPORT)
