"""Compiled training steps, one for each shape of a batch."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from orbax.checkpoint import multihost

# What XLA is told for GPUs: products with the same parameters, as of a batch's two levels of
# captions, are not worth copying their operands together.
_GPU_OPTIONS = {"xla_gpu_dot_merger_threshold_mb": 0}
# However long one process compiles what another has in its cache. Who is lost meanwhile is noticed
# by `watch.Watch`, much sooner.
_LONGEST_COMPILATION_SECONDS = 3600
_meetings = itertools.count()


def jit_step(step: Callable[..., Any], plan: Any, mesh: Mesh) -> Any:
    """`jax.jit` of (state, batch, ...) -> (state, metrics), which takes the old state's memory.

    Args:
        step: made by `step.make_train_step`.
        plan: shapes and shardings of the state.
        mesh: of the devices.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, plan)
    return jax.jit(
        step,
        donate_argnums=0,
        out_shardings=(shardings, NamedSharding(mesh, P())),
        compiler_options=_GPU_OPTIONS if mesh.devices.flat[0].platform == "gpu" else None,
    )


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
            self._executables[shapes] = compiled_together(
                self._function, state, batch, *rest, told=self._compiled
            )
        return self._executables[shapes](state, batch, *rest)


def compiled_together(
    function: Any, *arguments: Any, told: Callable[[Any], None] = lambda executable: None
) -> Any:
    """The executable of `function` for `arguments`, once all processes have theirs.

    The first exchange of a program waits half a minute for the other processes on a CPU (Gloo), and
    one that does not find it in its cache may compile for longer.

    Args:
        function: of jax.jit.
        arguments: arrays, or their shapes, types and shardings.
        told: of the executable, before the others are waited for.
    """
    executable = function.lower(*arguments).compile()
    told(executable)
    # Processes compile the same programs in the same order, so they number them alike.
    wait = multihost.get_barrier_sync_fn()
    wait(key=f"compiled_{next(_meetings)}", timeout_ms=_LONGEST_COMPILATION_SECONDS * 1000)
    return executable
