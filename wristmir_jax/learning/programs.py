"""Compiled training steps, one for each shape of a batch."""

from collections.abc import Callable
from typing import Any

import jax


class Programs:
    """Compiles a jitted function for each shape that its second argument comes in, and once each.

    Args:
        function: of jax.jit.
        compiled: told of every executable before it is first called.
    """

    def __init__(self, function: Any, compiled: Callable[[Any], None] = lambda executable: None):
        self._function = function
        self._compiled = compiled
        self._executables: dict[tuple[Any, ...], Any] = {}

    def __call__(self, state: Any, batch: dict[str, jax.Array], *rest: jax.Array) -> Any:
        shapes = tuple((name, array.shape) for name, array in sorted(batch.items()))
        if shapes not in self._executables:
            executable = self._function.lower(state, batch, *rest).compile()
            self._compiled(executable)
            self._executables[shapes] = executable
        return self._executables[shapes](state, batch, *rest)
