"""The train state and how it is made."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import ml_collections
import optax
from flax import nnx
from jax.sharding import Mesh

from wristmir_jax.learning import layer_rates
from wristmir_jax.learning.sharding import state_shardings
from wristmir_jax.models import parameters
from wristmir_jax.models.dual_encoder import DualEncoder
from wristmir_jax.models.parameters import Parameters


@flax.struct.dataclass
class TrainState:
    """Everything that a step changes.

    Attributes:
        step: int32 (), steps taken.
        parameters: float32, by name.
        average: exponential moving average of the parameters, which is what is exported.
        optimizer: state of optax.
    """

    step: jax.Array
    parameters: Parameters
    average: Parameters
    optimizer: optax.OptState


def learning_rate(config: ml_collections.ConfigDict) -> optax.Schedule:
    """Linear warm-up, then cosine decay over `total_steps`."""
    peak = config.optimizer.learning_rate
    warmup = min(config.optimizer.warmup_steps, config.total_steps - 1)
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0 if warmup else peak,
        peak_value=peak,
        warmup_steps=warmup,
        decay_steps=config.total_steps,
        end_value=peak * config.optimizer.final_fraction,
    )


def make_optimizer(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) with global-norm clipping.

    Matrices and kernels decay; gains, biases, positions and temperatures do not. Where
    `optimizer.layer_decay` or a tower's `frozen_layers` say so, each layer has its own rate.
    """

    def decays(params: Parameters) -> dict[str, bool]:
        return {name: name.endswith(("kernel", "embedding")) for name in params}

    steps = [
        optax.clip_by_global_norm(config.optimizer.clip_norm),
        optax.adamw(
            learning_rate(config),
            b2=config.optimizer.beta2,
            weight_decay=config.optimizer.weight_decay,
            mask=decays,
        ),
    ]
    if layer_rates.differ(config):
        steps.append(_at_layer_rates(config))
    return optax.chain(*steps)


def _at_layer_rates(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    def scale(updates: Any, params: Any = None) -> Any:
        del params
        return {
            name: update * layer_rates.of(name, update.ndim, config)
            for name, update in updates.items()
        }

    return optax.stateless(scale)


def make_model(
    config: ml_collections.ConfigDict,
    *,
    image_size: int,
    crop_size: int,
    num_regions: int,
    vocab_size: int,
    seed: int | jax.Array = 0,
) -> DualEncoder:
    """The model of `config` for a data set's shapes."""
    return DualEncoder(
        config.model,
        image_size=image_size,
        crop_size=crop_size,
        num_regions=num_regions,
        vocab_size=vocab_size,
        has_bias=config.loss.kind == "sigmoid",
        rngs=nnx.Rngs(seed),
    )


def plan_state(
    config: ml_collections.ConfigDict, mesh: Mesh, **shapes: int
) -> tuple[Any, TrainState, Callable[[], TrainState]]:
    """Describe the train state without computing anything.

    Args:
        config: of the run.
        mesh: of the devices.
        **shapes: of `make_model`.

    Returns:
        The static graph of the model; the state as ShapeDtypeStructs with shardings; and a function
        that makes it directly in its shards, so that no device ever holds a whole copy.
    """
    return plan_state_of(lambda seed: make_model(config, seed=seed, **shapes), config, mesh)


def plan_state_of(
    make: Callable[[int], nnx.Module], config: ml_collections.ConfigDict, mesh: Mesh
) -> tuple[Any, TrainState, Callable[[], TrainState]]:
    """As `plan_state`, of the model that `make` makes from a seed."""
    graph = None

    def init() -> TrainState:
        nonlocal graph
        graph, params = parameters.split(make(config.seed))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            parameters=params,
            average=jax.tree.map(jnp.copy, params),
            optimizer=make_optimizer(config).init(params),
        )

    abstract = jax.eval_shape(init)
    shardings = state_shardings(abstract, mesh)
    plan = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        abstract,
        shardings,
    )
    return graph, plan, jax.jit(init, out_shardings=shardings)
