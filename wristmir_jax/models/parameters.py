"""Parameters as one flat mapping from names to arrays.

Names are paths in the module tree, `global_tower/blocks/0/attention/qkv/kernel`: the same in
checkpoints, sharding rules, optimiser masks and safetensors exports.
"""

from typing import Any, TypeVar

import jax
from flax import nnx

from wristmir_jax.models.layers import STATISTICS

Parameters = dict[str, jax.Array]
Module = TypeVar("Module", bound=nnx.Module)


def split(model: nnx.Module) -> tuple[Any, Parameters]:
    """The static graph of `model` and its parameters by name.

    Raises:
        ValueError: the model holds state that is no parameter, such as batch statistics.
    """
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)
    if jax.tree.leaves(rest):
        raise ValueError("a tower holds state besides parameters, which checkpoints would lose")
    flat = nnx.to_flat_state(parameters)
    return graph, {"/".join(map(str, path)): variable[...] for path, variable in flat}


def merge(graph: Any, parameters: Parameters) -> Any:
    """The module of `graph` with `parameters`; inverse of `split`."""
    flat: Any = {
        tuple(int(key) if key.isdigit() else key for key in name.split("/")): nnx.Param(value)
        for name, value in parameters.items()
    }
    return nnx.merge(graph, nnx.from_flat_state(flat))


def statistics(model: nnx.Module) -> Parameters:
    """The parameters that are statistics of the last batch and have no gradient, by name."""
    return {
        name: jax.lax.stop_gradient(value)
        for name, value in split(model)[1].items()
        if name.endswith(STATISTICS)
    }
