"""A run that is told to stop: by the machine's owner, the scheduler or the keyboard."""

import signal
from types import FrameType
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from wristmir_jax.errors import InterruptedRunError
from wristmir_jax.learning.sharding import BATCH_SPEC

# Pods, SLURM and spot machines announce the end by SIGTERM, a person by Ctrl-C.
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Remembers that a signal has come; a second one ends the process as it always did.

    Processes hear of it at different steps, or some never, and must all stop after the same one. So
    each hands what it knows to the next step, which returns the maximum over all.
    Use as a context manager.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in _SIGNALS:
            self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _: FrameType | None) -> None:
        self._signal = number
        signal.signal(number, self._previous[number])

    def to_devices(self, mesh: Mesh) -> jax.Array:
        """int32 (devices,): the number of the signal that this process has got, or 0."""
        local = np.full(jax.local_device_count(), self._signal or 0, np.int32)
        if mesh.size < jax.device_count():
            local = local[: mesh.size]
        return jax.make_array_from_process_local_data(NamedSharding(mesh, BATCH_SPEC), local)


def stopped(number: int, step: int) -> InterruptedRunError:
    """The error that ends a run which `number`, a signal, stopped after `step`."""
    name = signal.Signals(number).name
    return InterruptedRunError(
        f"stopped by {name} after step {step}, which is saved; run the same command to go on",
        128 + number,
    )
