"""Programs are compiled once for each shape, and called when every process has compiled."""

import subprocess
import sys

import jax
import jax.numpy as jnp

from tests.end_to_end.commands import ROOT, environment
from tests.end_to_end.processes import free_port
from tests.learning.compiled_apart import COMPILES_SECONDS
from wristmir_jax.learning.programs import Programs


def test_each_shape_is_compiled_once():
    told = []
    add = Programs(jax.jit(lambda state, batch: state + batch["x"].sum()), told.append)
    for length in (2, 3, 2, 3, 2):
        assert add(jnp.float32(1), {"x": jnp.ones(length)}) == 1 + length
    assert len(told) == 2


def test_nobody_calls_before_the_slowest_has_compiled():
    command = [sys.executable, "-m", "tests.learning.compiled_apart", f"127.0.0.1:{free_port()}"]
    started = [
        subprocess.Popen(
            [*command, str(process)], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
        )
        for process in range(2)
    ]
    (quick, called), (slow, also_called) = (
        tuple(map(float, process.communicate(timeout=120)[0].split())) for process in started
    )
    assert [process.returncode for process in started] == [0, 0]
    assert slow - quick > COMPILES_SECONDS / 2
    assert min(called, also_called) >= slow
