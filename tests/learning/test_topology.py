"""Devices that are not there."""

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.learning.fake_devices import ROOT
from wristmir_jax.errors import UserError
from wristmir_jax.learning.topology import CHIPS, topology

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)


def printed(code):
    """By a process of its own, for topologies change what JAX starts."""
    program = f"from wristmir_jax.learning.topology import topology\n{code}"
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.mark.parametrize("name", ["v5e", "v5e:64", "v5e:8x8x8x8", "v9:8x8", "cpu:0", "cpu:x", ""])
def test_names_that_are_not_understood_are_refused(name):
    with pytest.raises(UserError, match=f"--topology={name}: give a TPU slice such as v5e:8x8"):
        topology(name)


def test_fake_devices_are_started_as_many_as_asked_for():
    assert printed("print(len(topology('cpu:5').devices))") == "5"


def test_more_fake_devices_than_were_started_are_refused():
    code = """
topology("cpu:2")
try:
    topology("cpu:3")
except Exception as error:
    print(type(error).__name__, error)
"""
    assert printed(code).startswith("UserError --topology=cpu:3: only 2 CPU devices")


@needs_libtpu
@pytest.mark.parametrize(
    ("name", "devices"), [("v5e:8x8", 64), ("v6e:8x8", 64), ("v4:4x4x8", 128), ("v5p:4x4x4", 64)]
)
def test_a_device_is_a_whole_chip(name, devices):
    """The figures in `CHIPS` are those of chips."""
    code = f"d = topology('{name}').devices; print(len(d), {{x.core_on_chip for x in d}})"
    assert printed(code) == f"{devices} {{0}}"


@needs_libtpu
@pytest.mark.parametrize("name", ["v5e:8x8", "v4:2x2x1", "v5p:2x2x1", "v6e:2x2"])
def test_the_compiler_knows_the_memory_in_the_table(name):
    code = f"""
import jax
sharding = jax.sharding.SingleDeviceSharding(topology("{name}").devices[0])
array = jax.ShapeDtypeStruct((2**36,), "float32", sharding=sharding)
try:
    jax.jit(lambda x: x + 1).lower(array).compile()
except jax.errors.JaxRuntimeError as error:
    print(error)
"""
    chip = CHIPS[name.split(":")[0]]
    assert f"exceeds available HBM ({chip.memory_gib:.2f}G)" in printed(code)


@needs_libtpu
def test_a_slice_that_the_compiler_does_not_know_is_refused():
    code = """
try:
    topology("v5e:3x3")
except Exception as error:
    print(type(error).__name__, error)
"""
    assert printed(code).startswith("UserError --topology=v5e:3x3: libtpu knows no such slice")


@needs_libtpu
def test_a_split_that_does_not_follow_the_links_is_one_line():
    code = """
from wristmir_jax.learning.sharding import make_mesh
try:
    make_mesh(8, topology("v5p:4x4x4").devices)
except Exception as error:
    print(type(error).__name__, error)
print(make_mesh(16, topology("v5p:4x4x4").devices).shape["fsdp"])
"""
    refused, made = printed(code).splitlines()
    assert refused.startswith("UserError config.mesh.fsdp=8 does not fit how these 64 TPUs")
    assert made == "16"
